"""A signal's own quote: two-sided or no price, its sides, its width."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.trading_values import make_signal
from torghut_core.trading.decision.quote import Quote, quote_of


def _quote(bid: str | None, ask: str | None) -> Quote:
    return Quote(bid=None if bid is None else Decimal(bid), ask=None if ask is None else Decimal(ask))


@pytest.mark.parametrize(
    ("value", "price"),
    [
        (None, None),
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
        (0.0, None),
        (-0.5, None),
        (-100.0, None),
        (0.0001, "0.0001"),
        (0.1, "0.1"),
        (99.99, "99.99"),
    ],
)
def test_quote_of_when_a_side_is_no_price_then_none(value: float | None, price: str | None) -> None:
    """Positive and finite, and exactly what was written; either side for itself."""
    expected = None if price is None else Decimal(price)
    assert quote_of(make_signal(bid=value, ask=100.0)) == Quote(bid=expected, ask=Decimal("100.0"))
    assert quote_of(make_signal(bid=1.5, ask=value)) == Quote(bid=Decimal("1.5"), ask=expected)


@pytest.mark.parametrize(
    ("bid", "ask", "two_sided", "crossed", "spread", "buy", "sell"),
    [
        ("99", "101", True, False, "200", "101", "99"),
        ("100", "100", True, False, "0", "100", "100"),
        ("101", "99", True, True, "-200", None, None),
        (None, "101", False, False, None, None, None),
        ("99", None, False, False, None, None, None),
        (None, None, False, False, None, None, None),
    ],
)
def test_quote_when_asked_then_what_its_sides_say(
    bid: Any, ask: Any, two_sided: bool, crossed: bool, spread: Any, buy: Any, sell: Any
) -> None:
    """A buy meets the ask, a sell the bid; without two sides that have met there is no price. Width is of the middle."""
    quote = _quote(bid, ask)
    assert (quote.is_two_sided, quote.is_crossed) == (two_sided, crossed)
    assert quote.spread_bps == (None if spread is None else Decimal(spread))
    assert quote.price("buy") == (None if buy is None else Decimal(buy))
    assert quote.price("sell") == (None if sell is None else Decimal(sell))
