"""Stops that are judged by figures alone: losses against their marks, the age of signals."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from torghut_core.trading.decision.emergency import EmergencyStop
from torghut_core.trading.decision.losses import EquityMarks, broken_limit


@pytest.mark.parametrize(
    ("equity", "limits", "expected"),
    [
        ("99000.01", {"daily_loss": Decimal(1000)}, None),
        ("99000", {"daily_loss": Decimal(1000)}, "daily_loss"),
        ("99000", {"daily_loss_share": Decimal("0.01")}, "daily_loss"),
        ("99000.01", {"daily_loss_share": Decimal("0.01")}, None),
        ("99000", {"drawdown_share": Decimal("0.175")}, "drawdown"),
        ("99000.01", {"drawdown_share": Decimal("0.175")}, None),
        ("1", {}, None),
        ("50000", {"daily_loss": Decimal(1000)}, "daily_loss"),
        ("50000", {"daily_loss_share": Decimal("0.01")}, "daily_loss"),
        ("50000", {"drawdown_share": Decimal("0.175")}, "drawdown"),
        ("119999", {"drawdown_share": Decimal("0.175")}, None),
        ("250000", {"daily_loss": Decimal(1000), "drawdown_share": Decimal("0.175")}, None),
        ("50000", {"daily_loss": Decimal(1000), "drawdown_share": Decimal("0.175")}, "daily_loss"),
        ("99000", {"daily_loss": Decimal(2000), "daily_loss_share": Decimal("0.01")}, "daily_loss"),
    ],
)
def test_broken_limit_when_equity_reaches_it_then_named(
    equity: str, limits: dict[str, Any], expected: str | None
) -> None:
    """Against 100 000 of the day and 120 000 ever, the limit itself included."""
    marks = EquityMarks(day=date(2026, 1, 5), day_equity=Decimal(100_000), peak_equity=Decimal(120_000))
    given = {"daily_loss": None, "daily_loss_share": None, "drawdown_share": None} | limits
    assert broken_limit(marks, Decimal(equity), **given) == expected


def test_marks_when_a_day_begins_then_measured_from_its_first_reading() -> None:
    """The peak stays, the day's mark moves with the day alone."""
    marks = EquityMarks(day=date(2026, 1, 5), day_equity=Decimal(100), peak_equity=Decimal(100))
    marks = marks.seen(date(2026, 1, 5), Decimal(120))
    assert (marks.day_equity, marks.peak_equity) == (100, 120)
    marks = marks.seen(date(2026, 1, 6), Decimal(90))
    assert (marks.day, marks.day_equity, marks.peak_equity) == (date(2026, 1, 6), 90, 120)


def test_emergency_when_signals_are_old_then_it_clears_after_healthy_cycles_and_not_by_a_closed_market() -> None:
    """Three healthy cycles in a row; a closed market neither trips nor clears, and no signal yet is no verdict."""
    stop = EmergencyStop(lag_limit_seconds=600, recovery_cycles=3)
    stop.observe(lag_seconds=None, is_open=True)
    stop.observe(lag_seconds=7000, is_open=False)
    stop.observe(lag_seconds=600, is_open=True)
    assert stop.reasons == ()
    stop.observe(lag_seconds=600.1, is_open=True)
    assert stop.reasons == ("signal_lag_exceeded",)
    for lag in (1, 1, 601, 1, 1):
        stop.observe(lag_seconds=lag, is_open=True)
    stop.observe(lag_seconds=1, is_open=False)
    assert stop.reasons == ("signal_lag_exceeded",)
    stop.observe(lag_seconds=1, is_open=True)
    assert stop.reasons == ()


def test_marks_when_nothing_is_higher_or_newer_then_unchanged() -> None:
    """A reading of an earlier day, or of less, moves nothing."""
    marks = EquityMarks(day=date(2026, 1, 5), day_equity=Decimal(100), peak_equity=Decimal(120))
    assert marks.seen(date(2026, 1, 5), Decimal(110)) == marks
    assert marks.seen(date(2026, 1, 4), Decimal(110)) == marks
    assert marks.seen(date(2026, 1, 6), Decimal(130)) == EquityMarks(
        day=date(2026, 1, 6), day_equity=Decimal(130), peak_equity=Decimal(130)
    )
