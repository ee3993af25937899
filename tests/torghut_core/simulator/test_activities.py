"""The simulated account's activities: fills, fees, and pages as Alpaca documents them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from torghut_core.exchange.activities import Activities
from torghut_core.exchange.orders import ApiError, Order, OrderRequest

NOON_NS = 1_767_632_400_000_000_000  # 2026-01-05T17:00:00Z
DAY_NS = 86_400_000_000_000


def _order(side: Any, qty: int, filled: int) -> Order:
    request = OrderRequest(symbol="AAPL", side=side, type="market", time_in_force="day", qty=Decimal(qty))
    order = Order(id=f"{side}-{qty}", client_order_id="c", asset_id="a", request=request, created_ns=1, updated_ns=1)
    order.filled_qty = Decimal(filled)
    return order


def _traded() -> Activities:
    activities = Activities()
    activities.fill(_order("buy", 100, 40), Decimal(40), Decimal(50), NOON_NS)
    activities.fill(_order("buy", 100, 100), Decimal(60), Decimal("50.5"), NOON_NS + 1)
    activities.fill(_order("sell", 100, 100), Decimal(100), Decimal(51), NOON_NS + 2)
    return activities


def test_fill_when_partial_and_whole_then_both_as_documented() -> None:
    """What is left, what is filled so far, the order's state then; newest first unless asked otherwise."""
    newest, *_, oldest = _traded().listed({})
    assert (newest["side"], newest["order_status"], newest["leaves_qty"]) == ("sell", "filled", "0")
    assert {
        key: oldest[key] for key in ("activity_type", "type", "qty", "cum_qty", "leaves_qty", "price", "symbol")
    } == {
        "activity_type": "FILL",
        "type": "partial_fill",
        "qty": "40",
        "cum_qty": "40",
        "leaves_qty": "60",
        "price": "50",
        "symbol": "AAPL",
    }
    assert (oldest["transaction_time"], oldest["id"][:19]) == ("2026-01-05T17:00:00Z", "20260105120000000::")


def test_pages_when_begun_after_the_last_id_then_each_activity_once() -> None:
    """The token is the id at the end of the page."""
    activities, query, seen = _traded(), {"direction": "asc", "page_size": "2"}, []
    while page := activities.listed(query):
        seen += [fields["id"] for fields in page]
        query["page_token"] = page[-1]["id"]
    assert seen == [fields["id"] for fields in activities.listed({"direction": "asc"})]


def test_charge_when_a_day_is_over_then_its_fees_once_rounded_up() -> None:
    """5100 dollars and a hundred shares sold: 11 and 2 cents, on the next day, and never again."""
    activities = _traded()
    assert activities.charge(NOON_NS + 3) == 0
    assert activities.charge(NOON_NS + DAY_NS) == Decimal("0.13")
    assert activities.charge(NOON_NS + 2 * DAY_NS) == 0
    fees = activities.listed({"activity_types": "FEE"})
    assert sorted((fee["net_amount"], fee["date"]) for fee in fees) == [
        ("-0.02", "2026-01-05"),
        ("-0.11", "2026-01-05"),
    ]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"date": "2026-01-05"}, 3),
        ({"date": "2026-01-06"}, 0),
        ({"after": "2026-01-05T17:00:00.000000001Z"}, 1),
        ({"until": "2026-01-05T17:00:00.000000002Z"}, 2),
        ({"category": "trade_activity"}, 3),
        ({"category": "non_trade_activity"}, 0),
    ],
)
def test_listed_when_filtered_then_those(query: dict[str, str], count: int) -> None:
    """By day, by time, by kind."""
    assert len(_traded().listed(query)) == count


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"activity_types": "FFFFF"}, "activity type"),
        ({"direction": "up"}, "direction"),
        ({"page_size": "101"}, "page_size"),
        ({"page_token": "none"}, "page_token"),
        ({"date": "2026-01-05", "after": "2026-01-01"}, "date"),
        ({"date": "2026-13-05"}, "date"),
        ({"category": "all"}, "category"),
        ({"category": "trade_activity", "activity_types": "FILL"}, "category"),
    ],
)
def test_listed_when_asked_wrongly_then_422_names_it(query: dict[str, str], named: str) -> None:
    """As the broker answers."""
    with pytest.raises(ApiError, match=named) as refused:
        _traded().listed(query)
    assert refused.value.status == 422
