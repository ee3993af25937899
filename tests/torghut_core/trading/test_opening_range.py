"""The opening-range breakout's decision table."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.fakes.trading_values import make_signal
from torghut_core.trading.model import Signal
from torghut_core.trading.strategies import Held, View
from torghut_core.trading.strategies.opening_range import propose

OPEN_NS = 1_767_623_400_000_000_000  # 2026-01-05T14:30:00Z, 09:30 in New York
MINUTE = 60_000_000_000
HELD = Held(qty=Decimal(5), average_price=Decimal(100), bars=3, opened_ns=OPEN_NS)


def _bar(minute: int, close: float) -> Signal:
    return make_signal(timeframe="1Min", event_ns=OPEN_NS + minute * MINUTE, close=close)


def _day(*later: tuple[int, float]) -> list[Signal]:
    """Return closes from 99 to 101 in the first 15 minutes, and what comes later."""
    return [_bar(minute, 99.0 + minute % 3) for minute in range(1, 16)] + [_bar(*bar) for bar in later]


@pytest.mark.parametrize(
    ("later", "is_bought"),
    [
        ([(16, 101.0), (17, 101.1)], True),
        ([(16, 101.1)], True),
        ([(16, 101.1), (17, 101.2)], False),
        ([(16, 100.0), (17, 101.0)], False),
        ([(16, 100.0), (180, 101.5)], True),
        ([(16, 100.0), (181, 101.5)], False),
        ([(16, 100.0), (17, 105.0)], False),
        ([(16, 98.0)], False),
    ],
)
def test_opening_range_when_bars_are_these_then_bought_or_not(later: list[tuple[int, float]], is_bought: bool) -> None:
    """Only the first close above the range, in time, and not past its own target."""
    proposal = propose(View(_day(*later)))
    assert (proposal is not None) is is_bought
    if proposal is not None:
        assert (proposal.side, proposal.stop, proposal.target) == ("buy", 99.0, 105.0)


def test_opening_range_when_half_its_minutes_are_missing_then_nothing() -> None:
    """A range of a few bars is none; one of half of them is."""
    later = [_bar(16, 100.0), _bar(17, 101.5)]
    full = _day()
    assert propose(View([*full[-7:], *later])) is None
    assert propose(View([*full[-8:], *later])) is not None


def test_opening_range_when_prices_stood_still_then_nothing() -> None:
    """A range without height has neither stop nor target."""
    bars = [_bar(minute, 100.0) for minute in range(1, 17)]
    assert propose(View([*bars, _bar(17, 101.0)])) is None


@pytest.mark.parametrize(("minute", "side"), [(379, None), (380, "sell"), (389, "sell")])
def test_opening_range_when_the_close_is_near_then_sold(minute: int, side: str | None) -> None:
    """What is held is not kept overnight."""
    proposal = propose(View(_day((minute, 102.0)), HELD))
    assert (None if proposal is None else proposal.side) == side


def test_opening_range_when_the_market_is_closed_all_day_then_nothing() -> None:
    """A Saturday has no opening range."""
    assert propose(View([make_signal(event_ns=OPEN_NS + 5 * 1440 * MINUTE + 20 * MINUTE)])) is None
