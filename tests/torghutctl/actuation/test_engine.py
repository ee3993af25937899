"""The engine on a real bare repository: gates, adoption, races; every write is looked for."""

from __future__ import annotations

import os
import subprocess
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.agent_runs import ACTUATION, CHANGES, filled, run_json, stored
from torghut_core.rfc3339 import parse_ns
from torghutctl.actuation import engine
from torghutctl.actuation.request import Effect, Outcome, Request
from torghutctl.adapters.git_client import GitClient
from torghutctl.effects.audit_log import AuditLog
from torghutctl.effects.forge import PullRequestDraft
from torghutctl.effects.local_forge import LocalForge
from torghutctl.environments import Environment
from torghutctl.errors import InputError, RefusedError, StalePlanError, UpstreamError
from torghutctl.planning.gates import Intent
from torghutctl.planning.plan import Draft, Precondition
from torghutctl.procedures import pause_trading, restart_ta, restart_ws, resume_ta, suspend_ta
from torghutctl.procedures.specification import Danger
from torghutctl.snapshot.agent_run import AgentRun
from torghutctl.snapshot.repository import Repository

pytestmark = pytest.mark.slow  # git processes, engines and waits: seconds in all

AT = "2026-03-04T15:06:07Z"
GOOD = Intent(
    reason="stale data", confirm="ACTUATE_TORGHUT", is_environment_named=True, is_production=False, agent_run=None
)
PERSON = replace(GOOD, is_person_at_terminal=True)


def agent_run(
    digest: str, bend: Callable[[dict[str, Any]], Any] = lambda _: None, mode: str = "read-write"
) -> AgentRun:
    """Return the run that may carry out the plan with this digest, with one thing bent."""
    document = stored(filled(CHANGES["pause-trading"], ACTUATION, plan=digest))
    bend(document)
    return AgentRun(source="x", document=document, description=run_json(document, clone_base="u", mode=mode))


@pytest.fixture
def ask(gitops: Any, tmp_path: Path) -> Callable[..., Request]:
    """Build requests against the bare repository."""

    def build(module: Any, effect: Effect = Effect.PULL_REQUEST, planner: Any = None, **changes: Any) -> Request:
        request = Request(
            spec=module.SPEC,
            planner=planner or module.plan,
            arguments={},
            environment=Environment(),
            repo=str(gitops.bare),
            base="main",
            gitops_path="argocd/applications/torghut",
            effect=effect,
            intent=GOOD,
            at_ns=parse_ns(AT),
            now_ns=parse_ns(AT),
            audit_path=tmp_path / "audit.jsonl",
            actor="tester@host",
            open_forge=lambda repository: LocalForge(gitops.bare, repository.client),
        )
        return replace(request, **changes)

    return build


def pull(outcome: Outcome) -> tuple[int, bool]:
    assert outcome.plan.result is not None and outcome.plan.result.pull_request is not None
    return outcome.plan.result.pull_request.number, outcome.plan.result.pull_request.adopted


def before_publishing(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Do something once, after planning and before the base is looked at again."""
    original = Repository.fetch_base
    calls: list[int] = []

    def fetch(self: Repository) -> str:
        calls.append(1)
        if len(calls) == 2:
            act()
        return original(self)

    monkeypatch.setattr(Repository, "fetch_base", fetch)


CLOSED = {
    "no reason": {"reason": ""},
    "blank reason": {"reason": " \n"},
    "reason that shows nothing": {"reason": "\u00a0\u200b"},
    "no confirmation": {"confirm": ""},
    "wrong confirmation": {"confirm": "actuate_torghut"},
    "confirmation with a blank": {"confirm": "ACTUATE_TORGHUT "},
    "production not named": {"is_production": True, "is_environment_named": False},
}
LABELS = "torghut.proompteng.ai/"
BENT_RUNS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "without labels": lambda d: d["metadata"].pop("labels"),
    "label true as a boolean": lambda d: d["metadata"]["labels"].update({f"{LABELS}actuation": True}),
    "purpose another": lambda d: d["metadata"]["labels"].update({f"{LABELS}purpose": "diagnostics"}),
    "policy not required": lambda d: d["spec"].update(vcsPolicy={"mode": "read-write"}),
    "policy without mode": lambda d: d["spec"].update(vcsPolicy={"required": True}),
    "policy read-only": lambda d: d["spec"].update(vcsPolicy={"required": True, "mode": "read-only"}),
    "another change": lambda d: d["spec"]["parameters"].update(change="suspend-ta"),
    "no change": lambda d: d["spec"]["parameters"].pop("change"),
    "another plan": lambda d: d["spec"]["parameters"].update(plan="sha256:" + "1" * 64),
    "no plan": lambda d: d["spec"]["parameters"].pop("plan"),
}


@pytest.mark.parametrize("effect", [Effect.BRANCH, Effect.PULL_REQUEST])
@pytest.mark.parametrize("case", CLOSED)
def test_run_when_a_gate_is_closed_then_nothing_is_written(
    case: str, effect: Effect, ask: Callable[..., Request], gitops: Any, tmp_path: Path
) -> None:
    """Refused with 6: no ref, no object, no audit line, no pull request."""
    before = sorted(str(p) for p in gitops.bare.rglob("*"))
    with pytest.raises(RefusedError) as caught:
        engine.run(ask(pause_trading, effect, intent=replace(GOOD, **CLOSED[case])))
    assert (int(caught.value.exit_code), bool(caught.value.hint)) == (6, True)
    assert before == sorted(str(p) for p in gitops.bare.rglob("*"))
    assert not (tmp_path / "audit.jsonl").exists()


def test_run_when_the_evidence_is_missing_then_a_start_is_refused_and_a_stop_is_not(
    ask: Callable[..., Request], gitops: Any
) -> None:
    """Stopping is always possible, starting needs evidence."""
    gitops.replace("ta/flinkdeployment.yaml", "state: running", "state: suspended")
    with pytest.raises(RefusedError, match="ClickHouse can be written"):
        engine.run(ask(resume_ta))
    assert pull(engine.run(ask(pause_trading))) == (1, False)


@pytest.mark.parametrize("case", [*BENT_RUNS, "unreadable", "empty", "no token that may write"])
def test_run_when_its_agent_run_is_bent_then_nothing_is_written(
    case: str, ask: Callable[..., Request], gitops: Any
) -> None:
    """Everything else is as it must be: each of these alone refuses."""
    digest = engine.run(ask(pause_trading, Effect.SHOW)).plan.digest
    if case == "unreadable":
        run = replace(agent_run(digest), document=None, failure="HTTP 403")
    elif case == "empty":
        run = replace(agent_run(digest), document={})
    elif case == "no token that may write":
        run = agent_run(digest, mode="read-only")
    else:
        run = agent_run(digest, BENT_RUNS[case])
    before = gitops.refs()
    with pytest.raises(RefusedError, match="agent run"):
        engine.run(ask(pause_trading, intent=replace(GOOD, agent_run=run)))
    assert gitops.refs() == before


def test_run_when_an_agent_run_is_all_that_it_must_be_then_it_may_act(ask: Callable[..., Request]) -> None:
    """Labels, policy, the platform's own mode, the change and the plan are compared, and this one is right."""
    digest = engine.run(ask(pause_trading, Effect.SHOW)).plan.digest
    intent = replace(GOOD, agent_run=agent_run(digest))
    assert pull(engine.run(ask(pause_trading, intent=intent))) == (1, False)


def test_run_when_a_pull_request_is_opened_then_commit_body_and_audit_agree(
    ask: Callable[..., Request], gitops: Any, tmp_path: Path
) -> None:
    """One commit on the base, one file, the digest in trailer and body, the audit head of the line before it."""
    outcome = engine.run(ask(pause_trading, ticket="OPS-7"))
    plan, result = outcome.plan, outcome.plan.result
    assert result is not None
    assert result.branch == f"agentruns/torghut-pause-trading-20260304-1506-{plan.digest[7:15]}"
    assert gitops.git("diff", "--name-only", "main", str(result.commit), where=gitops.bare) == (
        "argocd/applications/torghut/knative-service.yaml"
    )
    lines = AuditLog(tmp_path / "audit.jsonl").lines()
    trailers = gitops.git(
        "log", "-1", "--format=%(trailers:only,unfold)", str(result.commit), where=gitops.bare
    ).splitlines()
    assert trailers == [
        f"Plan-Digest: {plan.digest}",
        "Reason: stale data",
        "Ticket: OPS-7",
        "Environment: default",
        f"Audit-Head: {lines[0].hash}",
    ]
    subject = gitops.git("log", "-1", "--format=%s", str(result.commit), where=gitops.bare)
    body = gitops.git("show", "refs/torghut/pull-requests/1:description.md", where=gitops.bare)
    assert (subject, plan.digest in body, ["intent", "pull request"]) == (
        "chore(torghut): pause trading",
        True,
        [line.fields["event"] for line in lines],
    )
    patch = plan.draft.edits[0].diff
    subprocess.run(["git", "apply", "-"], cwd=gitops.clone, input=patch.encode(), check=True)
    applied = (gitops.clone / "argocd/applications/torghut/knative-service.yaml").read_bytes()
    assert applied == gitops.read(str(result.commit), "knative-service.yaml")


def test_run_when_the_working_tree_is_dirty_then_it_stays_as_it_is(ask: Callable[..., Request], gitops: Any) -> None:
    """--branch leaves index, HEAD and files of the user alone, and pushes nothing."""
    dirty = gitops.clone / "argocd/applications/torghut/knative-service.yaml"
    dirty.write_bytes(b"half done")
    gitops.git("add", "-A")
    (gitops.clone / "untracked").write_bytes(b"x")
    status, refs = gitops.git("status", "--porcelain=v2", "--branch"), gitops.refs()
    outcome = engine.run(ask(pause_trading, Effect.BRANCH, repo=str(gitops.clone)))
    assert (status, refs, b"half done") == (
        gitops.git("status", "--porcelain=v2", "--branch"),
        gitops.refs(),
        dirty.read_bytes(),
    )
    assert outcome.plan.result is not None
    assert str(outcome.plan.result.commit) == gitops.git("rev-parse", f"refs/heads/{outcome.plan.result.branch}")


def test_run_when_the_same_request_comes_again_then_it_is_adopted(ask: Callable[..., Request], gitops: Any) -> None:
    """Another minute, another base commit, same effect: the open pull request is adopted and nothing is written."""
    first = engine.run(ask(pause_trading))
    gitops.replace("ws/configmap.yaml", "ALPACA_FEED: iex", "ALPACA_FEED: sip")
    gitops.replace("knative-service.yaml", "torghut/torghut:0.1.0", "torghut/torghut:0.2.0")
    refs = gitops.refs()
    second = engine.run(ask(pause_trading, at_ns=parse_ns("2026-03-04T16:00:00Z")))
    assert ((1, False), (1, True), refs) == (pull(first), pull(second), gitops.refs())


def resume_without_evidence(given: Any) -> Any:
    """The resume plan with its preconditions taken as met, for what comes after them."""
    return replace(resume_ta.plan(given), preconditions=())


def test_run_when_a_start_is_asked_for_off_a_terminal_then_only_as_the_plan_that_was_looked_at(
    ask: Callable[..., Request], gitops: Any
) -> None:
    """A phrase alone starts nothing; the digest of the plan does, and a stop needs none."""
    gitops.replace("ta/flinkdeployment.yaml", "state: running", "state: suspended")
    refs = gitops.refs()
    with pytest.raises(RefusedError, match="plan: off a terminal") as caught:
        engine.run(ask(resume_ta, planner=resume_without_evidence))
    assert (6, refs) == (int(caught.value.exit_code), gitops.refs())
    shown = engine.run(ask(resume_ta, Effect.SHOW, planner=resume_without_evidence)).plan
    done = engine.run(ask(resume_ta, planner=resume_without_evidence, plan_digest=shown.digest))
    assert pull(done) == (1, False)


def test_plan_when_it_can_be_carried_out_then_it_says_how_but_for_the_phrase(
    ask: Callable[..., Request], gitops: Any
) -> None:
    """Reason as given, digest, the time where it is stamped, the place; nothing where anything besides is wanting."""
    request = ask(restart_ws, Effect.SHOW, words=("restart-ws",), options=(("--repo", "/git ops"),))
    shown = engine.run(request).plan
    line = f"torghutctl restart-ws --repo '/git ops' --reason 'stale data' --at {AT} --plan {shown.digest} --pr"
    assert shown.act == line
    assert shown.report()["act"] == line
    without = [
        replace(request, intent=replace(GOOD, reason=" ")),
        replace(request, only_a_person=True),
        replace(request, intent=replace(GOOD, is_environment_named=False, is_production=True)),
        replace(request, intent=replace(GOOD, agent_run=agent_run(shown.digest))),
        replace(request, spec=replace(restart_ws.SPEC, danger=Danger.EMERGENCY)),
        replace(request, repo=str(gitops.clone), spec=restart_ws.SPEC, planner=lambda _: Draft()),
    ]
    assert [engine.run(other).plan.act for other in without] == [None] * len(without)
    refusing = Precondition(name="x", ok=None, detail="not read")
    for precondition, is_shown in ((refusing, False), (replace(refusing, refuses=False), True)):
        planner = partial(_with_precondition, precondition)
        assert (engine.run(replace(request, planner=planner)).plan.act is not None) is is_shown


def _with_precondition(precondition: Precondition, given: Any) -> Any:
    return replace(restart_ws.plan(given), preconditions=(precondition,))


def test_run_when_another_pull_request_sets_it_otherwise_then_a_start_is_refused(
    ask: Callable[..., Request], gitops: Any
) -> None:
    """A contradicting pull request holds up a start, and the message has its address."""
    gitops.replace("ta/flinkdeployment.yaml", "state: running", "state: parked")
    engine.run(ask(suspend_ta))
    refs = gitops.refs()
    with pytest.raises(StalePlanError, match=r"#1 file://") as caught:
        engine.run(ask(resume_ta, planner=resume_without_evidence, intent=PERSON))
    assert (7, refs) == (int(caught.value.exit_code), gitops.refs())


def test_run_when_another_pull_request_sets_it_otherwise_then_a_stop_is_opened_and_names_it(
    ask: Callable[..., Request], gitops: Any
) -> None:
    """A stop waits for nobody."""
    gitops.replace("ta/flinkdeployment.yaml", "state: running", "state: parked")
    engine.run(ask(resume_ta, planner=resume_without_evidence, intent=PERSON))
    assert pull(engine.run(ask(suspend_ta))) == (2, False)
    body = gitops.git("show", "refs/torghut/pull-requests/2:description.md", where=gitops.bare)
    assert "contradicts #1" in body


def test_run_when_another_pull_request_does_the_same_and_more_then_it_is_not_adopted(
    ask: Callable[..., Request], gitops: Any
) -> None:
    """A pause that also turns live trading on is no pause: the stop is opened and names it."""
    path = gitops.clone / "argocd/applications/torghut/knative-service.yaml"
    more = path.read_text().replace(
        'TRADING_ENABLED\n              value: "true"', 'TRADING_ENABLED\n              value: "false"'
    )
    gitops.git("checkout", "-q", "-b", "sneaky")
    path.write_text(more.replace("value: paper", "value: live", 1))
    gitops.git("commit", "-qam", "pause, and more")
    gitops.git("push", "-q", "origin", "sneaky")
    gitops.git("checkout", "-q", "main")
    forge = LocalForge(gitops.bare, GitClient(gitops.clone))
    forge.open_pull_request(PullRequestDraft(title="pause", body="", head_branch="sneaky", base_branch="main"))
    outcome = engine.run(ask(pause_trading))
    assert (pull(outcome), "pull request 1" in " ".join(outcome.notes)) == ((2, False), True)


def test_run_when_a_restart_is_open_then_it_is_adopted_until_the_base_has_its_nonce(
    ask: Callable[..., Request], gitops: Any
) -> None:
    """Two bumps to one number would lose a restart: what the base already has restarts nothing."""
    first = engine.run(ask(restart_ta))
    assert pull(engine.run(ask(restart_ta, at_ns=parse_ns("2026-03-04T17:00:00Z")))) == (1, True)
    gitops.replace("ta/flinkdeployment.yaml", "restartNonce: 1", "restartNonce: 2", "an image promotion bumps it too")
    third = engine.run(ask(restart_ta, at_ns=parse_ns("2026-03-04T18:00:00Z")))
    assert (pull(first), pull(third)) == ((1, False), (2, False))
    assert third.plan.draft.changes[0].after == "3"


def test_run_when_a_restart_with_replicas_is_open_then_it_is_adopted_though_its_time_is_another(
    ask: Callable[..., Request], gitops: Any
) -> None:
    """The time of a restart is its own; what it restarts, and how many replicas, are the same."""
    gitops.replace("ws/deployment.yaml", "replicas: 1", "replicas: 2")
    first = engine.run(ask(restart_ws))
    second = engine.run(ask(restart_ws, at_ns=parse_ns("2026-03-04T17:00:00Z")))
    assert (pull(first), pull(second)) == ((1, False), (1, True))


def test_run_when_the_base_moves_elsewhere_before_publishing_then_the_same_plan_goes_on(
    ask: Callable[..., Request], gitops: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit stands on the moved base."""
    before_publishing(monkeypatch, lambda: gitops.replace("ws/configmap.yaml", "ALPACA_FEED: iex", "ALPACA_FEED: sip"))
    outcome = engine.run(ask(pause_trading))
    assert outcome.plan.result is not None
    head = gitops.git("rev-parse", "main", where=gitops.bare)
    assert head == gitops.git("rev-parse", f"{outcome.plan.result.commit}^", where=gitops.bare)


def test_run_when_the_base_moves_in_the_same_file_before_publishing_then_it_is_stale(
    ask: Callable[..., Request], gitops: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image promoted in between makes another plan: 7, with what moved, and nothing is published."""
    before_publishing(
        monkeypatch,
        lambda: gitops.replace("knative-service.yaml", "torghut/torghut:0.1.0", "torghut/torghut:0.2.0") and None,
    )
    with pytest.raises(StalePlanError, match=r"knative-service\.yaml") as caught:
        engine.run(ask(pause_trading))
    assert int(caught.value.exit_code) == 7
    assert [name for name in gitops.refs() if name != "refs/heads/main"] == []


def test_run_when_the_plan_names_another_digest_then_it_is_refused_as_stale(ask: Callable[..., Request]) -> None:
    """--plan binds what is done to what was shown; for restart-ws that includes --at."""
    shown = engine.run(ask(restart_ws, Effect.SHOW)).plan.digest
    assert shown == engine.run(ask(restart_ws, Effect.SHOW, plan_digest=shown)).plan.digest
    with pytest.raises(StalePlanError):
        engine.run(ask(restart_ws, plan_digest=shown, at_ns=parse_ns("2026-03-04T15:06:08Z")))


def test_run_when_nothing_is_to_change_then_nothing_is_done(
    ask: Callable[..., Request], gitops: Any, tmp_path: Path
) -> None:
    """A value already as wanted needs no gate and leaves no trace."""
    gitops.replace("ta/flinkdeployment.yaml", "state: running", "state: suspended")
    outcome = engine.run(ask(suspend_ta))
    assert (outcome.plan.is_empty, outcome.plan.result, (tmp_path / "audit.jsonl").exists()) == (True, None, False)


def test_run_when_the_branch_name_is_taken_then_it_is_never_moved(ask: Callable[..., Request], gitops: Any) -> None:
    """A branch of that name with other content is left alone."""
    plan = engine.run(ask(pause_trading, Effect.SHOW)).plan
    name = f"agentruns/torghut-pause-trading-20260304-1506-{plan.digest[7:15]}"
    gitops.git("branch", name, "main", where=gitops.bare)
    before = gitops.refs()
    with pytest.raises(StalePlanError, match="already exists"):
        engine.run(ask(pause_trading))
    assert before == gitops.refs()


def test_run_when_it_was_cut_off_after_the_push_then_the_branch_is_taken_up_again(
    ask: Callable[..., Request], gitops: Any
) -> None:
    """The same plan finds its own branch and opens the pull request for it."""
    first = engine.run(ask(pause_trading, Effect.BRANCH))
    second = engine.run(ask(pause_trading, at_ns=parse_ns(AT)))
    assert first.plan.result is not None and second.plan.result is not None
    assert (first.plan.result.branch, first.plan.result.commit, (1, False)) == (
        second.plan.result.branch,
        second.plan.result.commit,
        pull(second),
    )


def test_run_when_the_repository_refuses_the_push_then_it_is_upstream_and_can_be_repeated(
    ask: Callable[..., Request], gitops: Any
) -> None:
    """A token without rights, a protected branch: 9, no pull request, and nothing in the way of the next try."""
    hook = gitops.bare / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    refs = gitops.refs()
    with pytest.raises(UpstreamError) as caught:
        engine.run(ask(pause_trading))
    assert (9, refs) == (int(caught.value.exit_code), gitops.refs())
    hook.unlink()
    assert pull(engine.run(ask(pause_trading))) == (1, False)


@pytest.mark.slow
@pytest.mark.parametrize("minutes_apart", [0, 1])
def test_run_when_several_operators_act_at_once_then_one_pull_request_is_left(
    ask: Callable[..., Request], gitops: Any, minutes_apart: int
) -> None:
    """Five processes at once, in the same minute or not: everyone ends with the same one, nothing is lost or forced."""
    children = []
    for index in range(5):
        child = os.fork()
        if child == 0:
            try:
                request = ask(
                    pause_trading, at_ns=parse_ns(AT) + index * minutes_apart * 60 * 10**9, actor=f"operator-{index}"
                )
                outcome = engine.run(request)
                assert outcome.plan.result is not None and outcome.plan.result.pull_request is not None
                os._exit(10 + outcome.plan.result.pull_request.number)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    opened = LocalForge(gitops.bare, GitClient(gitops.clone)).open_pull_requests("main")
    assert (1, {10 + opened[0].number}) == (len(opened), set(codes))


def test_local_forge_when_merged_squashed_or_closed_then_it_says_so(ask: Callable[..., Request], gitops: Any) -> None:
    """The state comes from git itself: contained, a commit with the same digest, or a branch that is gone."""
    states = []
    for module in (pause_trading, suspend_ta, restart_ws):
        outcome = engine.run(ask(module))
        assert outcome.plan.result is not None
        number, branch = pull(outcome)[0], str(outcome.plan.result.branch)
        gitops.git("fetch", "-q", "origin", branch)
        gitops.git("checkout", "-q", "main")
        gitops.git("reset", "-q", "--hard", "origin/main") if number > 1 else None
        if module is pause_trading:
            gitops.git("merge", "-q", "--no-ff", "-m", "merge", "FETCH_HEAD")
            gitops.git("push", "-q", "origin", "main")
        elif module is suspend_ta:
            message = gitops.git("log", "-1", "--format=%B", "FETCH_HEAD")
            gitops.git("merge", "-q", "--squash", "FETCH_HEAD")
            gitops.git("commit", "-q", "-m", message)
            gitops.git("push", "-q", "origin", "main")
        else:
            gitops.git("push", "-q", "origin", "--delete", branch)
        gitops.git("fetch", "-q", "origin")
        states.append(LocalForge(gitops.bare, GitClient(gitops.clone)).pull_request(number).state)
    assert states == ["merged", "merged", "closed"]


def test_local_forge_when_two_open_at_once_then_each_gets_its_own_number(gitops: Any) -> None:
    """The number is taken by creating its ref, so nobody overwrites anybody."""
    forge = LocalForge(gitops.bare, GitClient(gitops.clone))
    for name in ("a", "b"):
        gitops.git("branch", name, "main", where=gitops.bare)
    numbers = LocalForge._numbers
    first = forge.open_pull_request(PullRequestDraft(title="a", body="", head_branch="a", base_branch="main"))
    LocalForge._numbers = lambda self: []  # type: ignore[method-assign]
    try:
        second = forge.open_pull_request(PullRequestDraft(title="b", body="", head_branch="b", base_branch="main"))
    finally:
        LocalForge._numbers = numbers  # type: ignore[method-assign]
    assert (first.number, second.number) == (1, 2)


def test_local_forge_when_two_withdraw_the_same_one_then_neither_fails_and_a_newer_one_stays(gitops: Any) -> None:
    """Both found that an older pull request has the same effect; the number may be somebody else's by then."""
    forge = LocalForge(gitops.bare, GitClient(gitops.clone))
    gitops.git("branch", "a", "main", where=gitops.bare)
    draft = PullRequestDraft(title="a", body="", head_branch="a", base_branch="main")
    numbers = LocalForge._all
    LocalForge._all = lambda self: []  # type: ignore[method-assign]
    try:
        opened = [forge.open_pull_request(draft).number for _ in range(2)]
    finally:
        LocalForge._all = numbers  # type: ignore[method-assign]
    forge.withdraw(2)
    forge.withdraw(2)
    assert (opened, forge._numbers()) == ([1, 2], [1])
    forge._delete("refs/torghut/pull-requests/1", gitops.git("rev-parse", "main", where=gitops.bare))
    assert forge._numbers() == [1]


def test_run_when_the_folder_or_base_is_wrong_then_it_is_a_usage_error(ask: Callable[..., Request]) -> None:
    """The message names the option."""
    with pytest.raises(InputError, match="--gitops-path nowhere"):
        engine.run(ask(pause_trading, gitops_path="nowhere"))
    with pytest.raises(InputError, match="--base nothing"):
        engine.run(ask(pause_trading, base="nothing"))
