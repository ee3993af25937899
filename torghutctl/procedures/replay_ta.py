"""Replay: compute bars and signals again from what Kafka still holds, under a group of its own, and come back.

`backfill` adds and corrects rows; `from-scratch` first removes the derived topics and the job's state. Each call of
`start` plans the next step from what git, the cluster and the journal say, so it can be interrupted anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from torghut_core.clock import NANOS_PER_SECOND
from torghut_core.rfc3339 import format_ns, parse_ns
from torghut_core.topics import QUOTES, TRADES
from torghutctl.errors import InputError
from torghutctl.planning.plan import Draft, Precondition
from torghutctl.planning.yaml_document import UneditableError, parse
from torghutctl.procedures.evidence import (
    clickhouse_writable,
    data_fresh,
    not_known,
    read_source,
    replay_headroom,
    ta_suspended,
    trading_paused,
)
from torghutctl.procedures.flink_job import FILE as FLINK_FILE
from torghutctl.procedures.replay_actions import (
    Places,
    TopicShape,
    contract_shapes,
    destructive_actions,
    real_shapes,
    restoring_lines,
)
from torghutctl.procedures.replay_job import ReplayJob, job_read, open_replay_job
from torghutctl.procedures.specification import Danger, FileEditor, PlanningInput, Spec, draft_of, open_manifest
from torghutctl.procedures.ta_process import FILE as PROCESS_FILE
from torghutctl.procedures.verification import Check, group_checks

CONFIG_FILE = "ta/configmap.yaml"
GROUP, RESET = "TA_GROUP_ID", "TA_AUTO_OFFSET_RESET"
REPLAY_PREFIX = "torghut-ta-replay-"
INPUT_TOPICS = (TRADES.name, QUOTES.name)
SIGNALS_TTL_DAYS = 14
_DAY_SECONDS = 86_400
_NOT_ASKED = "the brokers were not asked: set TA_KAFKA_BOOTSTRAP, with its security variables where they want them"
_RETENTION_DAYS = TRADES.retention_ms / 1000 / _DAY_SECONDS
_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")


class Mode(StrEnum):
    """How much is computed anew."""

    BACKFILL = "backfill"
    FROM_SCRATCH = "from-scratch"


SPEC = Spec(
    name="replay-ta",
    summary="Compute bars and signals again from the market data that Kafka still holds, then return to the steady group.",
    when="rows are missing or wrong within Kafka's retention (what `retention.ms` of the input topics says). Mode from-scratch only when "
    "backfill was not enough, with a ticket.",
    needs="the system, live (or --from-snapshot for a mere plan): trading paused in git and in effect, ClickHouse "
    "writable with disk to spare, the wanted window inside Kafka's retention and ClickHouse's TTL, a replay id never "
    "used before, and TA_KAFKA_BOOTSTRAP (with its security variables) to ask the brokers for the group and their "
    "earliest records. What cannot be read refuses. From scratch needs besides: a ticket, the exact names of a Kafka and "
    "a MinIO pod, TA suspended.",
    does="start sets TA_GROUP_ID to torghut-ta-replay-<id>, TA_AUTO_OFFSET_RESET to earliest, upgradeMode to stateless "
    "(without which a new group has no effect), raises the nonce and lets the job run. Where one process stands in the "
    "job's place, the group is written on its pod template, which makes new pods; there only backfill. From scratch first suspends the "
    "job, copies its checkpoints and savepoints and compares count and bytes, makes the derived topics anew, and removes "
    "the state: these steps with --act, by a person at a terminal. exit restores the values from before. status tells "
    "where it stands. Repeat start after each step.",
    verify="the job is RUNNING in the replay's group and the newest event time climbs to the present.",
    undo="torghutctl replay-ta exit at any time; from scratch, the backup prefix holds the old state.",
    danger=Danger.DESTRUCTIVE,
    paths=(CONFIG_FILE, FLINK_FILE, PROCESS_FILE),
    is_start=True,
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
    if replay.since_ns is not None and replay.since_ns >= given.at_ns:
        raise InputError(f"--since {format_ns(replay.since_ns)}: must be in the past", hint="the window ends now")
    config, config_index = open_manifest(given, CONFIG_FILE, "ConfigMap", config_name(given))
    target = open_replay_job(given)
    if target.is_process and replay.mode is Mode.FROM_SCRATCH:
        raise InputError(
            f"--mode {replay.mode.value}: is for the job on Flink; one process begins without state in a new group",
            hint="--mode backfill",
        )
    group = config.yaml.value((config_index, "data", GROUP))
    if group == replay.group:
        return _already_on(given, replay, target)
    preconditions = _preflight(given, replay, target, group)
    if replay.mode is Mode.FROM_SCRATCH and not replay.is_state_removed:
        return _remove_state(given, replay, target.editor, target.index, preconditions)
    config.set((config_index, "data", GROUP), replay.group, label=GROUP, is_text=True)
    config.set((config_index, "data", RESET), "earliest", label=RESET, is_text=True)
    target.begin(replay.group)
    return draft_of(
        [config, target.editor],
        Draft(
            preconditions=preconditions,
            verification=(
                f"ConfigMap and job are live with {GROUP}={replay.group}; the job is RUNNING",
                "the newest event time of ta_signals climbs to the present",
                given.look("replay-ta", "status", "--id", replay.identity),
            ),
            rollback=(given.undo(SPEC, "replay-ta", "exit"),),
            summary=f"start replay {replay.identity} of the technical analysis",
            risk="The job starts without state and reads from the earliest offset; its load on ClickHouse is several "
            "times the usual until it has caught up.",
        ),
    )


def plan_exit(given: PlanningInput) -> Draft:
    """Return the draft that restores group, offset reset and upgrade mode. Raises InputError when they are unknown."""
    config, config_index = open_manifest(given, CONFIG_FILE, "ConfigMap", config_name(given))
    target = open_replay_job(given)
    group = config.yaml.value((config_index, "data", GROUP)) or ""
    if not group.startswith(REPLAY_PREFIX):
        return Draft(summary="nothing to leave")
    steady = find_steady(given)
    config.set((config_index, "data", GROUP), steady.group, label=GROUP, is_text=True)
    config.set((config_index, "data", RESET), steady.reset, label=RESET, is_text=True)
    target.leave(steady.group, steady.upgrade_mode)
    fresh = data_fresh(given)
    return draft_of(
        [config, target.editor],
        Draft(
            preconditions=(
                job_read(given, target),
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


def _already_on(given: PlanningInput, replay: Replay, target: ReplayJob) -> Draft:
    """Plan what is left of a start that was merged in part: usually nothing."""
    target.complete(replay.group)
    summary = f"complete the start of replay {replay.identity}"
    return draft_of([target.editor], Draft(preconditions=(job_read(given, target),), summary=summary))


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
                verification=("FlinkDeployment: lifecycle SUSPENDED", "then the same command again, for the next step"),
                rollback=(given.undo(SPEC, "resume-ta"),),
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
            ta_suspended(given, before=SPEC.name),
            _ticket(replay),
            shapes_known,
            _pod_runs(given, "kafka/pods", replay.places.kafka_pod, "the Kafka pod is one of the cluster's"),
            _pod_runs(given, "storage/pods", replay.places.minio_pod, "the MinIO pod is one of the cluster's"),
        ),
        verification=(
            "the audit log has every step as done",
            "then the same command again, with --pr instead of --act",
        ),
        rollback=(
            *(f"in pod {replay.places.minio_pod}: {line}" for line in restoring_lines(replay.identity, replay.places)),
            given.undo(SPEC, "resume-ta"),
            "the derived topics stay empty until the job writes again",
        ),
        summary=f"remove state and derived topics for replay {replay.identity}",
        risk="The derived topics and the job's state are deleted, after a copy of the state was compared.",
    )


def _preflight(given: PlanningInput, replay: Replay, target: ReplayJob, group: str | None) -> tuple[Precondition, ...]:
    return (
        trading_paused(given, before=SPEC.name),
        clickhouse_writable(given),
        job_read(given, target),
        _no_other_replay(group),
        _never_used(given, replay),
        _group_unused(given, replay),
        _inside_retention(given, replay),
        _held_by_kafka(given, replay),
        _inside_ttl(given, replay),
        replay_headroom(given, _window_days(given, replay), SIGNALS_TTL_DAYS),
    )


def _window_days(given: PlanningInput, replay: Replay) -> float:
    if replay.since_ns is None:
        listed = read_source(given, "kafka/topics").value
        told = [
            t.get("retentionMs") for t in (listed if isinstance(listed, list) else []) if t.get("topic") in INPUT_TOPICS
        ]
        longest = max((ms for ms in told if isinstance(ms, int)), default=0) / 1000 / _DAY_SECONDS
        return max(longest, _RETENTION_DAYS)
    return (given.at_ns - replay.since_ns) / NANOS_PER_SECOND / _DAY_SECONDS


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


def _brokers(given: PlanningInput, replay: Replay, name: str) -> Mapping[str, Any] | Precondition:
    """Return what the brokers said of this replay's group and input, or the refusal that they said nothing."""
    reading = read_source(given, "kafka/replay")
    if given.snapshot is not None and "kafka/replay" not in given.snapshot.readings:
        return Precondition(name=name, ok=None, detail=_NOT_ASKED, value="unknown")
    if not isinstance(reading.value, dict):
        return not_known(name, reading)
    if reading.value.get("group") != replay.group:
        detail = f"the brokers were asked for group {reading.value.get('group')}, not for {replay.group}"
        return Precondition(name=name, ok=None, detail=detail, value="unknown")
    return reading.value


def _group_unused(given: PlanningInput, replay: Replay) -> Precondition:
    """Ask the brokers: committed offsets would be gone on from, and nothing replayed."""
    name = "the replay's group has no offsets in Kafka"
    said = _brokers(given, replay, name)
    if isinstance(said, Precondition):
        return said
    is_used = said.get("hasOffsets") is not False
    detail = f"{replay.group} {'has, or does not say: choose another --id' if is_used else 'has none'}"
    return Precondition(name=name, ok=not is_used, detail=detail, value=str(not is_used))


def _held_by_kafka(given: PlanningInput, replay: Replay) -> Precondition:
    """Ask the brokers from when on they hold the input, which size limits can make later than its retention says."""
    name = "the window is still in the input topics"
    said = _brokers(given, replay, name)
    if isinstance(said, Precondition):
        return said
    told = said.get("heldSince")
    if not isinstance(told, dict) or any(topic not in told for topic in INPUT_TOPICS):
        return Precondition(name=name, ok=None, detail="the brokers do not tell of both input topics", value="unknown")
    held = {topic: since for topic, since in sorted(told.items()) if since is not None}
    late = [t for t, since in held.items() if replay.since_ns is not None and parse_ns(since) > replay.since_ns]
    shown = ", ".join(f"{topic} since {since}" for topic, since in held.items()) or "nothing was removed yet"
    return Precondition(name=name, ok=not late, detail=shown, value=str(not late))


def _inside_retention(given: PlanningInput, replay: Replay) -> Precondition:
    """Ask whether Kafka still holds the window, by the real retention of the input topics."""
    name = "the window is inside Kafka's retention"
    reading = read_source(given, "kafka/topics")
    if not isinstance(reading.value, list):
        return not_known(name, reading)
    kept = {t.get("topic"): t.get("retentionMs") for t in reading.value}
    told = [ms for ms in (kept.get(topic) for topic in INPUT_TOPICS) if isinstance(ms, int)]
    if len(told) != len(INPUT_TOPICS):
        return Precondition(name=name, ok=None, detail="the input topics do not say their retention", value="unknown")
    limited = [ms for ms in told if ms >= 0]
    if not limited:
        return Precondition(name=name, ok=True, detail="Kafka keeps both input topics without a limit", value="True")
    earliest = given.at_ns - min(limited) * 1_000_000
    ok = replay.since_ns is None or replay.since_ns >= earliest
    detail = f"Kafka holds what came in since {format_ns(earliest - earliest % NANOS_PER_SECOND)}"
    return Precondition(name=name, ok=ok, detail=detail, value=str(ok))


def _inside_ttl(given: PlanningInput, replay: Replay) -> Precondition:
    """Ask whether ClickHouse would keep the rows: older ones vanish in the next merge."""
    age = 0.0 if replay.since_ns is None else _window_days(given, replay)
    ok = age <= SIGNALS_TTL_DAYS
    return Precondition(
        name="the window is inside ClickHouse's TTL, by the tables' schema",
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
