"""Replay in both modes: preflight, the way in and out, and a kill at any point."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import incidents, torghut_cluster
from tests.fakes.kubernetes_api import Cluster, serve
from torghut_core.rfc3339 import parse_ns
from torghutctl.actuation import engine
from torghutctl.actuation.request import Effect, Request
from torghutctl.adapters.git_client import GitClient
from torghutctl.adapters.pod_commands import CommandResult
from torghutctl.effects.actions import Hands, Journal, Step, carry_out
from torghutctl.effects.audit_log import AuditLog
from torghutctl.effects.local_forge import LocalForge
from torghutctl.environments import Environment
from torghutctl.errors import InputError, RefusedError, UnverifiedError, UpstreamError
from torghutctl.planning.gates import Intent
from torghutctl.procedures import replay_ta, restore_replica
from torghutctl.procedures.replay_actions import (
    DERIVED_TOPICS,
    TYPED_TOPICS,
    Places,
    contract_shapes,
    destructive_actions,
)
from torghutctl.procedures.replay_ta import Mode, Replay, plan_exit, plan_start
from torghutctl.snapshot.model import Failure, Reading, Snapshot
from torghutctl.snapshot.reader import read
from torghutctl.snapshot.target import Target

pytestmark = pytest.mark.slow  # git processes, engines and waits: seconds in all

NOW = torghut_cluster.NOW
CONFIG, FLINK = "ta/configmap.yaml", "ta/flinkdeployment.yaml"
ON, OFF = 'TRADING_ENABLED\n              value: "true"', 'TRADING_ENABLED\n              value: "false"'
PLACES = Places(
    kafka_namespace="kafka",
    kafka_pod="kafka-pool-0",
    kafka_bootstrap="localhost:9092",
    minio_namespace="minio",
    minio_pod="minio-0",
    bucket="local/flink-checkpoints",
    prefix="torghut/technical-analysis",
)
GOOD = Intent(
    reason="gap",
    confirm="ACTUATE_TORGHUT",
    is_environment_named=True,
    is_production=False,
    agent_run=None,
    is_person_at_terminal=True,
)


BROKERS: dict[str, Any] = {
    "group": "torghut-ta-replay-gap-1",
    "hasOffsets": False,
    "heldSince": {"torghut.trades.v1": None, "torghut.quotes.v1": None},
}
"""What brokers say of a replay that may begin."""


def brokers_say(value: Any, snapshot: Snapshot) -> Snapshot:
    """The snapshot with this answer of the brokers, which could not be asked where it is None."""
    failure = Failure.UNREACHABLE if value is None else None
    answer = Reading(source="kafka/replay", value=value, failure=failure)
    return replace(snapshot, readings={**snapshot.readings, "kafka/replay": answer})


@pytest.fixture
def cluster() -> Cluster:
    """Healthy, with trading paused."""
    made = torghut_cluster.healthy()
    incidents.status_of(made, enabled=False, running=False)
    for topic in ("torghut.trades.v1", "torghut.quotes.v1"):
        spec = {"partitions": 3, "config": {"retention.ms": 604800000}}
        made.put(f"{torghut_cluster.KAFKA}/kafkatopics", {"metadata": {"name": topic}, "spec": spec, "status": {}})
    for topic in DERIVED_TOPICS:
        config = {"retention.ms": 1209600000, "cleanup.policy": "delete", "min.insync.replicas": 1}
        spec = {"partitions": 1, "replicas": 2, "config": config}
        made.put(f"{torghut_cluster.KAFKA}/kafkatopics", {"metadata": {"name": topic.name}, "spec": spec, "status": {}})
    pod = {"metadata": {"name": "minio-0"}, "spec": {}, "status": {"phase": "Running"}}
    made.put("api/v1/namespaces/minio/pods", pod)
    return made


@pytest.fixture
def ask(gitops: Any, tmp_path: Path, cluster: Cluster) -> Iterator[Callable[..., Request]]:
    gitops.replace("knative-service.yaml", ON, OFF)
    with serve(cluster, tmp_path) as kubeconfig:

        def build(
            planner: Any, effect: Effect = Effect.PULL_REQUEST, spec: Any = replay_ta.SPEC, **changes: Any
        ) -> Request:
            request = Request(
                spec=spec,
                planner=planner,
                arguments={},
                environment=Environment(),
                repo=str(gitops.bare),
                base="main",
                gitops_path="argocd/applications/torghut",
                effect=effect,
                intent=GOOD,
                at_ns=parse_ns(NOW),
                now_ns=parse_ns(NOW),
                audit_path=tmp_path / "state" / "audit.jsonl",
                actor="tester@host",
                open_forge=lambda repository: LocalForge(gitops.bare, repository.client),
                read_snapshot=lambda: brokers_say(
                    BROKERS,
                    read(Target(kubeconfig=kubeconfig, storage_namespace="minio"), at_ns=parse_ns(NOW), process={}),
                ),
            )
            return replace(request, **changes)

        yield build


def start(identity: str = "gap-1", **changes: Any) -> Callable[[Any], Any]:
    return lambda given: plan_start(given, Replay(identity=identity, **changes))


@pytest.mark.slow
def test_backfill_when_started_and_left_then_only_the_nonce_is_another(
    ask: Callable[..., Request], gitops: Any
) -> None:
    """Start takes group, offset reset, upgrade mode and nonce together; exit brings back what was there, from history."""
    before = {name: gitops.read("main", name) for name in (CONFIG, FLINK)}
    begun = engine.run(ask(start()))
    gitops.merge(str(begun.plan.result.branch))
    assert [c.after for c in begun.plan.draft.changes] == ["torghut-ta-replay-gap-1", "earliest", "stateless", "2"]
    gitops.replace(FLINK, "parallelism: 1", "parallelism: 2", "something else in between")
    left = engine.run(ask(plan_exit))
    gitops.merge(str(left.plan.result.branch))
    after = {name: gitops.read("main", name) for name in (CONFIG, FLINK)}
    assert before[CONFIG] == after[CONFIG]
    expected = (
        before[FLINK].replace(b"restartNonce: 1", b"restartNonce: 3").replace(b"parallelism: 1", b"parallelism: 2")
    )
    assert expected == after[FLINK]
    assert engine.run(ask(plan_exit)).plan.is_empty


@pytest.mark.slow
def test_backfill_when_repeated_then_nothing_is_done_twice(ask: Callable[..., Request], gitops: Any) -> None:
    """Before the merge the pull request is adopted, after it there is nothing to change."""
    begun = engine.run(ask(start()))
    again = engine.run(ask(start(), at_ns=parse_ns(NOW) + 3600 * 10**9))
    assert again.plan.result is not None and again.plan.result.pull_request is not None
    assert again.plan.result.pull_request.adopted
    gitops.merge(str(begun.plan.result.branch))
    assert engine.run(ask(start())).plan.is_empty


PREFLIGHT: dict[str, tuple[Callable[[Any, Cluster], Any], Callable[[Any], Any], str]] = {
    "trading on in git": (lambda g, c: g.replace("knative-service.yaml", OFF, ON), start(), "trading is paused"),
    "trading on in effect": (lambda g, c: incidents.status_of(c, enabled=True), start(), "trading is paused"),
    "trading unreadable": (
        lambda g, c: c.services.pop(torghut_cluster.STATUS.format(torghut_cluster.TRADING_POD)),
        start(),
        "trading is paused",
    ),
    "disk low": (lambda g, c: incidents.set_gauges(c, free=(0.1, 0.5)), start(), "ClickHouse can be written"),
    "no room for the rows": (lambda g, c: incidents.set_gauges(c, free=(0.6, 0.3)), start(), "the disk has room"),
    "job unreadable": (lambda g, c: c.remove(torghut_cluster.FLINK, "torghut-ta"), start(), "the TA job can be read"),
    "window too old": (lambda g, c: None, start(since_ns=parse_ns(NOW) - 8 * 86_400 * 10**9), "Kafka's retention"),
    "topics unreadable": (
        lambda g, c: (c.objects.clear(), c.collections.discard(f"{torghut_cluster.KAFKA}/kafkatopics")),
        start(),
        "Kafka's retention",
    ),
    "another replay on": (
        lambda g, c: g.replace(CONFIG, "TA_GROUP_ID: torghut-ta\n", "TA_GROUP_ID: torghut-ta-replay-old\n"),
        start(),
        "no other replay is on",
    ),
    "id used before": (
        lambda g, c: (
            g.replace(CONFIG, "TA_GROUP_ID: torghut-ta\n", "TA_GROUP_ID: torghut-ta-replay-gap-1\n"),
            g.replace(CONFIG, "TA_GROUP_ID: torghut-ta-replay-gap-1\n", "TA_GROUP_ID: torghut-ta\n"),
        ),
        start(),
        "the replay id was never used",
    ),
}


@pytest.mark.parametrize("case", PREFLIGHT)
def test_start_when_the_preflight_fails_then_it_is_refused(
    case: str, ask: Callable[..., Request], gitops: Any, cluster: Cluster
) -> None:
    """Each question refuses on its own."""
    bend, planner, gate = PREFLIGHT[case]
    bend(gitops, cluster)
    refs = gitops.refs()
    with pytest.raises(RefusedError, match=gate):
        engine.run(ask(planner))
    assert refs == gitops.refs()


ASKED: dict[str, tuple[Any, str]] = {
    "used": ({**BROKERS, "hasOffsets": True}, "has no offsets in Kafka"),
    "silent on use": ({**BROKERS, "hasOffsets": None}, "has no offsets in Kafka"),
    "asked for another group": ({**BROKERS, "group": "torghut-ta-replay-other"}, "were asked for group"),
    "removed": (
        {**BROKERS, "heldSince": {"torghut.trades.v1": NOW, "torghut.quotes.v1": None}},
        "is still in the input topics",
    ),
    "silent on a topic": ({**BROKERS, "heldSince": {"torghut.trades.v1": None}}, "do not tell of both"),
    "silent on the topics": ({**BROKERS, "heldSince": None}, "do not tell of both"),
    "unreadable": (None, "has no offsets in Kafka"),
    "not what was expected": ({}, "has no offsets in Kafka"),
}


@pytest.mark.parametrize("case", ASKED)
def test_start_when_the_brokers_say_no_then_it_is_refused(case: str, ask: Callable[..., Request]) -> None:
    """A used group, a begin that is gone, an answer about something else and brokers asked in vain each refuse."""
    value, gate = ASKED[case]
    since = parse_ns(NOW) - 3600 * 10**9
    request = ask(start(since_ns=since))
    assert request.read_snapshot is not None
    snapshot = request.read_snapshot()
    asked = brokers_say(value, snapshot)
    with pytest.raises(RefusedError, match=gate):
        engine.run(ask(start(since_ns=since), read_snapshot=lambda: asked))
    assert engine.run(ask(start(since_ns=since), Effect.SHOW)).plan.refusals == ()


def test_start_when_the_brokers_were_not_asked_then_it_is_refused_and_says_what_would_have_them_asked(
    ask: Callable[..., Request],
) -> None:
    """Not asked is not known, and not known is a no."""
    request = ask(start())
    assert request.read_snapshot is not None
    snapshot = request.read_snapshot()
    unasked = replace(snapshot, readings={k: v for k, v in snapshot.readings.items() if k != "kafka/replay"})
    with pytest.raises(RefusedError, match="set TA_KAFKA_BOOTSTRAP"):
        engine.run(ask(start(), read_snapshot=lambda: unasked))


@pytest.mark.parametrize(
    ("config", "since_days", "gate"),
    [
        ({"torghut.quotes.v1": {}}, None, "do not say their retention"),
        ({"torghut.quotes.v1": None}, None, "do not say their retention"),
        ({"torghut.quotes.v1": {"retention.ms": 86_400_000}}, 2, "inside Kafka's retention"),
        (
            {"torghut.trades.v1": {"retention.ms": -1}, "torghut.quotes.v1": {"retention.ms": -1}},
            15,
            "ClickHouse's TTL",
        ),
    ],
)
def test_start_when_one_topic_s_retention_is_missing_or_too_short_then_it_is_refused(
    config: dict[str, Any], since_days: int | None, gate: str, ask: Callable[..., Request], cluster: Cluster
) -> None:
    """Both input topics must hold the window; no limit is a retention too, and the tables have their own."""
    for topic, settings in config.items():
        cluster.remove(f"{torghut_cluster.KAFKA}/kafkatopics", topic)
        if settings is not None:
            spec = {"partitions": 3, "config": settings}
            made = {"metadata": {"name": topic}, "spec": spec, "status": {}}
            cluster.put(f"{torghut_cluster.KAFKA}/kafkatopics", made)
    since = None if since_days is None else parse_ns(NOW) - since_days * 86_400 * 10**9
    with pytest.raises(RefusedError, match=gate):
        engine.run(ask(start(since_ns=since)))


@pytest.mark.parametrize(
    "silent", ["last_scrape_ts_seconds", "last_scrape_success", "disk_free_ratio", "clickhouse_up"]
)
def test_start_when_a_gauge_is_missing_then_it_is_refused(silent: str, ask: Callable[..., Request]) -> None:
    """A replica that does not say how it is may be anything."""
    request = ask(start())
    assert request.read_snapshot is not None
    snapshot = request.read_snapshot()
    gauges = snapshot.reading("clickhouse/gauges")
    fewer = {replica: {k: v for k, v in found.items() if k != silent} for replica, found in gauges.value.items()}
    if silent == "disk_free_ratio":
        fewer = {replica: {k: v for k, v in found.items() if "disk" not in k} for replica, found in fewer.items()}
    readings = {**snapshot.readings, "clickhouse/gauges": replace(gauges, value=fewer)}
    with pytest.raises(RefusedError, match="ClickHouse can be written"):
        engine.run(ask(start(), read_snapshot=lambda: replace(snapshot, readings=readings)))


def test_start_when_the_window_begins_in_the_future_then_it_is_a_usage_error(ask: Callable[..., Request]) -> None:
    """There is nothing to replay there."""
    with pytest.raises(InputError, match="--since 2026-03-04T16:06:07Z: must be in the past"):
        engine.run(ask(start(since_ns=parse_ns("2026-03-04T16:06:07Z"), identity="gap-1")))


@pytest.mark.parametrize("identity", ["", "UPPER", "-x", "x" * 41, "a b", "a;b"])
def test_start_when_the_id_cannot_be_a_group_then_it_is_a_usage_error(
    identity: str, ask: Callable[..., Request]
) -> None:
    """The id becomes part of a consumer group's name and of a path."""
    with pytest.raises(InputError, match="--id"):
        engine.run(ask(start(identity)))


@pytest.mark.parametrize(
    "changes",
    [{"prefix": "torghut"}, {"prefix": "../x/y"}, {"bucket": "local"}, {"kafka_pod": "a b"}, {"prefix": "a//b"}],
)
def test_places_when_they_reach_too_far_then_they_are_refused(changes: dict[str, str]) -> None:
    """A whole bucket, a parent folder or a second word never gets into a command line."""
    with pytest.raises(InputError):
        replace(PLACES, **changes)


class World:
    """Object storage and topics as files, changed by the fixed command lines alone; counts what is deleted."""

    def __init__(self, folder: Path) -> None:
        self.objects, self.topics, self.log = folder / "objects", folder / "topics", folder / "log"
        for path in (self.objects, self.topics):
            path.mkdir(parents=True, exist_ok=True)

    def fill(self) -> None:
        for part in ("checkpoints", "savepoints"):
            for index in range(3):
                path = self.objects / "local/flink-checkpoints/torghut/technical-analysis" / part / f"chk-{index}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"x" * (index + 1))
        for topic in TYPED_TOPICS.split():
            (self.topics / topic).write_text("old records")

    def run(self, namespace: str, pod: str, command: str) -> CommandResult:
        words = command.split()
        if words[:2] == ["mc", "mirror"]:
            source, target = self.objects / words[3], self.objects / words[4]
            for path in sorted(source.glob("*")):
                target.mkdir(parents=True, exist_ok=True)
                (target / path.name).write_bytes(path.read_bytes())
        elif words[:2] == ["mc", "ls"]:
            rows = [{"key": p.name, "size": p.stat().st_size} for p in sorted((self.objects / words[4]).glob("*"))]
            return CommandResult(status=0, output="\n".join(map(json.dumps, rows)), errors="")
        elif words[:2] == ["mc", "rm"]:
            for path in sorted((self.objects / words[4]).glob("*")):
                backup = self.objects / "local/flink-checkpoints/backup/gap-1" / Path(words[4]).name / path.name
                assert backup.read_bytes() == path.read_bytes(), "deleted without its backup"
                path.unlink()
                self.note(f"object {words[4]}/{path.name}")
        elif "--delete" in words:
            path = self.topics / words[-1]
            if path.exists():
                path.unlink()
                self.note(f"topic {words[-1]}")
        elif "--create" in words:
            path = self.topics / words[words.index("--topic") + 1]
            if not path.exists():
                path.write_text(" ".join(words[words.index("--topic") :]))
        return CommandResult(status=0, output="", errors="")

    def annotate(self, namespace: str, topic: str, key: str, value: str | None) -> None:
        path = self.topics / f"{topic}.managed"
        path.unlink(missing_ok=True) if value is None else path.write_text(value)

    def note(self, line: str) -> None:
        with self.log.open("a") as file:
            file.write(line + "\n")

    def state(self) -> dict[str, str]:
        return {
            str(p.relative_to(root)): p.read_text()
            for root in (self.objects, self.topics)
            for p in root.rglob("*")
            if p.is_file()
        }

    def deletions(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


STEPS = [
    Step(target=a.target, statement=a.statement, same_objects_as=a.same_objects_as)
    for a in destructive_actions("gap-1", PLACES, contract_shapes())
]


def run_and_die(world: World, journal: Journal, point: int) -> bool:
    """Carry the steps out in a child that is killed at the given point; tell whether it got to the end instead."""
    child = os.fork()
    if child == 0:
        count = 0

        def tick() -> None:
            nonlocal count
            count += 1
            if count > point:
                os.kill(os.getpid(), signal.SIGKILL)

        def run(namespace: str, pod: str, command: str) -> CommandResult:
            tick()
            result = world.run(namespace, pod, command)
            tick()
            return result

        def annotate(namespace: str, topic: str, key: str, value: str | None) -> None:
            tick()
            world.annotate(namespace, topic, key, value)
            tick()

        try:
            carry_out(STEPS, Hands(run=run, annotate=annotate), journal, lambda index, step, event: tick())
            os._exit(0)
        except BaseException:  # the child must never return into pytest
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return not os.WIFSIGNALED(status)


@pytest.mark.slow
@pytest.mark.e2e
def test_from_scratch_when_killed_at_any_point_and_resumed_then_the_end_is_the_same(tmp_path: Path) -> None:
    """SIGKILL before, in and after every step: same end state, nothing deleted twice or without its backup."""
    whole = World(tmp_path / "whole")
    whole.fill()
    assert carry_out(
        STEPS, Hands(run=whole.run, annotate=whole.annotate), Journal(tmp_path / "w"), lambda *_: None
    ) == len(STEPS)
    point, finished = 0, False
    while not finished:
        world, journal = World(tmp_path / str(point)), Journal(tmp_path / f"{point}.jsonl")
        world.fill()
        finished = run_and_die(world, journal, point)
        while not finished and not run_and_die(world, journal, 7):
            pass
        carry_out(STEPS, Hands(run=world.run, annotate=world.annotate), journal, lambda *_: None)
        assert whole.state() == world.state(), point
        assert sorted(set(world.deletions())) == sorted(world.deletions()) == sorted(whole.deletions()), point
        point += 1
    assert point > 2 * len(STEPS)


@pytest.mark.slow
@pytest.mark.e2e
def test_backfill_when_killed_at_any_git_command_and_resumed_then_there_is_one_pull_request(
    ask: Callable[..., Request], gitops: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was left behind, repeating the command ends with one branch, one commit on main, one pull request."""
    request = ask(
        lambda given: replace(plan_start(given, Replay(identity="gap-1")), preconditions=()), read_snapshot=None
    )
    clean = gitops.refs()
    original = GitClient.attempt
    point, finished = 0, False
    while not finished:
        child = os.fork()
        if child == 0:
            count = 0

            def attempt(self: GitClient, *arguments: str, limit: int = point, **more: Any) -> Any:
                nonlocal count
                result = original(self, *arguments, **more)
                count += 1
                if count > limit:
                    os.kill(os.getpid(), signal.SIGKILL)
                return result

            try:
                monkeypatch.setattr(GitClient, "attempt", attempt)
                engine.run(request)
                os._exit(0)
            except BaseException:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        finished = not os.WIFSIGNALED(status)
        outcome = engine.run(request)
        assert outcome.plan.result is not None and outcome.plan.result.pull_request is not None
        refs = gitops.refs()
        added = sorted(set(refs) - set(clean))
        assert added == [f"refs/heads/{outcome.plan.result.branch}", "refs/torghut/pull-requests/1"], point
        assert gitops.git("rev-parse", f"{added[0]}^", where=gitops.bare) == clean["refs/heads/main"]
        assert AuditLog(request.audit_path).faults() == []
        for name in added:
            gitops.git("update-ref", "-d", name, where=gitops.bare)
        point += 2
    assert point > 20


def test_carry_out_when_the_copy_is_short_then_nothing_is_deleted(tmp_path: Path) -> None:
    """A comparison that does not hold stops everything after it."""
    world = World(tmp_path)
    world.fill()

    def run(namespace: str, pod: str, command: str) -> CommandResult:
        result = world.run(namespace, pod, command)
        if command.startswith("mc mirror"):
            next(iter((world.objects / command.split()[4]).glob("*"))).unlink()
        return result

    with pytest.raises(UnverifiedError, match="the copy has 2 objects"):
        carry_out(STEPS, Hands(run=run, annotate=world.annotate), Journal(tmp_path / "j"), lambda *_: None)
    assert world.deletions() == []


def test_carry_out_when_a_command_fails_then_it_goes_on_from_there_next_time(tmp_path: Path) -> None:
    """What is done stays done, what failed is done again."""
    ran: list[str] = []

    def run(namespace: str, pod: str, command: str) -> CommandResult:
        ran.append(command)
        return CommandResult(status=int(len(ran) == 2), output="", errors="")

    steps = [Step(target="pod a/b", statement=name) for name in ("one", "two", "three")]
    hands, journal = Hands(run=run, annotate=lambda *_: None), Journal(tmp_path / "j")
    with pytest.raises(UpstreamError, match="'two' ended with status 1"):
        carry_out(steps, hands, journal, lambda *_: None)
    assert carry_out(steps, hands, journal, lambda *_: None) == 2
    assert ran == ["one", "two", "two", "three"]


@dataclass(frozen=True)
class Act:
    """What a person gives along with --act."""

    is_person_at_terminal: bool = True
    typed: str = TYPED_TOPICS
    ticket: str = "OPS-1"


@pytest.mark.parametrize(
    ("act", "gate"),
    [
        (Act(is_person_at_terminal=False), "person"),
        (Act(typed="torghut.ta.bars.1s.v1"), "second confirmation"),
        (Act(ticket=" "), "a ticket"),
    ],
)
def test_from_scratch_when_a_gate_for_deleting_is_closed_then_it_is_refused(
    act: Act, gate: str, ask: Callable[..., Request], gitops: Any, cluster: Cluster
) -> None:
    """Terminal, typed topics and ticket: each alone keeps everything where it is."""
    suspend(gitops, cluster)
    world = Hands(run=lambda *_: pytest.fail("nothing may run"), annotate=lambda *_: pytest.fail("nothing may run"))
    planner = start(mode=Mode.FROM_SCRATCH, places=PLACES, ticket=act.ticket)
    intent = replace(GOOD, is_person_at_terminal=act.is_person_at_terminal, typed=act.typed)
    with pytest.raises(RefusedError, match=gate):
        engine.run(ask(planner, Effect.ACT, intent=intent, second_phrase=TYPED_TOPICS, open_hands=lambda: world))


SCRATCH_EVIDENCE: dict[str, tuple[Callable[[Cluster], Any], str]] = {
    "no such Kafka pod": (lambda c: c.remove("api/v1/namespaces/kafka/pods", "kafka-pool-0"), "the Kafka pod"),
    "no such MinIO pod": (lambda c: c.remove("api/v1/namespaces/minio/pods", "minio-0"), "the MinIO pod"),
    "MinIO pods unreadable": (
        lambda c: (c.objects.clear(), c.collections.discard("api/v1/namespaces/minio/pods")),
        "the MinIO pod",
    ),
    "a topic's resource is missing": (
        lambda c: c.remove(f"{torghut_cluster.KAFKA}/kafkatopics", DERIVED_TOPICS[0].name),
        "real configuration",
    ),
}


@pytest.mark.parametrize("case", SCRATCH_EVIDENCE)
def test_from_scratch_when_pods_or_topics_are_not_as_named_then_nothing_is_deleted(
    case: str, ask: Callable[..., Request], gitops: Any, cluster: Cluster
) -> None:
    """The names match the cluster, and what is deleted can be made again as it was."""
    suspend(gitops, cluster)
    bend, gate = SCRATCH_EVIDENCE[case]
    bend(cluster)
    world = Hands(run=lambda *_: pytest.fail("nothing may run"), annotate=lambda *_: pytest.fail("nothing may run"))
    planner = start(mode=Mode.FROM_SCRATCH, places=PLACES, ticket="OPS-1")
    intent = replace(GOOD, is_person_at_terminal=True, typed=TYPED_TOPICS)
    with pytest.raises(RefusedError, match=gate):
        engine.run(ask(planner, Effect.ACT, intent=intent, second_phrase=TYPED_TOPICS, open_hands=lambda: world))


def suspend(gitops: Any, cluster: Cluster) -> None:
    gitops.replace(FLINK, "state: running", "state: suspended")
    cluster.put(
        torghut_cluster.FLINK,
        torghut_cluster.flink_deployment(state="suspended", job="FINISHED", lifecycle="SUSPENDED"),
    )


@pytest.mark.slow
def test_from_scratch_when_gone_through_then_suspend_delete_and_start_follow_each_other(
    ask: Callable[..., Request], gitops: Any, cluster: Cluster, tmp_path: Path
) -> None:
    """Each call plans the next step: a suspension, the deleting steps, the replay itself."""
    scratch = {"mode": Mode.FROM_SCRATCH, "places": PLACES, "ticket": "OPS-1"}
    first = engine.run(ask(start(**scratch), Effect.SHOW)).plan
    assert ([c.after for c in first.draft.changes], first.draft.actions) == (["suspended"], ())
    suspend(gitops, cluster)
    world = World(tmp_path / "world")
    world.fill()
    intent = replace(GOOD, is_person_at_terminal=True, typed=TYPED_TOPICS)
    hands = Hands(run=world.run, annotate=world.annotate)
    request = ask(start(**scratch), Effect.ACT, intent=intent, second_phrase=TYPED_TOPICS, open_hands=lambda: hands)
    done = engine.run(request)
    assert done.notes == (f"{len(STEPS)} of {len(STEPS)} steps done now, 0 were done before",)
    assert engine.run(request).notes == (f"0 of {len(STEPS)} steps done now, {len(STEPS)} were done before",)
    made = (world.topics / "torghut.ta.signals.v1").read_text()
    assert "--replication-factor 2" in made, made
    assert "--config min.insync.replicas=1 --config retention.ms=1209600000" in made
    last = engine.run(ask(start(**scratch, is_state_removed=True), Effect.SHOW)).plan
    assert [c.after for c in last.draft.changes] == ["torghut-ta-replay-gap-1", "earliest", "stateless", "2", "running"]


def test_restore_replica_when_nothing_is_read_only_then_it_is_refused(ask: Callable[..., Request]) -> None:
    """There is nothing to restore, and TA runs."""
    with pytest.raises(RefusedError, match="a replica is read-only"):
        engine.run(
            ask(
                restore_replica.plan, Effect.ACT, restore_replica.SPEC, intent=replace(GOOD, is_person_at_terminal=True)
            )
        )


def test_restore_replica_when_all_is_ready_then_each_table_is_restored_on_each_replica(
    ask: Callable[..., Request], gitops: Any, cluster: Cluster
) -> None:
    """Both tables on both replicas, a table that is not read-only counts as done."""
    suspend(gitops, cluster)
    incidents.set_gauges(cluster, readonly=1)
    ran: list[tuple[str, str]] = []

    def run(namespace: str, pod: str, command: str) -> CommandResult:
        ran.append((pod, command))
        fails = len(ran) == 2
        return CommandResult(status=int(fails), output="", errors="Code: 36. Replica must be readonly" if fails else "")

    hands = Hands(run=run, annotate=lambda *_: None)
    intent = replace(GOOD, is_person_at_terminal=True)
    engine.run(ask(restore_replica.plan, Effect.ACT, restore_replica.SPEC, intent=intent, open_hands=lambda: hands))
    assert [
        (
            f"chi-torghut-clickhouse-default-0-{replica}-0",
            f"clickhouse-client --query 'SYSTEM RESTORE REPLICA torghut.{table}'",
        )
        for replica in range(2)
        for table in ("ta_signals", "ta_microbars")
    ] == ran
