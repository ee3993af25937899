"""What counts as evidence for a rollout stage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.fakes.trading_values import NOW_NS, make_intent
from torghut_core.engines.clickhouse import ClickHouseError, Trouble
from torghut_core.trading.review.promotion import Evidence, gather, refusals
from torghut_core.trading.store.database import Database, at
from torghut_core.trading.store.decisions import DecisionStore
from torghut_core.trading.store.listing import Listing
from torghut_core.trading.strategies.catalogue import DEFAULT_PATH, read_catalogue

DAY = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("counts", "reasons"),
    [
        ((5, 1, 0), ()),
        ((5, 0, 0), ("decision_count_below_minimum_for_progression",)),
        (
            (0, 0, 0),
            (
                "no_signal_window_detected",
                "signal_count_below_minimum_for_progression",
                "decision_count_below_minimum_for_progression",
            ),
        ),
        ((None, 1, 0), ("signals_unreadable",)),
        ((5, None, None), ("decisions_unreadable", "trades_unreadable")),
    ],
)
def test_promotion_when_counts_are_these_then_reasons(counts: tuple[Any, ...], reasons: tuple[str, ...]) -> None:
    """An empty window and an unreadable source both refuse, by different names."""
    signals, decisions, trades = counts
    evidence = Evidence(since=DAY, until=DAY, signals=signals, decisions=decisions, trades=trades)
    assert refusals(evidence) == reasons


class _Counting:
    def query(self, statement: str, parameters: Any = None) -> list[dict[str, Any]]:
        return [{"signals": 7}]


class _Failing:
    def query(self, statement: str, parameters: Any = None) -> list[dict[str, Any]]:
        raise ClickHouseError(Trouble.REFUSED, "a query")


@pytest.mark.engine
def test_evidence_when_read_then_only_the_window_counts(database: Database) -> None:
    """Decisions outside the window do not count, and an outage is None rather than nothing."""
    decisions = DecisionStore(database, account_label="paper")
    [strategy] = decisions.apply_catalogue(read_catalogue(DEFAULT_PATH), mode="merge", now_ns=NOW_NS)
    decisions.record([make_intent(strategy=strategy)], now_ns=NOW_NS)
    now, listing = at(NOW_NS), Listing(database)
    inside = gather(
        listing=listing, clickhouse=_Counting(), table="a.b", since=now, until=now + timedelta(microseconds=1)
    )
    before = gather(listing=listing, clickhouse=_Failing(), table="a.b", since=DAY, until=now)
    assert (inside.signals, inside.decisions, inside.trades) == (7, 1, 0)
    assert (before.signals, before.decisions) == (None, 0)
