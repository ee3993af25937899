"""Rules of the trading service: its newest revision, how many revisions write, its loop, and its switches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torghutctl.health import pods, reading
from torghutctl.health.model import Finding, Level, Moment, graced, oldest
from torghutctl.snapshot import sources
from torghutctl.snapshot.facts import Condition, ContainerFact, Facts, PodFact, conditions

NAME = "trading"
_HANDOVER_SECONDS = 120
_TRUE = ("true", "1", "yes", "on", "t", "y")
_FALSE = ("false", "0", "no", "off", "f", "n")
_REVISION = "serving.knative.dev/revision"


def judge(facts: Facts, moment: Moment) -> list[Finding]:
    """Return the trading service's findings."""
    found = reading.required(facts, NAME, sources.TRADING_SERVICE)
    alive = [pod for pod in facts.trading_pods() if pod.is_alive]
    schedulers = [pod for pod in facts.scheduler_pods() if pod.is_alive]
    if not facts.is_local:
        found += [*_revision(facts, moment, alive), *_two_writers(facts, moment, alive)]
    found += [
        *_switches(facts, moment),
        *_loop(facts, {pod.name for pod in schedulers}),
        *_orders(facts),
        *_unread(facts, schedulers or alive),
    ]
    return found + pods.judge(NAME, facts, [*alive, *schedulers], moment)


def _revision(facts: Facts, moment: Moment, alive: list[PodFact]) -> list[Finding]:
    service = facts.value(sources.TRADING_SERVICE)
    if service is None:
        return []
    states = conditions(service)
    ready, newest_name = states.get("Ready"), service["newestCreated"]
    is_behind = newest_name != service["newestReady"]
    pods_of_newest = [pod for pod in alive if pod.labels.get(_REVISION) == newest_name]
    crash = [] if any(pod.is_ready for pod in pods_of_newest) else _json_crash(facts, pods_of_newest)
    if ready is not None and ready.is_true and not is_behind and not crash:
        return []
    old_serves = any(pod.is_ready and pod.labels.get(_REVISION) != newest_name for pod in alive)
    revision = next(
        (item for item in facts.value(sources.TRADING_REVISIONS) or [] if item["name"] == newest_name), None
    )
    revision_ready = conditions(revision).get("Ready") if revision is not None else None
    since = _failing_since(revision_ready, ready) or (revision or {}).get("created")
    evidence = [
        f"Knative Service {facts.names.service}: Ready {ready.status if ready else 'absent'}"
        f"{f', {ready.reason}' if ready and ready.reason else ''}",
        f"newest created {newest_name or 'none'}, newest ready {service['newestReady'] or 'none'}",
    ]
    if revision_ready is not None:
        evidence.append(
            f"revision {newest_name}: Ready {revision_ready.status}{f', {revision_ready.reason}' if revision_ready.reason else ''}"
        )
    level = Level.DEGRADED if old_serves else Level.DOWN
    serving = "an older revision serves" if old_serves else "no older revision serves"
    if crash:
        message = f"the newest revision crashes on a value that is not JSON; {serving}"
        evidence += crash
        return [
            Finding(
                component=NAME,
                reason="trading_crash_json",
                level=level,
                message=message,
                since=since,
                evidence=tuple(evidence),
            )
        ]
    is_newest_ready = bool(newest_name) and not is_behind and revision_ready is not None and revision_ready.is_true
    if is_newest_ready and not _is_revision_blamed(states):
        route = Finding(
            component=NAME,
            reason="trading_route_not_ready",
            level=Level.DEGRADED,
            message="the newest revision is ready and the way to it is not",
            since=_failing_since(ready),
            evidence=(*evidence, *_parts_not_ready(states)),
        )
        return [graced(route, moment)]
    finding = Finding(
        component=NAME,
        reason="trading_revision_failed",
        level=level,
        message=f"the newest revision is not ready; {serving}",
        since=since,
        evidence=tuple(evidence),
    )
    return [graced(finding, moment)]


def _is_revision_blamed(states: Mapping[str, Condition]) -> bool:
    """Tell whether the Service itself lays it to the revision although that one says it is ready."""
    ready, configurations, routes = (states.get(name) for name in ("Ready", "ConfigurationsReady", "RoutesReady"))
    if routes is not None and routes.is_false:
        return False
    return (configurations is not None and configurations.is_false) or (
        ready is not None and ready.reason == "RevisionFailed"
    )


def _parts_not_ready(states: Mapping[str, Condition]) -> list[str]:
    parts = [states[name] for name in ("ConfigurationsReady", "RoutesReady") if name in states]
    return [f"{part.type} {part.status}, {part.reason or 'no reason'}" for part in parts if not part.is_true]


def _failing_since(*states: Condition | None) -> str | None:
    return oldest(*(state.since for state in states if state is not None and not state.is_true))


def _json_crash(facts: Facts, newest_pods: list[PodFact]) -> list[str]:
    lines = []
    for pod in newest_pods:
        crashed = [item for item in pod.containers if not item.is_ready and _has_ended(item)]
        if not crashed:
            continue
        in_state = any(
            entry.get("signature") == "not_json_serializable" for item in crashed for entry in item.signatures
        )
        if in_state or "not_json_serializable" in facts.logs(pod.name):
            lines.append(
                f"pod {pod.name}: {crashed[0].restarts} restarts, its last words speak of not_json_serializable"
            )
    return lines


def _has_ended(container: ContainerFact) -> bool:
    return container.restarts > 0 or container.state == "terminated" or container.reason == "CrashLoopBackOff"


def _two_writers(facts: Facts, moment: Moment, alive: list[PodFact]) -> list[Finding]:
    """Count running pods of two revisions once the newest ready one is past its handover.

    A revision that was created after it and is not ready yet counts neither as a writer nor as an excuse: its failed
    rollout must not hide two that already write.
    """
    service = facts.value(sources.TRADING_SERVICE)
    if service is None:
        return []
    newest_name = service["newestReady"]
    unready = service["newestCreated"] if service["newestCreated"] != newest_name else None
    running: dict[str, list[PodFact]] = {}
    for pod in alive:
        name = pod.labels.get(_REVISION)
        if pod.is_running and name and name != unready:
            running.setdefault(name, []).append(pod)
    if len(running) < 2:
        return []
    revision = next(
        (item for item in facts.value(sources.TRADING_REVISIONS) or [] if item["name"] == newest_name), None
    )
    state = conditions(revision).get("Ready") if revision is not None else None
    since = state.since if state is not None and state.is_true else None
    if since is None:
        since = oldest(*(pod.conditions["Ready"].since for pod in running.get(newest_name, []) if pod.is_ready))
    age = moment.seconds_since(since)
    if age is not None and age <= _HANDOVER_SECONDS:
        return []
    lines = tuple(f"revision {name}: {', '.join(pod.name for pod in group)}" for name, group in sorted(running.items()))
    return [
        Finding(
            component=NAME,
            reason="trading_two_writers",
            level=Level.DOWN,
            message=f"pods of {len(running)} revisions run at once; each may send orders",
            since=since,
            evidence=lines,
        )
    ]


def _switches(facts: Facts, moment: Moment) -> list[Finding]:
    found: list[Finding] = []
    statuses = facts.trading_status()
    live = [
        f"/trading/status of {name}: mode {status['mode']}, live_enabled {str(status['liveEnabled']).lower()}"
        for name, status in statuses.items()
        if status["mode"] == "live" or status["liveEnabled"]
    ]
    for what, source in (("live spec", sources.TRADING_SERVICE), ("torghut-scheduler", sources.TRADING_SCHEDULER)):
        enabled, mode = (facts.variable(source, key) for key in ("TRADING_LIVE_ENABLED", "TRADING_MODE"))
        if (enabled or "").lower() in _TRUE or (mode or "").lower() == "live":
            live.append(f"{what}: TRADING_LIVE_ENABLED {enabled or 'not set'}, TRADING_MODE {mode or 'not set'}")
    if live:
        level = Level.INFO if moment.is_live_declared else Level.DOWN
        message = "trading with real money is on" + (
            ", as the environment declares" if moment.is_live_declared else " and no environment declares it"
        )
        found.append(_state("live_trading_enabled", level, message, *live))
    paused = [f"/trading/status of {name}: enabled false" for name, status in statuses.items() if not status["enabled"]]
    if paused:
        found.append(_state("trading_paused", Level.INFO, "trading is switched off", *paused))
    killed = [
        f"/trading/status of {name}: kill_switch_enabled true"
        + (", in the database: `torghutctl trading kill-switch off`" if item.get("databaseKillSwitch") else "")
        for name, item in statuses.items()
        if item["killSwitch"]
    ]
    if killed:
        found.append(_state("kill_switch_on", Level.INFO, "the kill switch is on", *killed))
    return found


def _loop(facts: Facts, schedulers: set[str]) -> list[Finding]:
    """Where a scheduler runs the loop, its own status says whether it runs; the service's API has none to tell of."""
    statuses = facts.trading_status()
    deciding = {name: status for name, status in statuses.items() if name in schedulers} or statuses
    found: list[Finding] = []
    stopped = {name: status for name, status in deciding.items() if status["enabled"] and not status["running"]}
    for name, status in stopped.items():
        line = f"/trading/status of {name}: enabled true, running false, last run {status['lastRun'] or 'never'}"
        found.append(
            _state("trading_loop_stopped", Level.DEGRADED, "trading is enabled and its loop does not run", line)
        )
    silent = [
        f"/trading/status of {name}: leader_silent" for name, item in statuses.items() if item.get("leaderSilent")
    ]
    if silent:
        message = "the process that leads gives no sign of life, and nothing is traded or closed"
        found.append(_state("trading_leader_silent", Level.DEGRADED, message, *silent))
    for name, status in statuses.items():
        if status["hasError"]:
            known = ", ".join(item["signature"] for item in status["errorSignatures"])
            line = f"/trading/status of {name}: last_error is set" + (f", it speaks of {known}" if known else "")
            message = f"the loop's last cycle failed: last_error speaks of {known or 'nothing this program knows'}"
            found.append(_state("trading_error", Level.DEGRADED, message, line, *_dependencies(facts, name)))
    return found


def _orders(facts: Facts) -> list[Finding]:
    """What the trading process says that a person has to look at: orders of unclear fate, a latch, a recorded stop."""
    statuses = facts.trading_status()
    found: list[Finding] = []
    uncertain = [
        f"/trading/status of {name}: {', '.join(f'{key} {count:g}' for key, count in sorted(counts.items()) if count)}"
        for name, item in statuses.items()
        if any((counts := item.get("ordersUncertain") or {}).values())
    ]
    if uncertain:
        message = "orders did not arrive, arrived late, are nobody's, or are open though cancelled"
        found.append(_state("trading_orders_uncertain", Level.DEGRADED, message, *uncertain))
    latched = {name: item.get("lossSince") for name, item in statuses.items() if item.get("lossLatched")}
    if latched:
        lines = [f"/trading/status of {name}: loss_limit latched since {since}" for name, since in latched.items()]
        message = "a loss limit was reached: nothing is opened until a person resumes"
        finding = _state("trading_loss_limit", Level.DEGRADED, message, *lines)
        found.append(replace(finding, since=oldest(*(since for since in latched.values() if since))))
    stopped = {name: item.get("stoppedSince") for name, item in statuses.items() if item.get("isStopped")}
    if stopped:
        lines = [f"/trading/status of {name}: stop since {since}" for name, since in stopped.items()]
        is_wanted = any(not item["enabled"] or item["killSwitch"] for item in statuses.values()) or _git_wants_off(
            facts
        )
        level = Level.INFO if is_wanted else Level.DEGRADED
        message = "a recorded stop stands: no order is sent until a newer revision with trading on leads"
        finding = _state("trading_stopped", level, message, *lines)
        found.append(replace(finding, since=oldest(*(since for since in stopped.values() if since))))
    return found


def _git_wants_off(facts: Facts) -> bool:
    """Tell whether the workload that trades is configured to be off."""
    source = sources.TRADING_SCHEDULER if facts.value(sources.TRADING_SCHEDULER) else sources.TRADING_SERVICE
    return (facts.variable(source, "TRADING_ENABLED") or "").lower() in _FALSE


def _dependencies(facts: Facts, name: str) -> list[str]:
    health: Mapping[str, Any] = facts.value(f"{sources.TRADING_HEALTH}{name}") or {}
    failing = [key for key, is_ok in health.get("dependencies", {}).items() if is_ok is False]
    return [f"/trading/health of {name}: not ok: {', '.join(failing)}"] if failing else []


def _unread(facts: Facts, alive: list[PodFact]) -> list[Finding]:
    """`/trading/status` is required of every ready pod that runs the loop: the scheduler's where there is one."""
    asked = [item for _, item in facts.family(sources.TRADING_STATUS)]
    if facts.is_local:
        failed = [item for item in asked if not item.is_ok]
        return [reading.unknown(NAME, failed)] if failed else []
    names, ready_names = {pod.name for pod in alive}, {pod.name for pod in alive if pod.is_ready}
    asked = [item for item in asked if item.source.removeprefix(sources.TRADING_STATUS) in names]
    failed = [item for item in asked if not item.is_ok]
    important = [item for item in failed if item.source.removeprefix(sources.TRADING_STATUS) in ready_names]
    if important or (failed and len(failed) == len(asked)):
        return [reading.unknown(NAME, important or failed)]
    if asked:
        return reading.also_unread(NAME, failed)
    source = facts.reading(sources.PODS)
    if not source.is_ok:
        return [reading.unknown(NAME, [source])]
    line = "no running pod of the service could be asked for /trading/status"
    return [Finding(component=NAME, reason="unreadable", level=Level.UNKNOWN, message=line, evidence=(line,))]


def _state(reason: str, level: Level, message: str, *evidence: str) -> Finding:
    return Finding(component=NAME, reason=reason, level=level, message=message, evidence=evidence)
