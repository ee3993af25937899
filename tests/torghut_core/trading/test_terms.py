"""Order type, limit and stop of an entry: on the price grid, never worse than meant; lots, never rounded up."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.trading_values import make_strategy
from torghut_core.trading.decision.terms import Terms, entry_terms, in_lots, on_grid
from torghut_core.trading.model import OrderRequest
from torghut_core.trading.orders.broker import order_body


def _terms(order_type: str, side: Any, *, price: str = "100", bps: str = "0") -> Terms:
    return entry_terms(make_strategy(order_type=order_type, price_offset_bps=Decimal(bps)), side, Decimal(price))


@pytest.mark.parametrize(
    ("order_type", "side", "price", "bps", "limit", "stop"),
    [
        ("market", "buy", "100", "10", None, None),
        ("limit", "buy", "100", "0", "100", None),
        ("limit", "sell", "100", "0", "100", None),
        ("limit", "buy", "100", "10", "100.10", None),
        ("limit", "sell", "100", "10", "99.90", None),
        # 33.33 + 10 bps = 33.36333, 33.33 - 10 bps = 33.29667: a limit is rounded back, a stop onward.
        ("limit", "buy", "33.33", "10", "33.36", None),
        ("limit", "sell", "33.33", "10", "33.30", None),
        ("stop", "buy", "33.33", "10", None, "33.37"),
        ("stop", "sell", "33.33", "10", None, "33.29"),
        ("stop_limit", "buy", "33.33", "10", "33.37", "33.37"),
        ("stop_limit", "sell", "33.33", "10", "33.29", "33.29"),
        ("limit", "buy", "0.12345", "0", "0.1234", None),
        ("stop", "buy", "0.12345", "0", None, "0.1235"),
    ],
)
def test_entry_terms_when_a_strategy_says_how_then_prices_stand_on_the_grid(
    order_type: str, side: str, price: str, bps: str, limit: str | None, stop: str | None
) -> None:
    """The offset lies beyond the quote in the direction of the order; rounding never makes the price worse than meant."""
    assert _terms(order_type, side, price=price, bps=bps) == Terms(
        type=order_type,  # type: ignore[arg-type]
        limit_price=None if limit is None else Decimal(limit),
        stop_price=None if stop is None else Decimal(stop),
    )


@pytest.mark.parametrize(
    ("price", "is_up", "expected"),
    [
        ("1", True, "1"),
        ("1", False, "1"),
        ("1.001", True, "1.01"),
        ("1.009", False, "1"),
        ("0.99999", True, "1"),
        ("0.99999", False, "0.9999"),
        ("0.00001", False, "0.0001"),
        ("0.00001", True, "0.0001"),
        ("0", False, "0.0001"),
    ],
)
def test_on_grid_when_between_ticks_then_the_next_and_never_zero(price: str, is_up: bool, expected: str) -> None:
    """A cent from one dollar up, a hundredth of a cent below; the smallest price is a tick."""
    assert on_grid(Decimal(price), is_up=is_up) == Decimal(expected)


@pytest.mark.parametrize(
    ("shares", "is_fractional", "expected"),
    [
        ("1.999", False, "1"),
        ("2", False, "2"),
        ("0.999", False, "0"),
        ("-0.5", False, "0"),
        ("-3", False, "0"),
        ("1.9999999", True, "1.999999"),
        ("0.0000009", True, "0"),
        ("0.000001", True, "0.000001"),
        ("-0.5", True, "0"),
    ],
)
def test_in_lots_when_shares_are_broken_then_down_to_what_can_be_ordered(
    shares: str, is_fractional: bool, expected: str
) -> None:
    """Whole shares, or millionths where the asset allows; never up, never below nothing."""
    assert in_lots(Decimal(shares), is_fractional=is_fractional) == Decimal(expected)


@pytest.mark.parametrize(
    ("terms", "body"),
    [
        ({}, {"type": "market"}),
        ({"type": "limit", "limit_price": Decimal("33.30")}, {"type": "limit", "limit_price": "33.3"}),
        ({"type": "stop", "stop_price": Decimal("0.1235")}, {"type": "stop", "stop_price": "0.1235"}),
        (
            {"type": "stop_limit", "limit_price": Decimal(100), "stop_price": Decimal(100)},
            {"type": "stop_limit", "limit_price": "100", "stop_price": "100"},
        ),
    ],
)
def test_order_body_when_it_has_prices_then_as_plain_text_and_no_others(
    terms: dict[str, Any], body: dict[str, str]
) -> None:
    """A price that the type does not have is not sent; what is sent has no exponent."""
    request = OrderRequest(client_order_id="c", symbol="AAPL", side="buy", qty=Decimal("1E+2"), **terms)
    common = {"symbol": "AAPL", "qty": "100", "side": "buy", "time_in_force": "day", "client_order_id": "c"}
    assert order_body(request) == {**common, **body}
