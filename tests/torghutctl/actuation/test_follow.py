"""From the merge to the effective state, and the evidence that starting something asks for, over a Kubernetes API."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import incidents, torghut_cluster
from tests.fakes.kubernetes_api import Cluster, serve
from torghut_core.clock import ManualClock
from torghut_core.rfc3339 import format_ns, parse_ns
from torghutctl.actuation import engine
from torghutctl.actuation.follow import Waiting, follow
from torghutctl.actuation.request import Effect, Request
from torghutctl.effects.forge import PullRequest
from torghutctl.effects.local_forge import LocalForge
from torghutctl.environments import Environment
from torghutctl.errors import RefusedError, TorghutError, UnverifiedError, UpstreamError
from torghutctl.planning.gates import Intent
from torghutctl.procedures import pause_trading, restore_replica, resume_ta, resume_trading, suspend_ta
from torghutctl.procedures.verification import Check, Stage
from torghutctl.snapshot.reader import read
from torghutctl.snapshot.target import Target

pytestmark = pytest.mark.slow  # git processes, engines and waits: seconds in all

NOW = torghut_cluster.NOW


@pytest.fixture
def cluster() -> Cluster:
    return torghut_cluster.healthy()


@pytest.fixture
def kubeconfig(cluster: Cluster, tmp_path: Path) -> Iterator[Path]:
    with serve(cluster, tmp_path) as path:
        yield path


@pytest.fixture
def ask(gitops: Any, tmp_path: Path, kubeconfig: Path) -> Callable[..., Request]:
    def build(module: Any, effect: Effect = Effect.PULL_REQUEST) -> Request:
        return Request(
            spec=module.SPEC,
            planner=module.plan,
            arguments={},
            environment=Environment(),
            repo=str(gitops.bare),
            base="main",
            gitops_path="argocd/applications/torghut",
            effect=effect,
            intent=Intent(
                reason="why",
                confirm="ACTUATE_TORGHUT",
                is_environment_named=True,
                is_production=False,
                agent_run=None,
                is_person_at_terminal=True,
            ),
            at_ns=parse_ns(NOW),
            now_ns=parse_ns(NOW),
            audit_path=tmp_path / "audit.jsonl",
            actor="tester@host",
            open_forge=lambda repository: LocalForge(gitops.bare, repository.client),
            read_snapshot=lambda: read(Target(kubeconfig=kubeconfig), at_ns=parse_ns(NOW), process={}),
        )

    return build


class Story:
    """Time that passes only in pauses, and something that happens in each of them."""

    def __init__(self, *events: Callable[[], None]) -> None:
        self.clock = ManualClock()
        self.events = list(events)
        self.told: list[str] = []
        self.synced: list[bool] = []

    def pause(self, seconds: float) -> None:
        self.clock.advance(seconds)
        if self.events:
            self.events.pop(0)()

    def waiting(self, timeout: float = 60.0, *, sync: bool = False) -> Waiting:
        return Waiting(
            timeout_seconds=timeout,
            monotonic=self.clock.monotonic,
            pause=self.pause,
            tell=self.told.append,
            sync=self.synced.append if sync else None,
        )


@pytest.mark.slow
def test_follow_when_each_stage_comes_true_in_turn_then_it_ends_at_the_effective_state(
    ask: Callable[..., Request], gitops: Any, cluster: Cluster
) -> None:
    """Merged, synced, live object, newest revision, effective state: each waited for, Argo CD asked when it is behind."""
    outcome = engine.run(ask(pause_trading))
    assert outcome.plan.result is not None
    branch = str(outcome.plan.result.branch)
    off = [{**e, "value": "false"} if e["name"] == "TRADING_ENABLED" else e for e in torghut_cluster.trading_env()]

    def sync() -> None:
        app = cluster.get(torghut_cluster.ARGOCD, "torghut")
        app["status"]["sync"]["revision"] = gitops.git("rev-parse", "main", where=gitops.bare)

    def apply() -> None:
        service = torghut_cluster.knative_service(created=8, ready_number=7)
        service["spec"]["template"]["spec"]["containers"][0]["env"] = off
        cluster.put(f"{torghut_cluster.KNATIVE}/services", service)
        newest = torghut_cluster.revision(8)
        newest["spec"]["containers"][0]["env"] = off
        cluster.put(f"{torghut_cluster.KNATIVE}/revisions", newest)

    def ready() -> None:
        cluster.get(f"{torghut_cluster.KNATIVE}/services", "torghut")["status"]["latestReadyRevisionName"] = (
            "torghut-00008"
        )

    story = Story(
        lambda: gitops.merge(branch),
        sync,
        apply,
        ready,
        lambda: incidents.status_of(cluster, enabled=False, running=False),
    )
    seen = follow(ask(pause_trading), 1, pause_trading.verify, story.waiting(sync=True))
    assert (story.synced, story.events) == ([True], [])
    assert [line.split(" ")[0].strip(",") for line in seen] == ["merged", "Argo", "live", "newest", "effective"]
    assert seen[-1] == (
        "effective state, as git wants it: /trading/status enabled=false, /trading/status kill_switch_enabled=false"
    )
    assert story.told[-1] == "done: pause-trading is in effect"
    assert seen[3].count("revision torghut-00008 is Ready") == 1


def test_follow_when_nothing_is_to_see_at_a_stage_then_it_is_not_told(
    ask: Callable[..., Request], gitops: Any, cluster: Cluster
) -> None:
    """A stage without a question is no answer."""
    outcome = engine.run(ask(pause_trading))
    assert outcome.plan.result is not None
    cluster.get(torghut_cluster.ARGOCD, "torghut")["status"]["sync"]["revision"] = gitops.merge(
        str(outcome.plan.result.branch)
    )
    story = Story()
    follow(ask(pause_trading), 1, lambda _: (Check(stage=Stage.LIVE, name="x", ok=True, detail=""),), story.waiting())
    assert story.told[2:] == ["live object, as git wants it: x", "done: pause-trading is in effect"]


def test_plan_when_another_step_has_to_come_first_then_its_command_is_named(ask: Callable[..., Request]) -> None:
    """What refuses, and what is advice, says by which command it becomes a yes."""
    restore = {item.name: item.detail for item in engine.run(ask(restore_replica, Effect.SHOW)).plan.refusals}
    suspend = {item.name: item.detail for item in engine.run(ask(suspend_ta, Effect.SHOW)).plan.draft.preconditions}
    assert restore["TA is suspended"].endswith("; first: torghutctl suspend-ta --reason 'before restore-replica'")
    assert suspend["trading is paused, in git and in effect"].endswith(
        "; first: torghutctl pause-trading --reason 'before suspend-ta'"
    )


def test_follow_when_closed_unmerged_then_it_is_not_verified(ask: Callable[..., Request], gitops: Any) -> None:
    """Nobody waits for what will not come."""
    outcome = engine.run(ask(pause_trading))
    assert outcome.plan.result is not None
    gitops.git("push", "-q", "origin", "--delete", str(outcome.plan.result.branch))
    with pytest.raises(UnverifiedError, match="closed without being merged") as caught:
        follow(ask(pause_trading), 1, pause_trading.verify, Story().waiting())
    assert int(caught.value.exit_code) == 8


@pytest.mark.slow
def test_follow_when_a_stage_takes_too_long_then_it_says_which_and_how_to_go_on(
    ask: Callable[..., Request], gitops: Any, cluster: Cluster
) -> None:
    """Merged is not applied: the deadline of the second stage passes, and the number takes it up again."""
    outcome = engine.run(ask(pause_trading))
    assert outcome.plan.result is not None
    gitops.merge(str(outcome.plan.result.branch))
    with pytest.raises(UnverifiedError, match="Argo CD: not so after 20 s") as caught:
        follow(ask(pause_trading), 1, pause_trading.verify, Story().waiting(20.0))
    assert "--pull-request 1" in str(caught.value.hint)


EVIDENCE: dict[str, tuple[Callable[[Cluster], None], str]] = {
    "stale signals": (lambda c: incidents.stale(c, 1200), "data is fresh"),
    "no rows": (lambda c: torghut_cluster.set_latest(c, None, None), "data is fresh"),
    "a replica down": (lambda c: incidents.set_gauges(c, up=(1, 0)), "ClickHouse can be written"),
    "read-only": (lambda c: incidents.set_gauges(c, readonly=1), "ClickHouse can be written"),
    "gauges not scraped": (lambda c: incidents.set_gauges(c, success=0), "ClickHouse can be written"),
    "gauges old": (lambda c: incidents.set_gauges(c, scraped=torghut_cluster.ago(900)), "ClickHouse can be written"),
    "gauges unreadable": (lambda c: c.services.pop(torghut_cluster.GAUGES) and None, "ClickHouse can be written"),
    "newest revision not ready": (
        lambda c: c.put(f"{torghut_cluster.KNATIVE}/services", torghut_cluster.knative_service(created=8)),
        "the newest revision is Ready",
    ),
    "service absent": (
        lambda c: c.remove(f"{torghut_cluster.KNATIVE}/services", "torghut"),
        "the newest revision is Ready",
    ),
}


@pytest.mark.parametrize("case", EVIDENCE)
def test_resume_trading_when_evidence_is_bad_or_missing_then_it_is_refused(
    case: str, ask: Callable[..., Request], gitops: Any, cluster: Cluster
) -> None:
    """Each line of the checklist refuses on its own, and nothing is written."""
    bend, gate = EVIDENCE[case]
    gitops.replace(
        "knative-service.yaml",
        'TRADING_ENABLED\n              value: "true"',
        'TRADING_ENABLED\n              value: "false"',
    )
    bend(cluster)
    refs = gitops.refs()
    with pytest.raises(RefusedError, match=gate) as caught:
        engine.run(ask(resume_trading))
    assert (6, refs) == (int(caught.value.exit_code), gitops.refs())


def test_resume_trading_when_all_is_well_then_the_digest_is_the_same_a_minute_later(
    ask: Callable[..., Request], gitops: Any, cluster: Cluster
) -> None:
    """Ages and counts are evidence, not part of what was decided."""
    gitops.replace(
        "knative-service.yaml",
        'TRADING_ENABLED\n              value: "true"',
        'TRADING_ENABLED\n              value: "false"',
    )
    first = engine.run(ask(resume_trading, Effect.SHOW)).plan
    fresh = format_ns(parse_ns(NOW) - 9_000_000_000)
    torghut_cluster.set_latest(cluster, fresh, fresh)
    assert (first.digest, ()) == (engine.run(ask(resume_trading, Effect.SHOW)).plan.digest, first.refusals)
    assert engine.run(ask(resume_trading)).plan.result is not None


def test_resume_ta_when_the_disk_is_low_then_it_is_refused(
    ask: Callable[..., Request], gitops: Any, cluster: Cluster
) -> None:
    """Fourteen per cent free is below the guardrail."""
    gitops.replace("ta/flinkdeployment.yaml", "state: running", "state: suspended")
    before = copy.deepcopy(cluster.services[torghut_cluster.GAUGES])
    incidents.set_gauges(cluster, free=(0.14, 0.6))
    assert before != cluster.services[torghut_cluster.GAUGES]
    with pytest.raises(RefusedError, match=r"14\.0% disk free"):
        engine.run(ask(resume_ta))


class Answering:
    """A forge that fails on the given look at a pull request, and else has it open."""

    def __init__(self, failing: int) -> None:
        self.failing, self.looks = failing, 0

    def pull_request(self, number: int) -> PullRequest:
        self.looks += 1
        if self.looks == self.failing:
            raise UpstreamError("the token was not accepted (401)")
        return PullRequest(
            number=number, url="u", title="", body="", head_branch="b", head_ref="r", base_branch="main", state="open"
        )


@pytest.mark.parametrize(("failing", "error"), [(1, UpstreamError), (3, UnverifiedError)])
def test_follow_when_the_forge_refuses_the_first_look_then_it_ends_at_once_and_else_looks_again(
    failing: int, error: type[TorghutError], ask: Callable[..., Request]
) -> None:
    """Waiting does not make a token good; a forge that was there and is away for a moment is waited for."""
    story = Story()
    forge = Answering(failing)
    request = replace(ask(pause_trading), open_forge=lambda repository: forge)  # type: ignore[arg-type,return-value]
    with pytest.raises(error):
        follow(request, 1, pause_trading.verify, story.waiting(20.0))
    assert (error is UpstreamError) == (story.told == [])
