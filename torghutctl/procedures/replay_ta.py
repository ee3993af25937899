"""Replay: compute bars and signals again from what Kafka still holds, under a group of its own, and come back.

`backfill` adds and corrects rows; `from-scratch` first removes the derived topics and the job's state. Each call of
`start` plans the next step from what git, the cluster and the journal say, so it can be interrupted anywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from torghut_core.clock import NANOS_PER_SECOND
from torghut_core.rfc3339 import format_ns, parse_ns
from torghut_core.topics import QUOTES, TRADES
from torghutctl.errors import InputError
from torghutctl.planning.plan import Draft, Precondition
from torghutctl.planning.yaml_document import UneditableError, parse
from torghutctl.procedures.evidence import (
    clickhouse_writable,
    data_fresh,
    job,
    not_known,
    read_source,
    replay_headroom,
    ta_suspended,
    trading_paused,
)
from torghutctl.procedures.flink_job import FILE as FLINK_FILE
from torghutctl.procedures.flink_job import open_job, raise_nonce
from torghutctl.procedures.replay_actions import Places, TopicShape, contract_shapes, destructive_actions, real_shapes
from torghutctl.procedures.specification import Danger, FileEditor, PlanningInput, Spec, draft_of, open_manifest
from torghutctl.procedures.verification import Check, group_checks

CONFIG_FILE = "ta/configmap.yaml"
GROUP, RESET = "TA_GROUP_ID", "TA_AUTO_OFFSET_RESET"
REPLAY_PREFIX = "torghut-ta-replay-"
INPUT_TOPICS = (TRADES.name, QUOTES.name)
SIGNALS_TTL_DAYS = 14
_DAY_SECONDS = 86_400
_NOT_ASKED = "not asked: set TA_KAFKA_BOOTSTRAP and its security variables to have the brokers asked"
_RETENTION_DAYS = TRADES.retention_ms / 1000 / _DAY_SECONDS
_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")


class Mode(StrEnum):
    """How much is computed anew."""

    BACKFILL = "backfill"
    FROM_SCRATCH = "from-scratch"


SPEC = Spec(
    name="replay-ta",
    summary="Compute bars and signals again from the market data that Kafka still holds, then return to the steady group.",
    when="rows are missing or wrong within Kafka's retention (trades and quotes: 7 days). Mode from-scratch only when "
    "backfill was not enough, with a ticket.",
    needs="the system, live (or --from-snapshot for a mere plan): trading paused in git and in effect, ClickHouse "
    "writable with disk to spare, the wanted window inside Kafka's retention and ClickHouse's TTL, a replay id never "
    "used before; with TA_KAFKA_BOOTSTRAP set, the brokers are asked for the group and their earliest records. From "
    "scratch needs besides: a ticket, the exact names of a Kafka and a MinIO pod, TA suspended.",
    does="start sets TA_GROUP_ID to torghut-ta-replay-<id>, TA_AUTO_OFFSET_RESET to earliest, upgradeMode to stateless "
    "(without which a new group has no effect), raises the nonce and lets the job run. From scratch first suspends the "
    "job, copies its checkpoints and savepoints and compares count and bytes, makes the derived topics anew, and removes "
    "the state: these steps with --act, by a person at a terminal. exit restores the values from before. status tells "
    "where it stands. Repeat start after each step.",
    verify="the job is RUNNING in the replay's group and the newest event time climbs to the present.",
    undo="torghutctl replay-ta exit at any time; from scratch, the backup prefix holds the old state.",
    danger=Danger.DESTRUCTIVE,
    paths=(CONFIG_FILE, FLINK_FILE),
    needs_cluster=True,
    needs_history=(CONFIG_FILE, FLINK_FILE),
)


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What was asked for."""

    identity: str
    mode: Mode = Mode.BACKFILL
    since_ns: int | None = None
    """Begin of the window that is wanted; None takes whatever Kafka holds."""
    ticket: str = ""
    places: Places | None = None
    is_state_removed: bool = False
    """Whether the journal says that the destructive steps of this replay are done."""

    @property
    def group(self) -> str:
        return f"{REPLAY_PREFIX}{self.identity}"


@dataclass(frozen=True, kw_only=True)
class Steady:
    """The values from before a replay."""

    group: str
    reset: str
    upgrade_mode: str


def config_name(given: PlanningInput) -> str:
    """Return the name of the TA's ConfigMap."""
    return f"{given.environment.names.flink_deployment}-config"


def plan_start(given: PlanningInput, replay: Replay) -> Draft:
    """Return the draft of the next step. Raises InputError for an id or places that cannot be."""
    if _ID.fullmatch(replay.identity) is None:
        raise InputError(f"--id {replay.identity}: must be 1 to 40 of a-z, 0-9 and -", hint="for example 20260304-gap")
    config, config_index = open_manifest(given, CONFIG_FILE, "ConfigMap", config_name(given))
    flink, index = open_job(given)
    group = config.yaml.value((config_index, "data", GROUP))
    if group == replay.group:
        return _already_on(given, replay, flink, index)
    preconditions = _preflight(given, replay, group)
    if replay.mode is Mode.FROM_SCRATCH and not replay.is_state_removed:
        return _remove_state(given, replay, flink, index, preconditions)
    config.set((config_index, "data", GROUP), replay.group, label=GROUP, is_text=True)
    config.set((config_index, "data", RESET), "earliest", label=RESET, is_text=True)
    flink.set((index, "spec", "job", "upgradeMode"), "stateless", label="spec.job.upgradeMode", is_text=True)
    raise_nonce(flink, index)
    flink.set((index, "spec", "job", "state"), "running", label="spec.job.state", is_text=True)
    return draft_of(
        [config, flink],
        Draft(
            preconditions=preconditions,
            verification=(
                f"ConfigMap and job are live with {GROUP}={replay.group}; the job is RUNNING",
                "the newest event time of ta_signals climbs to the present",
                "torghutctl replay-ta status, and exit as soon as it has",
            ),
            rollback=(f"torghutctl replay-ta exit -e {given.environment.name} --reason TEXT --pr",),
            summary=f"start replay {replay.identity} of the technical analysis",
            risk="The job starts without state and reads from the earliest offset; its load on ClickHouse is several "
            "times the usual until it has caught up.",
        ),
    )


def plan_exit(given: PlanningInput) -> Draft:
    """Return the draft that restores group, offset reset and upgrade mode. Raises InputError when they are unknown."""
    config, config_index = open_manifest(given, CONFIG_FILE, "ConfigMap", config_name(given))
    flink, index = open_job(given)
    group = config.yaml.value((config_index, "data", GROUP)) or ""
    if not group.startswith(REPLAY_PREFIX):
        return Draft(summary="nothing to leave")
    steady = find_steady(given)
    config.set((config_index, "data", GROUP), steady.group, label=GROUP, is_text=True)
    config.set((config_index, "data", RESET), steady.reset, label=RESET, is_text=True)
    flink.set((index, "spec", "job", "upgradeMode"), steady.upgrade_mode, label="spec.job.upgradeMode", is_text=True)
    raise_nonce(flink, index)
    flink.set((index, "spec", "job", "state"), "running", label="spec.job.state", is_text=True)
    fresh = data_fresh(given)
    return draft_of(
        [config, flink],
        Draft(
            preconditions=(
                _job_read(given),
                Precondition(name="the replay has caught up", ok=fresh.ok, detail=fresh.detail, refuses=False),
            ),
            verification=(
                f"ConfigMap and job are live with {GROUP}={steady.group}; the job is RUNNING",
                "the newest event time of ta_signals stays at the present",
            ),
            rollback=("a new replay with another id",),
            summary=f"leave replay {group.removeprefix(REPLAY_PREFIX)} of the technical analysis",
            risk="With last-state the job goes on from the replay's own offsets; with stateless it warms up anew.",
        ),
    )


def find_steady(given: PlanningInput) -> Steady:
    """Return the values from before the replay that git is in, from the files' own history.

    Raises InputError when the history does not reach back that far.
    """
    versions = given.history.get(CONFIG_FILE, ())
    for position, entry in enumerate(versions):
        group = _historic(entry.data, "ConfigMap", config_name(given), ("data", GROUP))
        if group is None or group.startswith(REPLAY_PREFIX):
            continue
        began = versions[position - 1].commit if position else ""
        reset = _historic(entry.data, "ConfigMap", config_name(given), ("data", RESET)) or "latest"
        return Steady(group=group, reset=reset, upgrade_mode=_upgrade_mode_before(given, began))
    raise InputError(
        f"{CONFIG_FILE}: its history has no group from before the replay", hint="restore the values by hand, reviewed"
    )


def _upgrade_mode_before(given: PlanningInput, began: str) -> str:
    versions = given.history.get(FLINK_FILE, ())
    commits = [entry.commit for entry in versions]
    older = versions[commits.index(began) + 1 :] if began in commits else versions
    for entry in older:
        mode = _historic(
            entry.data, "FlinkDeployment", given.environment.names.flink_deployment, ("spec", "job", "upgradeMode")
        )
        if began in commits or mode != "stateless":
            return mode or "stateless"
    return "last-state"


def _historic(data: bytes, kind: str, name: str, address: tuple[str, ...]) -> str | None:
    try:
        yaml = parse("history", data)
        found = yaml.find(kind, name) or yaml.find(kind)
        return yaml.value((found[0], *address)) if found else None
    except UneditableError:
        return None


def _already_on(given: PlanningInput, replay: Replay, flink: FileEditor, index: int) -> Draft:
    """Plan what is left of a start that was merged in part: usually nothing."""
    flink.set((index, "spec", "job", "upgradeMode"), "stateless", label="spec.job.upgradeMode", is_text=True)
    flink.set((index, "spec", "job", "state"), "running", label="spec.job.state", is_text=True)
    return draft_of(
        [flink], Draft(preconditions=(_job_read(given),), summary=f"complete the start of replay {replay.identity}")
    )


def _remove_state(
    given: PlanningInput, replay: Replay, flink: FileEditor, index: int, preconditions: tuple[Precondition, ...]
) -> Draft:
    """Plan the suspension, or, once it is in effect, the steps that delete."""
    if flink.yaml.value((index, "spec", "job", "state")) != "suspended":
        flink.set((index, "spec", "job", "state"), "suspended", label="spec.job.state", is_text=True)
        return draft_of(
            [flink],
            Draft(
                preconditions=preconditions,
                verification=("FlinkDeployment: lifecycle SUSPENDED", "then torghutctl replay-ta start again"),
                rollback=(f"torghutctl resume-ta -e {given.environment.name} --reason TEXT --pr",),
                summary=f"suspend the technical analysis job for replay {replay.identity}",
                risk="Bars and signals stop until the replay runs.",
            ),
        )
    if replay.places is None:
        raise InputError(
            "replay from scratch: the pods must be named exactly",
            hint="--kafka-pod NAME --minio-pod NAME --bucket NAME",
        )
    shapes, shapes_known = _topic_shapes(given)
    return Draft(
        actions=destructive_actions(replay.identity, replay.places, shapes),
        preconditions=(
            *preconditions,
            ta_suspended(given),
            _ticket(replay),
            shapes_known,
            _pod_runs(given, "kafka/pods", replay.places.kafka_pod, "the Kafka pod is one of the cluster's"),
            _pod_runs(given, "storage/pods", replay.places.minio_pod, "the MinIO pod is one of the cluster's"),
        ),
        verification=("torghutctl audit show", "then torghutctl replay-ta start again, with --pr"),
        rollback=(
            f"copy {replay.places.backup(replay.identity)} back over the state and torghutctl resume-ta: the derived topics "
            "stay empty until the job writes again",
        ),
        summary=f"remove state and derived topics for replay {replay.identity}",
        risk="The derived topics and the job's state are deleted, after a copy of the state was compared.",
    )


def _preflight(given: PlanningInput, replay: Replay, group: str | None) -> tuple[Precondition, ...]:
    return (
        trading_paused(given),
        clickhouse_writable(given),
        _job_read(given),
        _no_other_replay(group),
        _never_used(given, replay),
        _group_unused(given),
        _inside_retention(given, replay),
        _held_by_kafka(given, replay),
        _inside_ttl(given, replay),
        replay_headroom(given, _window_days(given, replay), SIGNALS_TTL_DAYS),
    )


def _window_days(given: PlanningInput, replay: Replay) -> float:
    if replay.since_ns is None:
        return _RETENTION_DAYS
    return (given.at_ns - replay.since_ns) / NANOS_PER_SECOND / _DAY_SECONDS


def _job_read(given: PlanningInput) -> Precondition:
    name = "the TA job can be read"
    found = job(given)
    if found is None:
        return not_known(name, read_source(given, "ta/flinkdeployment"))
    detail = f"wanted {found.get('wantedState')}, job {found.get('job')}, upgradeMode {found.get('upgradeMode')}"
    return Precondition(name=name, ok=True, detail=detail, value="read")


def _no_other_replay(group: str | None) -> Precondition:
    ok = group is not None and not group.startswith(REPLAY_PREFIX)
    detail = f"git has {GROUP}={group}" + ("" if ok else ": leave it first with replay-ta exit")
    return Precondition(name="no other replay is on", ok=ok, detail=detail, value=str(ok))


def _never_used(given: PlanningInput, replay: Replay) -> Precondition:
    """Ask git's history: a group that has committed offsets would go on from them and replay nothing."""
    name = "the replay id was never used"
    versions = given.history.get(CONFIG_FILE, ())
    if not versions:
        return Precondition(name=name, ok=None, detail=f"{CONFIG_FILE} has no history to look at", value="unknown")
    used = [e for e in versions if _historic(e.data, "ConfigMap", config_name(given), ("data", GROUP)) == replay.group]
    detail = (
        f"it was, in {used[0].commit[:12]}: choose another --id"
        if used
        else f"not in {len(versions)} versions of {CONFIG_FILE}"
    )
    return Precondition(name=name, ok=not used, detail=detail, value=str(not used))


def _group_unused(given: PlanningInput) -> Precondition:
    """Ask the brokers, where their address is known: committed offsets would be gone on from."""
    name = "the replay's group has no offsets in Kafka"
    reading = read_source(given, "kafka/replay")
    if given.snapshot is None or "kafka/replay" not in given.snapshot.readings:
        return Precondition(name=name, ok=None, detail=_NOT_ASKED, refuses=False)
    if not isinstance(reading.value, dict):
        return not_known(name, reading)
    is_used = reading.value.get("hasOffsets") is not False
    detail = f"{reading.value.get('group')} {'has: choose another --id' if is_used else 'has none'}"
    return Precondition(name=name, ok=not is_used, detail=detail, value=str(not is_used))


def _held_by_kafka(given: PlanningInput, replay: Replay) -> Precondition:
    """Ask the brokers from when on they hold the input, which size limits can make later than its retention says."""
    name = "the window is still in the input topics"
    reading = read_source(given, "kafka/replay")
    if given.snapshot is None or "kafka/replay" not in given.snapshot.readings:
        return Precondition(name=name, ok=None, detail=_NOT_ASKED, refuses=False)
    if not isinstance(reading.value, dict):
        return not_known(name, reading)
    held = {topic: since for topic, since in sorted(reading.value.get("heldSince", {}).items()) if since is not None}
    late = [t for t, since in held.items() if replay.since_ns is not None and parse_ns(since) > replay.since_ns]
    shown = ", ".join(f"{topic} since {since}" for topic, since in held.items()) or "nothing was removed yet"
    return Precondition(name=name, ok=not late, detail=shown, value=str(not late))


def _inside_retention(given: PlanningInput, replay: Replay) -> Precondition:
    """Ask whether Kafka still holds the window, by the real retention of the input topics."""
    name = "the window is inside Kafka's retention"
    reading = read_source(given, "kafka/topics")
    if not isinstance(reading.value, list):
        return not_known(name, reading)
    kept = {t.get("topic"): t.get("retentionMs") for t in reading.value if t.get("topic") in INPUT_TOPICS}
    if not kept or any(not isinstance(ms, int) for ms in kept.values()):
        return Precondition(name=name, ok=None, detail="the input topics do not say their retention", value="unknown")
    shortest = min(ms for ms in kept.values() if isinstance(ms, int))
    earliest = given.at_ns - shortest * 1_000_000
    ok = replay.since_ns is None or replay.since_ns >= earliest
    detail = f"Kafka holds what came in since {format_ns(earliest - earliest % NANOS_PER_SECOND)}"
    return Precondition(name=name, ok=ok, detail=detail, value=str(ok))


def _inside_ttl(given: PlanningInput, replay: Replay) -> Precondition:
    """Ask whether ClickHouse would keep the rows: older ones vanish in the next merge."""
    age = 0.0 if replay.since_ns is None else _window_days(given, replay)
    ok = age <= SIGNALS_TTL_DAYS
    return Precondition(
        name="the window is inside ClickHouse's TTL",
        ok=ok,
        detail=f"the window begins {age:.1f} days back, signals are kept {SIGNALS_TTL_DAYS}"
        if age
        else "no earlier begin is asked for",
        value=str(ok),
    )


def _ticket(replay: Replay) -> Precondition:
    ok = bool(replay.ticket.strip())
    return Precondition(
        name="a ticket", ok=ok, detail=replay.ticket if ok else "none was given: --ticket ID", value=str(ok)
    )


def _topic_shapes(given: PlanningInput) -> tuple[tuple[TopicShape, ...], Precondition]:
    """Return the derived topics as they are to be made anew, and whether that is how they really are."""
    name = "the derived topics' real configuration is known"
    reading = read_source(given, "kafka/topics")
    if not isinstance(reading.value, list):
        return contract_shapes(), not_known(name, reading)
    shapes = real_shapes(reading.value)
    detail = (
        "from their KafkaTopic resources" if shapes else "a KafkaTopic is missing, or does not say its configuration"
    )
    return shapes or contract_shapes(), Precondition(
        name=name, ok=shapes is not None, detail=detail, value=str(shapes is not None)
    )


def _pod_runs(given: PlanningInput, source: str, pod: str, name: str) -> Precondition:
    reading = read_source(given, source)
    if not isinstance(reading.value, list):
        return not_known(name, reading)
    ok = any(item.get("name") == pod and item.get("phase") == "Running" for item in reading.value)
    return Precondition(
        name=name, ok=ok, detail=f"{pod} {'runs' if ok else 'is not among the running pods'}", value=str(ok)
    )


def verify(given: PlanningInput) -> tuple[Check, ...]:
    """Return the checks that show the group and the job as git wants them."""
    return group_checks(given)
