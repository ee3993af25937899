"""Rules of the TA job: the operator's words for job, manager and lifecycle; suspension; replay settings; silence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torghut_core.market_calendar import Session
from torghutctl.health import freshness, pods, reading
from torghutctl.health.model import Finding, Level, Moment, graced, newest
from torghutctl.snapshot import sources
from torghutctl.snapshot.facts import Facts, conditions, signature_names
from torghutctl.snapshot.kept import OTHER

NAME = "ta"
REPLAY_PREFIX = "torghut-ta-replay-"
_FAILED_BY_SIGNATURE = {
    "disk_full": "ta_failed_disk_full",
    "table_readonly": "ta_failed_readonly_table",
    "kafka_unreachable": "ta_failed_kafka",
    "kafka_auth": "ta_failed_kafka",
    "kafka_metadata": "ta_failed_kafka",
    "storage_refused": "ta_failed_storage",
}
_FAILED_BY_READY = {
    "clickhouse_disk_full": "ta_failed_disk_full",
    "clickhouse_readonly": "ta_failed_readonly_table",
    "kafka_auth": "ta_failed_kafka",
    "kafka_metadata": "ta_failed_kafka",
    "kafka_produce": "ta_failed_kafka",
}
_MESSAGES = {
    "ta_failed_disk_full": "the job failed: ClickHouse has no space left",
    "ta_failed_readonly_table": "the job failed: a ClickHouse table is read-only",
    "ta_failed_kafka": "the job failed on Kafka",
    "ta_failed_storage": "the job failed: the checkpoint store refuses it",
    "ta_failed": "the job failed and does not come back by itself",
}
_DURING = {
    Session.PRE: "in the pre-market session",
    Session.REGULAR: "while the market is open",
    Session.POST: "in the post-market session",
    Session.CLOSED: "while the market is closed",
}
_UNDER_WAY = ("INITIALIZING", "CREATED", "FAILING", "CANCELLING", "RESTARTING", "RECONCILING", "SUSPENDED", None)
_ENDED = ("CANCELED", "FINISHED")
_WORDS = {
    "wantedState": "spec.job.state",
    "job": "job state",
    "manager": "manager state",
    "lifecycle": "lifecycle state",
    "reconciliation": "reconciliation state",
}


def judge(facts: Facts, moment: Moment) -> list[Finding]:
    """Return the TA job's findings."""
    if facts.is_local:
        return [*_local(facts), *_stalled(facts, moment)]
    process = facts.ta_process()
    if process is not None:
        return _process(facts, process, moment)
    found = reading.required(facts, NAME, sources.TA_DEPLOYMENT)
    job = facts.value(sources.TA_DEPLOYMENT)
    alive = [pod for pod in facts.ta_pods() if pod.is_alive]
    if job is not None:
        found += _drift(facts, job)
        if job["wantedState"] == "suspended":
            found += _suspended(job, moment)
        else:
            found += _running(facts, job, moment)
    found += [*_replay(facts), *_stalled(facts, moment)]
    return found + pods.judge(NAME, facts, alive, moment)


def _process(facts: Facts, process: Mapping[str, Any], moment: Moment) -> list[Finding]:
    """Judge the one-process TA: a Deployment, its pods, and what they say of themselves."""
    alive = [pod for pod in facts.ta_pods() if pod.is_alive]
    wanted = "suspended" if process["replicas"] == 0 else "running"
    desired = (facts.desired() or {}).get("jobState")
    found: list[Finding] = []
    if desired in ("running", "suspended") and desired != wanted:
        found.append(
            Finding(
                component=NAME,
                reason="ta_suspended_drift",
                level=Level.DEGRADED,
                message=f"git wants the TA {desired}, the cluster has it {wanted}",
                evidence=(f"git: {desired}", f"live: spec.replicas {process['replicas']}"),
            )
        )
    if wanted == "suspended":
        found.append(
            Finding(
                component=NAME,
                reason="ta_suspended",
                level=Level.INFO if moment.is_closed else Level.DEGRADED,
                message=f"the TA is suspended {_DURING[moment.session]}",
                evidence=("spec.replicas 0",),
            )
        )
    else:
        found += _process_running(facts, process, moment)
    found += [*_replay(facts), *_stalled(facts, moment)]
    return found + pods.judge(NAME, facts, alive, moment)


def _process_running(facts: Facts, process: Mapping[str, Any], moment: Moment) -> list[Finding]:
    answers = facts.ta_pods_ready()
    if any(item.is_ok and item.value["ready"] for item in answers.values()):
        return []
    failed = [item for item in answers.values() if not item.is_ok]
    said = [item.value for item in answers.values() if item.is_ok]
    if failed and not said:
        return [reading.unknown(NAME, failed)]
    available = conditions(process).get("Available")
    since = available.since if available is not None and not available.is_true else process["created"]
    if not said:
        finding = Finding(
            component=NAME,
            reason="ta_restarting",
            level=Level.DEGRADED,
            message="no pod of the TA is running",
            since=since,
            evidence=(f"Deployment {process['name']}: {process['readyReplicas']} of {process['replicas']} ready",),
        )
        return [graced(finding, moment)]
    found = _not_ready(said[0])
    return [graced(replace(found, since=since), moment) if found.reason == "ta_restarting" else found]


def _local(facts: Facts) -> list[Finding]:
    answer = facts.value(sources.TA_READY)
    if answer is None:
        return reading.required(facts, NAME, sources.TA_READY)
    return [] if answer["ready"] else [_not_ready(answer)]


def _not_ready(answer: Mapping[str, Any]) -> Finding:
    reason = _FAILED_BY_READY.get(answer["reason"], "ta_restarting")
    return Finding(
        component=NAME,
        reason=reason,
        level=Level.DEGRADED if reason == "ta_restarting" else Level.DOWN,
        message=_MESSAGES.get(reason, f"the TA process is not ready: {answer['reason'] or 'it does not say why'}"),
        evidence=(f"/readyz of the TA: HTTP {answer['httpStatus']}, reason {answer['reason'] or 'none'}",),
    )


def _running(facts: Facts, job: Mapping[str, Any], moment: Moment) -> list[Finding]:
    state = _state_line(facts, job)
    unrecognised = [key for key in _WORDS if job[key] == OTHER]
    if unrecognised:
        return [
            Finding(
                component=NAME,
                reason="unreadable",
                level=Level.UNKNOWN,
                message=f"the FlinkDeployment's {', '.join(_WORDS[key] for key in unrecognised)} is a word this program does not know",
                evidence=(state,),
            )
        ]
    has_spec_error = job["hasError"] or job["manager"] == "ERROR" or job["lifecycle"] == "ROLLED_BACK"
    if job["job"] == "FAILED" or (job["lifecycle"] == "FAILED" and not has_spec_error):
        return [_failed(facts, job, state)]
    if job["lifecycle"] == "FAILED" and _cause(facts) is not None:
        return [_failed(facts, job, state)]
    if has_spec_error:
        lines = [f"status.error speaks of {name}" for name in signature_names(job["errorSignatures"])]
        return [
            Finding(
                component=NAME,
                reason="ta_spec_error",
                level=Level.DOWN,
                message="the operator cannot carry out the wanted spec",
                since=job["reconciled"],
                evidence=(state, *(["status.error is set"] if job["hasError"] else []), *lines),
            )
        ]
    is_changing = job["lifecycle"] in ("UPGRADING", "ROLLING_BACK", "CREATED") or job["reconciliation"] in (
        "UPGRADING",
        "ROLLING_BACK",
    )
    if job["job"] in _ENDED and not is_changing:
        return [_failed(facts, job, state)]
    if (
        job["job"] in (*_UNDER_WAY, *_ENDED)
        or is_changing
        or job["manager"] in ("DEPLOYING", "DEPLOYED_NOT_READY", "MISSING")
    ):
        since = newest(job["jobUpdated"], job["reconciled"]) or job["created"]
        return [
            graced(
                Finding(
                    component=NAME,
                    reason="ta_restarting",
                    level=Level.DEGRADED,
                    message="the job is not running yet",
                    since=since,
                    evidence=(state,),
                ),
                moment,
            )
        ]
    return []


def _failed(facts: Facts, job: Mapping[str, Any], state: str) -> Finding:
    cause = _cause(facts)
    reason, line = cause if cause is not None else ("ta_failed", "no known cause in status.error, exceptions or logs")
    return Finding(
        component=NAME,
        reason=reason,
        level=Level.DOWN,
        message=_MESSAGES[reason] if job["job"] not in _ENDED else f"the job ended ({job['job']}) while it should run",
        since=job["jobUpdated"],
        evidence=(state, line),
    )


def _cause(facts: Facts) -> tuple[str, str] | None:
    """Return what status, then exceptions, then logs say failed the job; within one of them the latest word counts."""
    job = facts.value(sources.TA_DEPLOYMENT) or {}
    exceptions = facts.value(sources.TA_EXCEPTIONS) or {}
    texts = [
        ("status.error", signature_names(job.get("errorSignatures"))),
        ("Flink's exceptions", signature_names(exceptions.get("signatures"))),
        *((f"the log of {pod.name}", facts.logs(pod.name)) for pod in facts.ta_pods()),
    ]
    for where, signatures in texts:
        for signature in signatures:
            if signature in _FAILED_BY_SIGNATURE:
                return _FAILED_BY_SIGNATURE[signature], f"{where} speaks of {signature}"
    return None


def _suspended(job: Mapping[str, Any], moment: Moment) -> list[Finding]:
    return [
        Finding(
            component=NAME,
            reason="ta_suspended",
            level=Level.INFO if moment.is_closed else Level.DEGRADED,
            message=f"the job is suspended {_DURING[moment.session]}",
            since=job["reconciled"],
            evidence=(f"spec.job.state suspended, lifecycle {job['lifecycle'] or 'none'}, job {job['job'] or 'none'}",),
        )
    ]


def _drift(facts: Facts, job: Mapping[str, Any]) -> list[Finding]:
    desired = (facts.desired() or {}).get("jobState")
    if desired is None or OTHER in (desired, job["wantedState"]) or desired == job["wantedState"]:
        return []
    return [
        Finding(
            component=NAME,
            reason="ta_suspended_drift",
            level=Level.DEGRADED,
            message=f"git wants the job {desired}, the cluster has it {job['wantedState']}",
            since=job["reconciled"],
            evidence=(f"git: spec.job.state {desired}", f"live: spec.job.state {job['wantedState']}"),
        )
    ]


def _replay(facts: Facts) -> list[Finding]:
    desired = facts.desired() or {}
    found = {
        "live": (
            facts.variable(sources.TA_CONFIG, "TA_GROUP_ID"),
            facts.variable(sources.TA_CONFIG, "TA_AUTO_OFFSET_RESET"),
        ),
        "git": (desired.get("groupId"), desired.get("offsetReset")),
    }
    lines = [
        f"{where}: TA_GROUP_ID {group}, TA_AUTO_OFFSET_RESET {reset or 'not set'}"
        for where, (group, reset) in found.items()
        if group and group.startswith(REPLAY_PREFIX)
    ]
    if not lines:
        return []
    return [
        Finding(
            component=NAME,
            reason="ta_replay_left_on",
            level=Level.DEGRADED,
            message="the replay's consumer group is still set",
            evidence=tuple(lines),
        )
    ]


def _stalled(facts: Facts, moment: Moment) -> list[Finding]:
    if not (facts.is_ta_running() and facts.is_forwarder_ready()):
        return []
    stale = [item for item in freshness.stale(facts, moment) if item.level is not Level.INFO]
    if not stale:
        return []
    return [
        Finding(
            component=NAME,
            reason="ta_stalled",
            level=Level.DOWN,
            message="the job says it runs, the forwarder is ready, and nothing new arrives",
            since=stale[0].since,
            evidence=(*(item.message for item in stale), *_checkpoints(facts)),
        )
    ]


def _checkpoints(facts: Facts) -> list[str]:
    found = facts.value(sources.TA_CHECKPOINTS)
    if found is None:
        return []
    return [f"Flink: last checkpoint {found['lastCompleted'] or 'never'}, {found['failed'] or 0} failed"]


def _state_line(facts: Facts, job: Mapping[str, Any]) -> str:
    words = [f"{key} {job[key]}" for key in ("lifecycle", "manager", "job", "reconciliation") if job[key]]
    return f"FlinkDeployment {facts.names.flink_deployment}: {', '.join(words) or 'no status yet'}"
