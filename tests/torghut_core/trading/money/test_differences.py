"""Our trades against the broker's account activities."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.money_values import NOON_NS, make_trade
from torghut_core.trading.money.differences import Comparison, Difference, compare
from torghut_core.trading.money.fees import Fees
from torghut_core.trading.orders.activities import Activity, parse_activity
from torghut_core.trading.orders.answers import AnswerError

MONDAY = date(2026, 1, 5)


def _fill(order: str, qty: int, price: int, number: int = 1) -> Activity:
    return Activity(
        id=f"{order}-{number}",
        kind="FILL",
        at_ns=NOON_NS,
        order_id=order,
        symbol="AAPL",
        side="buy",
        qty=Decimal(qty),
        price=Decimal(price),
    )


def _fee(dollars: str, day: date = MONDAY) -> Activity:
    return Activity(id=f"fee-{dollars}", kind="FEE", day=day, net_amount=Decimal(dollars))


def _compare(activities: list[Activity], *, charged: str = "0", own: tuple[str, ...] = ("o", "p")) -> Comparison:
    trades = [make_trade("buy", 4, 100, order_id="o"), make_trade("buy", 6, 105, order_id="o")]
    return compare(trades, activities, own_orders=own, charged={MONDAY: Fees(sec=Decimal(charged))})


def test_compare_when_the_same_shares_came_in_other_pieces_then_no_difference() -> None:
    """Ten for 1030 dollars, whatever the fills; a person's order is counted and is no difference."""
    found = _compare([_fill("o", 10, 103), _fill("a person's", 1, 99)])
    assert found == Comparison(differences=(), compared_orders=1, foreign_fills=1)


@pytest.mark.parametrize(
    ("activities", "difference"),
    [
        ([], ("fill_not_at_broker", "o", "10", None)),
        ([_fill("o", 10, 103), _fill("p", 3, 50)], ("fill_not_heard", "p", None, "3")),
        ([_fill("o", 4, 100)], ("qty_differs", "o", "10", "4")),
        ([_fill("o", 10, 104)], ("price_differs", "o", "103", "104")),
        ([_fill("o", 10, 103), _fee("-0.05")], ("fees_differ", "2026-01-05", "0.04", "0.05")),
    ],
)
def test_compare_when_something_is_not_the_same_then_named(
    activities: list[Activity], difference: tuple[str, str, str | None, str | None]
) -> None:
    """What it is, about which order or day, and both figures."""
    found = _compare(activities, charged="0.04")
    ours, broker = (None if value is None else Decimal(value) for value in difference[2:])
    symbol = None if difference[0] == "fees_differ" else "AAPL"
    assert found.differences == (
        Difference(what=difference[0], about=difference[1], symbol=symbol, ours=ours, broker=broker),  # type: ignore[arg-type]
    )


def test_compare_when_the_fees_of_a_day_are_the_charged_ones_then_no_difference() -> None:
    """Two entries of a day are one sum; a broker that books no fees at all, as on paper, is not asked about them."""
    assert _compare([_fill("o", 10, 103), _fee("-0.01"), _fee("-0.03")], charged="0.04").differences == ()
    assert _compare([_fill("o", 10, 103)], charged="0.04").differences == ()


_FILL: dict[str, Any] = {
    "id": "20260105120000000::x",
    "activity_type": "FILL",
    "transaction_time": "2026-01-05T17:00:00Z",
    "price": "103",
    "qty": "10",
    "side": "sell_short",
    "symbol": "AAPL",
    "order_id": "o",
}


def test_activity_when_read_then_a_fill_a_fee_or_nothing() -> None:
    """A short sale is a sale; dividends and transfers are left out."""
    fill = parse_activity(_FILL)
    assert fill is not None
    assert (fill.kind, fill.at_ns, fill.side, fill.qty, fill.price) == ("FILL", NOON_NS, "sell", 10, 103)
    fee = parse_activity({"id": "f", "activity_type": "FEE", "date": "2026-01-05", "net_amount": "-0.02"})
    assert fee is not None
    assert (fee.day, fee.net_amount) == (MONDAY, Decimal("-0.02"))
    assert parse_activity({"id": "d", "activity_type": "DIV"}) is None


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"qty": "NaN"}, "qty"),
        ({"price": None}, "price"),
        ({"side": "up"}, "side"),
        ({"symbol": "a b"}, "symbol"),
        ({"transaction_time": "noon"}, "transaction_time"),
        ({"order_id": ""}, "order_id"),
        ({"activity_type": "FEE", "date": "2026-13-01"}, "date"),
        ({"activity_type": "FEE", "date": "2026-01-05", "net_amount": True}, "net_amount"),
    ],
)
def test_activity_when_a_field_breaks_its_rule_then_named(changes: dict[str, Any], named: str) -> None:
    """Nothing is guessed of money."""
    with pytest.raises(AnswerError, match=f"^{named}:"):
        parse_activity({**_FILL, **changes})
