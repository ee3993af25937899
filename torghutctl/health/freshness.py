"""Rules of the data's age, in session time of the feed: the freshest symbol decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torghutctl.health import pods, reading
from torghutctl.health.model import Finding, Level, Moment, at, span
from torghutctl.snapshot import sources
from torghutctl.snapshot.facts import VISUALS, Facts
from torghutctl.snapshot.model import Failure, Reading

NAME = "freshness"
_LISTED_SYMBOLS = 12
COMPLETE = 0.9
"""The share of the provider's minute volume below which trades are missing."""


@dataclass(frozen=True, kw_only=True)
class _Kind:
    reason: str
    rows: str
    limit_seconds: int
    gauge: str


_KINDS = (
    _Kind(reason="signals_stale", rows="signal", limit_seconds=900, gauge="ta_signals_max_event_ts_seconds"),
    _Kind(reason="microbars_stale", rows="micro-bar", limit_seconds=300, gauge="ta_microbars_max_window_end_seconds"),
)


def judge(facts: Facts, moment: Moment) -> list[Finding]:
    """Return the findings on freshness."""
    found = [*stale(facts, moment), *_completeness(facts)]
    failed = [item for _, item in facts.family(sources.LATEST) if not item.is_ok]
    if facts.latest():
        return [*found, *reading.also_unread(NAME, failed)]
    if not failed:
        universe = facts.reading(sources.SYMBOLS)
        detail = "the universe is empty" if universe.is_ok else "the universe could not be read"
        failure = Failure.ABSENT if universe.is_ok else universe.failure
        failed = [Reading(source=f"{sources.LATEST}*", failure=failure, detail=detail)]
    return [*found, reading.unknown(NAME, failed).also(*pods.behind(facts, VISUALS))]


def stale(facts: Facts, moment: Moment) -> list[Finding]:
    """Return which limits are passed; as info which symbols are late while others are fresh."""
    return [finding for kind in _KINDS for finding in _judge_kind(kind, facts, moment)]


def _completeness(facts: Facts) -> list[Finding]:
    ratios = facts.minute_volume_ratios()
    lowest = min(ratios.values(), default=COMPLETE)
    if lowest >= COMPLETE:
        return []
    return [
        Finding(
            component=NAME,
            reason="trades_incomplete",
            level=Level.DEGRADED,
            message=f"own seconds hold {lowest:.1%} of the provider's minute volume; below 90 % trades are missing",
            evidence=tuple(f"gauge minute_volume_ratio of {name}: {value:.3f}" for name, value in ratios.items()),
        )
    ]


def _judge_kind(kind: _Kind, facts: Facts, moment: Moment) -> list[Finding]:
    latest = facts.latest()
    events = {row.symbol: row.signals_ns if kind.rows == "signal" else row.bars_ns for row in latest}
    source = "ta/latest"
    if not latest:
        gauge = facts.gauge_latest_ns(kind.gauge)
        if gauge is None:
            return []
        events, source = {"any symbol": gauge}, f"gauge {kind.gauge}"
    ahead = {
        symbol: event
        for symbol, event in events.items()
        if event is not None and not facts.is_clock_simulated and not moment.is_credible(event)
    }
    events = {symbol: None if symbol in ahead else event for symbol, event in events.items()}
    newest = max((event for event in events.values() if event is not None), default=None)
    age = moment.session_age_seconds(newest)
    if age is None:
        return []
    if age > kind.limit_seconds:
        return [
            Finding(
                component=NAME,
                reason=kind.reason,
                level=Level.DEGRADED,
                message=f"the newest {kind.rows} is {span(age)} old in session time{_by_the_clock(age, newest, moment)}; "
                f"the limit is {kind.limit_seconds} s"
                if newest is not None
                else f"there is no {kind.rows} yet, and the limit of {kind.limit_seconds} s of session time is passed",
                since=at(newest) if newest is not None else None,
                evidence=(
                    f"{source}: {len(events)} asked, newest {at(newest) if newest is not None else 'none'}",
                    *_ahead(kind, ahead),
                ),
            )
        ]
    late = sorted(
        symbol for symbol, event in events.items() if (moment.session_age_seconds(event) or 0.0) > kind.limit_seconds
    )
    if not late:
        return []
    shown = ", ".join(late[:_LISTED_SYMBOLS]) + (
        f" and {len(late) - _LISTED_SYMBOLS} more" if len(late) > _LISTED_SYMBOLS else ""
    )
    return [
        Finding(
            component=NAME,
            reason=kind.reason,
            level=Level.INFO,
            message=f"{len(late)} of {len(events)} symbols have no {kind.rows} within {kind.limit_seconds} s; others are fresh",
            evidence=(f"late: {shown}", *_ahead(kind, ahead)),
        )
    ]


def _by_the_clock(age: float, newest: int, moment: Moment) -> str:
    """Say the age by the clock too where nights and weekends make it another one: `since` is counted by the clock."""
    clock_age = (moment.now_ns - newest) / 1e9
    return "" if clock_age - age < 60 else f", {span(clock_age)} by the clock"


def _ahead(kind: _Kind, ahead: Mapping[str, int]) -> list[str]:
    return [
        f"the newest {kind.rows} of {symbol} lies ahead, at {at(event)}: not counted" for symbol, event in ahead.items()
    ]
