"""Evidence for the next LLM_ROLLOUT_STAGE: what happened in a window of time, and whether it is enough. No evidence, no
promotion; what cannot be read refuses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from torghut_core.engines.clickhouse import Queries
from torghut_core.errors import TorghutError
from torghut_core.trading.encoding import datetime_ns, format_datetime
from torghut_core.trading.inputs.signals import query_or_nothing, table_parameters
from torghut_core.trading.store.listing import Listing

MINIMA = {"signals": 1, "decisions": 1, "trades": 0}
_SINGULAR = {"signals": "signal", "decisions": "decision", "trades": "trade"}
_COUNT_SIGNALS = """
SELECT uniqExact(symbol, window_size, event_ts) AS signals FROM {database:Identifier}.{table:Identifier}
WHERE event_ts >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
  AND event_ts < fromUnixTimestamp64Milli({until:Int64}, 'UTC')
"""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Counts in [since, until); None where they could not be read."""

    since: datetime
    until: datetime
    signals: int | None
    decisions: int | None
    trades: int | None

    def as_json(self) -> dict[str, Any]:
        """Return window and counts."""
        return {
            "window": {"since": format_datetime(self.since), "until": format_datetime(self.until)},
            "counts": {"signals": self.signals, "decisions": self.decisions, "trades": self.trades},
            "minima": dict(MINIMA),
        }


def refusals(evidence: Evidence) -> tuple[str, ...]:
    """Return the reasons against a promotion; empty when the evidence is enough."""
    found: list[str] = []
    if evidence.signals == 0:
        found.append("no_signal_window_detected")
    for name, minimum in MINIMA.items():
        count = getattr(evidence, name)
        if count is None:
            found.append(f"{name}_unreadable")
        elif count < minimum:
            found.append(f"{_SINGULAR[name]}_count_below_minimum_for_progression")
    return tuple(found)


def gather(*, listing: Listing, clickhouse: Queries | None, table: str, since: datetime, until: datetime) -> Evidence:
    """Return the counts in [since, until): signals from ClickHouse, decisions and trades from PostgreSQL.

    A source that cannot be read gives None, never 0. Simulated days count by their own clock.
    """
    signals: int | None = None
    if clickhouse is not None:
        window = {"since": datetime_ns(since) // 1_000_000, "until": datetime_ns(until) // 1_000_000}
        try:
            rows = query_or_nothing(clickhouse, _COUNT_SIGNALS, table_parameters(table) | window)
        except TorghutError:
            rows = None
        if rows is not None:
            signals = int(rows[0]["signals"]) if rows else 0
    try:
        counts: dict[str, int] | None = listing.counts(since=since, until=until)
    except TorghutError:
        counts = None
    return Evidence(
        since=since,
        until=until,
        signals=signals,
        decisions=None if counts is None else counts["decisions"],
        trades=None if counts is None else counts["trades"],
    )
