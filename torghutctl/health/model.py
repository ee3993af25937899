"""What a rule yields (`Finding`), what it may know besides the facts (`Moment`), and the order of levels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from torghut_core.market_calendar import Session
from torghut_core.rfc3339 import format_ns, parse_ns

GRACE_SECONDS = 300
CREDIBLE_SKEW_SECONDS = 3600
"""How far ahead of this program's clock a time of the system may lie; beyond that it is nonsense, not fresh."""
_SECOND = 1_000_000_000
COMPONENTS = ("forwarder", "ta", "clickhouse", "keeper", "postgres", "trading", "kafka", "argocd", "freshness")


class Level(StrEnum):
    """How bad a finding is."""

    DOWN = "down"
    DEGRADED = "degraded"
    UNKNOWN = "unknown"
    INFO = "info"

    @property
    def weight(self) -> int:
        """Return a number that grows with how bad it is; info weighs nothing."""
        return {"down": 3, "degraded": 2, "unknown": 1, "info": 0}[self.value]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing a rule found. `since` is RFC 3339, None when its beginning is not known."""

    component: str
    reason: str
    level: Level
    message: str
    since: str | None = None
    evidence: tuple[str, ...] = ()
    is_pending: bool = False
    """Whether it would be worse than info were its grace over."""

    def also(self, *lines: str) -> Finding:
        """Return the finding with more evidence, each line once."""
        return replace(self, evidence=tuple(dict.fromkeys((*self.evidence, *lines))))


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When and under which declared circumstances the facts are judged."""

    now_ns: int
    session: Session
    feed_open_since_ns: int | None
    """When the session opened of which the feed brings data now, None while it brings none."""
    feed_delay_seconds: int = 0
    """How late the feed is by design; its ages count from there."""
    is_live_declared: bool = False
    """Whether the environment is declared to trade with real money."""

    def seconds_since(self, time: str | None) -> float | None:
        """Return the age of a time in seconds, None when it is not known; a time to come has age 0."""
        return None if time is None else max(0.0, (self.now_ns - parse_ns(time)) / _SECOND)

    def is_credible(self, event_ns: int) -> bool:
        """Tell whether something can have happened at this time already, clocks that differ allowed for."""
        return event_ns <= self.now_ns + CREDIBLE_SKEW_SECONDS * _SECOND

    def is_in_grace(self, *, since: str | None, not_before: str | None = None) -> bool:
        """Tell whether a state is younger than the grace. `not_before`: it cannot have begun earlier than that."""
        age = self.seconds_since(since if since is not None else not_before)
        return age is not None and age < GRACE_SECONDS

    def session_age_seconds(self, event_ns: int | None) -> float | None:
        """Return the session time since the later of an event and the session's open; None while the feed is closed."""
        if self.feed_open_since_ns is None:
            return None
        age = (self.now_ns - max(event_ns or 0, self.feed_open_since_ns)) / _SECOND - self.feed_delay_seconds
        return max(0.0, age)

    @property
    def is_closed(self) -> bool:
        """Tell whether neither the market nor the feed is open: overnight trades while the market is closed."""
        return self.session is Session.CLOSED and self.feed_open_since_ns is None


def graced(finding: Finding, moment: Moment, *, not_before: str | None = None) -> Finding:
    """Return the finding as info while it is younger than the grace."""
    if finding.level is not Level.INFO and moment.is_in_grace(since=finding.since, not_before=not_before):
        return replace(finding, level=Level.INFO, is_pending=True)
    return finding


def oldest(*times: str | None) -> str | None:
    """Return the earliest known time."""
    return min((time for time in times if time is not None), key=parse_ns, default=None)


def newest(*times: str | None) -> str | None:
    """Return the latest known time."""
    return max((time for time in times if time is not None), key=parse_ns, default=None)


def at(ns: int) -> str:
    """Return an instant as a report writes it."""
    return format_ns(ns - ns % _SECOND)


def span(seconds: float) -> str:
    """Return a duration as people say it: `45 s`, `12 min`, `3 h 20 min`, `4 d`."""
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    if whole < 172_800:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d"
