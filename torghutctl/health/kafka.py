"""Rules of Kafka under Strimzi: are the brokers ready. Topics and users that are not are listed as info."""

from __future__ import annotations

from torghutctl.health import pods
from torghutctl.health.model import Finding, Level, Moment, graced
from torghutctl.snapshot import sources
from torghutctl.snapshot.facts import Facts, conditions

NAME = "kafka"


def judge(facts: Facts, moment: Moment) -> list[Finding]:
    """Return Kafka's findings. None of its sources is required."""
    found = [
        *_cluster(facts, moment),
        *_resources(facts, sources.KAFKA_TOPICS, "topic"),
        *_resources(facts, sources.KAFKA_USERS, "user"),
    ]
    return found + pods.judge(NAME, facts, facts.kafka_pods(), moment)


def _cluster(facts: Facts, moment: Moment) -> list[Finding]:
    lines, since = [], None
    is_silent = False
    cluster = facts.value(sources.KAFKA_CLUSTER)
    if cluster is not None:
        states = conditions(cluster)
        ready, not_ready = states.get("Ready"), states.get("NotReady")
        if not_ready is not None and not_ready.is_true:
            lines.append(f"Kafka {cluster['name']}: NotReady True, {not_ready.reason or 'no reason'}")
            since = not_ready.since
        elif ready is not None and not ready.is_true:
            lines.append(f"Kafka {cluster['name']}: Ready {ready.status}, {ready.reason or 'no reason'}")
            since = ready.since
        elif ready is None:
            paused = states.get("ReconciliationPaused")
            is_silent = paused is None or not paused.is_true
    brokers = [pod for pod in facts.kafka_pods() if pod.is_alive]
    if facts.kafka_pods() and not any(pod.is_ready for pod in brokers):
        lines.append(f"{len(brokers)} broker pods, 0 ready")
        since = since or pods.not_ready_since(brokers)
    if lines:
        down = Finding(
            component=NAME,
            reason="kafka_not_ready",
            level=Level.DOWN,
            message="the brokers are not ready",
            since=since,
            evidence=tuple(lines),
        )
        return [graced(down, moment)]
    if is_silent:
        # Not required, so silence is no evidence of failure; where reconciliation is paused it is even wanted.
        message = "the operator says nothing of the brokers' readiness; their pods are judged apart"
        line = f"Kafka {cluster['name']}: Ready absent"
        return [Finding(component=NAME, reason="kafka_not_ready", level=Level.INFO, message=message, evidence=(line,))]
    return []


def _resources(facts: Facts, source: str, kind: str) -> list[Finding]:
    waiting = [
        item
        for item in facts.value(source) or []
        if (state := conditions(item).get("Ready")) is None or not state.is_true
    ]
    if not waiting:
        return []
    names = ", ".join(sorted(str(item["name"]) for item in waiting)[:12])
    return [
        Finding(
            component=NAME,
            reason="kafka_not_ready",
            level=Level.INFO,
            message=f"{len(waiting)} {kind}{'s are' if len(waiting) > 1 else ' is'} not reconciled; the brokers are judged apart",
            evidence=(f"Kafka{kind.capitalize()}s without Ready True: {names}",),
        )
    ]
