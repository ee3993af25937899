"""Rules of the forwarder: what its readiness says, how many of it run, whether it runs at all."""

from __future__ import annotations

from dataclasses import replace

from torghutctl.health import pods, reading
from torghutctl.health.model import Finding, Level, Moment, graced, newest
from torghutctl.snapshot import sources
from torghutctl.snapshot.facts import Facts, PodFact, conditions
from torghutctl.snapshot.model import Reading

NAME = "forwarder"
_EVENTS_SHOWN = 2
_MESSAGES = {
    "alpaca_406_second_connection": "another client holds the account's one market-data connection (406)",
    "alpaca_auth": "Alpaca refuses the key",
    "alpaca_config": "Alpaca refuses the feed, a channel or a symbol that is asked for",
    "feed_silent": "the stream is open and brings no data in the feed's session",
    "alpaca_symbol_limit": "the plan has no subscription left for some symbols; the others are forwarded",
    "alpaca_slow_client": "Alpaca closed the connection because it was read too slowly",
    "kafka_auth": "the brokers refuse the user or its rights",
    "kafka_metadata": "the brokers do not name the topics' leaders",
    "kafka_produce": "the brokers do not acknowledge records",
}
_DEGRADED = frozenset({"alpaca_symbol_limit", "alpaca_slow_client"})
_BY_SIGNATURE = {
    "alpaca_connection_limit": "alpaca_406_second_connection",
    "alpaca_auth": "alpaca_auth",
    "kafka_auth": "kafka_auth",
    "kafka_metadata": "kafka_metadata",
}


def judge(facts: Facts, moment: Moment) -> list[Finding]:
    """Return the forwarder's findings."""
    if facts.is_local:
        answers = facts.forwarder_ready()
        return _readiness(facts, moment, answers, {}) if answers else _never_asked(facts)
    found = [
        item
        for source in (sources.PODS, sources.FORWARDER_DEPLOYMENT)
        for item in reading.required(facts, NAME, source)
    ]
    alive = [pod for pod in facts.forwarder_pods() if pod.is_alive]
    found += _readiness(facts, moment, facts.forwarder_ready(), {pod.name: pod for pod in alive})
    found += [*_paused(facts), *_replicas(facts, alive)]
    found += _absence(facts, moment, alive)
    return found + pods.judge(NAME, facts, alive, moment)


def _never_asked(facts: Facts) -> list[Finding]:
    return reading.required(facts, NAME, f"{sources.FORWARDER_READY}local")


def _readiness(
    facts: Facts, moment: Moment, answers: dict[str, Reading], pods_by_name: dict[str, PodFact]
) -> list[Finding]:
    found: list[Finding] = []
    failed: list[Reading] = []
    excused: list[Reading] = []
    for name, answer in answers.items():
        pod = pods_by_name.get(name)
        since = pods.not_ready_since([pod]) if pod is not None else None
        if not answer.is_ok:
            is_starting = pod is not None and not pod.is_ready and moment.is_in_grace(since=since)
            (excused if is_starting else failed).append(answer)
            continue
        if answer.value["ready"] and answer.value["errorClass"] not in _DEGRADED:
            continue
        evidence = (
            f"/readyz of {name}: HTTP {answer.value['httpStatus']}, error_class {answer.value['errorClass'] or 'none'}"
        )
        closed = ", ".join(gate for gate, is_open in answer.value["gates"].items() if is_open is False)
        lines = (evidence, f"closed gates of {name}: {closed}") if closed else (evidence,)
        reason, hints = _reason(answer.value["errorClass"], facts.logs(name))
        finding = Finding(
            component=NAME,
            reason=reason,
            level=Level.DOWN if reason in _MESSAGES and reason not in _DEGRADED else Level.DEGRADED,
            message=_MESSAGES.get(reason, "the forwarder says it is not ready"),
            since=since,
            evidence=(*lines, *hints),
        )
        found.append(finding if reason in _MESSAGES else graced(finding, moment))
    if failed:
        found.append(reading.unknown(NAME, failed))
    return [*found, *reading.also_unread(NAME, excused)]


def _reason(error_class: str | None, signatures: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    if error_class in _MESSAGES:
        return error_class, ()
    for signature in signatures:
        if signature in _BY_SIGNATURE:
            return _BY_SIGNATURE[signature], (f"its log speaks of {signature}",)
    return "forwarder_not_ready", ()


def _paused(facts: Facts) -> list[Finding]:
    deployment = facts.value(sources.FORWARDER_DEPLOYMENT)
    if deployment is None or not deployment.get("isPaused"):
        return []
    return [
        Finding(
            component=NAME,
            reason="forwarder_paused",
            level=Level.DEGRADED,
            message="the rollout is paused: nothing that is merged reaches the pod, and a restart does nothing",
            evidence=(f"Deployment {facts.names.ws_deployment}: spec.paused true",),
        )
    ]


def _replicas(facts: Facts, alive: list[PodFact]) -> list[Finding]:
    deployment = facts.value(sources.FORWARDER_DEPLOYMENT)
    if deployment is None:
        return []
    wanted = deployment["replicas"]
    running = [pod for pod in alive if pod.is_running]
    if wanted == 1 and len(running) <= 1:
        return []
    names = ", ".join(pod.name for pod in running) or "none"
    return [
        Finding(
            component=NAME,
            reason="forwarder_replicas",
            level=Level.DEGRADED,
            message=f"{wanted} forwarders are wanted and {len(running)} run; it must be exactly one",
            evidence=(f"Deployment {facts.names.ws_deployment}: spec.replicas {wanted}", f"running pods: {names}"),
        )
    ]


def _absence(facts: Facts, moment: Moment, alive: list[PodFact]) -> list[Finding]:
    deployment = facts.value(sources.FORWARDER_DEPLOYMENT)
    if deployment is None or deployment["replicas"] == 0 or facts.pods() is None:
        return []
    if any(pod.is_ready for pod in alive):
        return []
    available = conditions(deployment).get("Available")
    since = pods.not_ready_since(alive)
    if since is None and available is not None and available.is_false:
        since = available.since
    state = f"Deployment {facts.names.ws_deployment}: {deployment['readyReplicas']} of {deployment['replicas']} ready"
    hints = [
        _BY_SIGNATURE[signature] for pod in alive for signature in facts.logs(pod.name) if signature in _BY_SIGNATURE
    ]
    finding = Finding(
        component=NAME,
        reason="forwarder_not_ready",
        level=Level.DEGRADED,
        message="no forwarder pod is ready" if alive else "no forwarder pod exists",
        since=since,
        evidence=(
            state,
            *(f"its log speaks of {hint}" for hint in dict.fromkeys(hints)),
            *(line for pod in alive for line in facts.warnings(pod.name)[:_EVENTS_SHOWN]),
        ),
    )
    crashed = [pod for pod in alive if not pod.is_running or any(item.state != "running" for item in pod.containers)]
    if crashed and hints:
        # It cannot be asked because it crashes: then its last words are the only ones there are.
        return [replace(finding, reason=hints[0], level=Level.DOWN, message=_MESSAGES[hints[0]])]
    return [graced(finding, moment, not_before=newest(deployment.get("templateRestartedAt")))]
