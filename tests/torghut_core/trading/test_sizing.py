"""How many shares, and which constraint left none."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.trading_values import make_account, make_book, make_intent, make_settings, make_strategy
from torghut_core.trading.decision.desk import Desk, reservation
from torghut_core.trading.decision.sizing import Size, size_intent
from torghut_core.trading.model import Position, Snapshot


def _size(
    *, side: Any = "buy", price: str = "100", strategy: Any = None, book: Any = None, vol: Any = None, **env: str
) -> Size:
    return size_intent(
        side=side,
        symbol="AAPL",
        price=Decimal(price),
        strategy=strategy or make_strategy(),
        book=book or make_book(),
        settings=make_settings(**env),
        volatility=vol,
    )


@pytest.mark.parametrize(
    ("strategy", "environment", "qty"),
    [
        ({}, {}, 1),
        ({}, {"TRADING_DEFAULT_QTY": "7"}, 7),
        ({"max_notional_per_trade": Decimal(550)}, {}, 5),
        ({"max_notional_per_trade": Decimal(5000)}, {"TRADING_MAX_NOTIONAL_PER_TRADE": "250"}, 2),
        ({"max_position_pct_equity": Decimal("0.001")}, {}, 1),
        ({"max_notional_per_trade": Decimal(550)}, {"TRADING_PORTFOLIO_NOTIONAL_PER_POSITION": "900"}, 9),
        ({}, {"TRADING_DEFAULT_QTY": "50", "TRADING_PORTFOLIO_MAX_NOTIONAL_PER_SYMBOL": "1234"}, 12),
        ({}, {"TRADING_DEFAULT_QTY": "50", "TRADING_PORTFOLIO_MAX_GROSS_EXPOSURE_PCT_EQUITY": "0.01"}, 10),
    ],
)
def test_size_when_budgets_differ_then_the_smallest_in_whole_shares(
    strategy: dict[str, Any], environment: dict[str, str], qty: int
) -> None:
    """Budgets are floored to whole shares, the smallest one wins."""
    assert _size(strategy=make_strategy(**strategy), **environment).qty == qty


def test_size_when_budget_is_below_one_share_then_none_and_never_one() -> None:
    """A minimum of one share would exceed the budget."""
    size = _size(strategy=make_strategy(max_notional_per_trade=Decimal(99)))
    assert (size.qty, size.reason) == (0, "qty_below_min")


@pytest.mark.parametrize(
    ("environment", "book", "side", "reason"),
    [
        ({"TRADING_PORTFOLIO_MAX_POSITIONS": "1"}, {"held_symbols": frozenset({"T"})}, "buy", "max_positions_exceeded"),
        (
            {"TRADING_PORTFOLIO_MAX_NOTIONAL_PER_SYMBOL": "1000"},
            {"position_qty": Decimal(10), "position_value": Decimal(1000)},
            "buy",
            "symbol_capacity_exhausted",
        ),
        (
            {"TRADING_PORTFOLIO_MAX_GROSS_EXPOSURE": "5000"},
            {"gross_exposure": Decimal(4950)},
            "buy",
            "gross_exposure_capacity_exhausted",
        ),
        (
            {"TRADING_PORTFOLIO_MAX_NET_EXPOSURE": "5000"},
            {"net_exposure": Decimal(5000)},
            "buy",
            "net_exposure_capacity_exhausted",
        ),
        ({}, {}, "sell", "shorts_not_allowed"),
        ({}, {"position_qty": Decimal(5), "pending_sells": Decimal(5)}, "sell", "sell_inventory_unavailable"),
    ],
)
def test_size_when_nothing_is_left_then_binding_constraint_is_named(
    environment: dict[str, str], book: dict[str, Any], side: str, reason: str
) -> None:
    """The reason is the constraint, not a misleading minimum."""
    size = _size(side=side, book=make_book(**book), **environment)
    assert (size.qty, size.reason) == (0, reason)


def test_size_when_selling_then_clamped_to_what_is_free() -> None:
    """A sell closes; it takes what is held and not promised, capacity caps aside."""
    book = make_book(position_qty=Decimal("7.9"), pending_sells=Decimal(2), gross_exposure=Decimal(10**6))
    environment = {"TRADING_DEFAULT_QTY": "50", "TRADING_PORTFOLIO_MAX_GROSS_EXPOSURE": "1"}
    assert _size(side="sell", book=book, **environment).qty == 5


@pytest.mark.parametrize(("vol", "qty"), [(None, 10), (Decimal("0.02"), 5), (Decimal("0.001"), 20), (Decimal(0), 20)])
def test_size_when_volatility_is_known_then_scaled_to_the_target_over_the_floor(vol: Decimal | None, qty: int) -> None:
    """target / max(volatility, floor)."""
    environment = {
        "TRADING_DEFAULT_QTY": "10",
        "TRADING_PORTFOLIO_VOLATILITY_TARGET": "0.01",
        "TRADING_PORTFOLIO_VOLATILITY_FLOOR": "0.005",
    }
    assert _size(vol=vol, **environment).qty == qty


def test_desk_when_orders_are_accepted_then_later_ones_see_them() -> None:
    """One batch cannot spend the same buying power twice, nor trade a symbol twice."""
    holdings = {"MSFT": Position(symbol="MSFT", qty=Decimal(5), market_value=Decimal(500))}
    desk = Desk(snapshot=Snapshot(account=make_account(), positions=holdings), prices={}, claims=(), executions=())
    desk.accept(make_intent(), 10, reservation("buy", 10, Decimal(100), Decimal(0)))
    book = desk.book("AAPL")
    assert book is not None
    assert (desk.reserved, desk.busy) == (Decimal("1002.5"), {"AAPL"})
    assert (book.gross_exposure, book.held_symbols) == (Decimal("1502.5"), frozenset({"AAPL", "MSFT"}))


@pytest.mark.parametrize(("held", "reserved"), [("10", "0"), ("4", "601.5"), ("0", "1002.5")])
def test_reservation_when_selling_then_only_the_short_part_uses_buying_power(held: str, reserved: str) -> None:
    """What is held and sold needs no buying power."""
    assert reservation("sell", 10, Decimal(100), Decimal(held)) == Decimal(reserved)
