"""From facts to the report: judge every component, settle which reasons beat which, find the cause, name the next step."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from torghut_core.errors import ExitCode
from torghut_core.feeds import FEEDS
from torghut_core.market_calendar import MarketCalendar
from torghut_core.rfc3339 import format_ns
from torghutctl.health import (
    argocd,
    clickhouse,
    forwarder,
    freshness,
    kafka,
    keeper,
    postgres,
    reading,
    technical_analysis,
    trading,
)
from torghutctl.health.causes import ORDER, Causes, trace
from torghutctl.health.model import COMPONENTS, Finding, Level, Moment
from torghutctl.health.reasons import POD_REASONS, REASONS
from torghutctl.snapshot import sources
from torghutctl.snapshot.facts import Facts
from torghutctl.snapshot.model import Snapshot

SCHEMA = "torghut.health/v1"
NOT_PRESENT = "not present"
NOT_READ = "not read"
_ACCESS = "access"
_LOCAL_ABSENT = ("keeper", "postgres", "kafka", "argocd")
_RULES = {
    "forwarder": forwarder.judge,
    "ta": technical_analysis.judge,
    "clickhouse": clickhouse.judge,
    "keeper": keeper.judge,
    "postgres": postgres.judge,
    "trading": trading.judge,
    "kafka": kafka.judge,
    "argocd": argocd.judge,
    "freshness": freshness.judge,
}
EXIT_CODES = {
    "healthy": ExitCode.OK,
    "degraded": ExitCode.DEGRADED,
    "down": ExitCode.DOWN,
    "unknown": ExitCode.UNKNOWN,
}


@dataclass(frozen=True, kw_only=True)
class Operator:
    """What the next command needs to be ready to paste, and what was declared of the environment."""

    environment: str | None = None
    repo: str | None = None
    is_live_declared: bool = False
    options: tuple[tuple[str, str], ...] = ()
    """Other options that say where the system is."""

    def completed(self, facts: Facts) -> Operator:
        """Return it with what the snapshot's own reader was told, option by option where nothing else is said now.

        Whoever names an environment now speaks of that one: nothing that was told is mixed in.
        """
        if self.environment is not None:
            return self
        told = facts.value(sources.OPERATOR) or {}
        options = {**{str(name): str(value) for name, value in told.get("options", [])}, **dict(self.options)}
        return Operator(
            environment=told.get("environment"),
            repo=self.repo or told.get("repo"),
            is_live_declared=self.is_live_declared or bool(told.get("isLiveDeclared")),
            options=tuple(options.items()),
        )


def judge(snapshot: Snapshot, operator: Operator, *, at_ns: int | None = None) -> dict[str, Any]:
    """Return the report on `snapshot`, judged at `at_ns` or when it was read. The same input gives the same report."""
    facts = Facts(snapshot)
    operator = operator.completed(facts)
    now_ns = snapshot.observed_at_ns if at_ns is None else at_ns
    calendar = MarketCalendar("always-open" if facts.calendar == "always-open" else "XNYS")
    feed = FEEDS.get(facts.feed)
    delay_seconds = feed.delay_seconds if feed is not None else 0
    moment = Moment(
        now_ns=now_ns,
        session=calendar.session(now_ns),
        feed_open_since_ns=calendar.feed_open_since(facts.feed, now_ns - delay_seconds * 1_000_000_000),
        feed_delay_seconds=delay_seconds,
        is_live_declared=operator.is_live_declared,
    )
    present = [name for name in COMPONENTS if not (facts.is_local and name in _LOCAL_ABSENT)]
    found = {name: settle(_RULES[name](facts, moment)) for name in present}
    unreached = reading.nothing_read(snapshot)
    for finding in reading.listed(facts) if unreached is None else ():
        if finding.component in found:
            found[finding.component].append(finding)
    worst = {name: items[0] for name, items in found.items() if items and items[0].level is not Level.INFO}
    pending = [item for items in found.values() for item in items if item.is_pending]
    causes = trace(worst, pending=pending, is_ta_readable=facts.is_ta_readable())
    read = reading.components_read(snapshot)
    classification = max((item.level for item in worst.values()), key=lambda level: level.weight, default=None)
    return {
        "schemaVersion": SCHEMA,
        "classification": classification.value if classification is not None else "healthy",
        "observedAt": format_ns(now_ns),
        "marketSession": moment.session.value,
        "marketDay": calendar.day_name(now_ns),
        "topCause": _top(causes.top, unreached) if worst else None,
        "nextProcedure": _next(causes.top, operator) if worst else None,
        "components": [
            _component(name, found.get(name), causes, is_read=facts.is_local or name in read) for name in COMPONENTS
        ],
    }


def settle(findings: Iterable[Finding]) -> list[Finding]:
    """Return a component's findings, worst first, with beaten ones turned into evidence of what beats them.

    The specific beats the general of the same or a lower level, and a component's own reason beats its pods' ones of
    the same level.
    """
    ordered = sorted(findings, key=lambda item: (-item.level.weight, REASONS[item.reason].rank))
    kept: list[Finding] = []
    for finding in ordered:
        for index, winner in enumerate(kept):
            if _beats(winner, finding):
                kept[index] = winner.also(
                    *([] if winner.reason == finding.reason else [finding.message]), *finding.evidence
                )
                if winner.since is None and finding.since is not None and winner.reason == finding.reason:
                    kept[index] = replace(kept[index], since=finding.since)
                break
        else:
            kept.append(finding)
    return kept


def _beats(winner: Finding, other: Finding) -> bool:
    if winner.level is Level.INFO and other.level is Level.INFO:
        return winner.reason == other.reason and winner.message == other.message
    if winner.reason == other.reason:
        return winner.level is other.level
    if other.reason in REASONS[winner.reason].beats and winner.level is not Level.INFO:
        return True
    is_own = winner.reason not in (*POD_REASONS, "unreadable")
    return is_own and other.reason in POD_REASONS and winner.level is other.level


def _top(finding: Finding | None, nothing_read: str | None) -> dict[str, Any] | None:
    if finding is None:
        return None
    if nothing_read is not None:
        return {"component": _ACCESS, "reason": "unreadable", "message": nothing_read, "since": None}
    return {
        "component": finding.component,
        "reason": finding.reason,
        "message": finding.message,
        "since": finding.since,
    }


def _next(finding: Finding | None, operator: Operator) -> dict[str, Any] | None:
    if finding is None:
        return None
    reason = REASONS[finding.reason]
    runbook = f"runbooks/{reason.next_step}.md"
    if reason.procedure is None:
        return {"name": reason.next_step, "command": None, "runbook": runbook}
    words = ["torghutctl", reason.procedure, *([reason.subcommand] if reason.subcommand else [])]
    why = f"{finding.component} {finding.reason}"
    for option, value in (
        ("-e", operator.environment),
        ("--repo", operator.repo),
        *operator.options,
        ("--reason", why),
    ):
        if value:
            words += [option, shlex.quote(value)]
    return {"name": reason.procedure, "command": " ".join(words), "runbook": runbook}


def _component(name: str, findings: list[Finding] | None, causes: Causes, *, is_read: bool) -> dict[str, Any]:
    if findings is None:
        return {"name": name, "status": NOT_PRESENT, "findings": []}
    if not is_read and all(item.level is Level.INFO for item in findings):
        return {"name": name, "status": NOT_READ, "findings": [_finding(item, findings, causes) for item in findings]}
    status = findings[0].level.value if findings and findings[0].level is not Level.INFO else "healthy"
    return {"name": name, "status": status, "findings": [_finding(item, findings, causes) for item in findings]}


def _finding(item: Finding, findings: list[Finding], causes: Causes) -> dict[str, Any]:
    evidence = list(item.evidence)
    if item is findings[0] and item.level is not Level.INFO:
        if item.component in causes.explained_by:
            evidence.append(f"a consequence of {causes.explained_by[item.component]}")
        elif item.component in causes.independent:
            evidence.append("independent of the top cause")
    return {
        "reason": item.reason,
        "severity": item.level.value,
        "message": item.message,
        "since": item.since,
        "evidence": evidence,
    }


__all__ = ["EXIT_CODES", "ORDER", "SCHEMA", "Operator", "judge", "settle"]
