"""How many shares an entry stands for, and which constraint left none."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.trading_values import make_book, make_position, make_settings, make_strategy
from torghut_core.trading.decision.sizing import Size, size_entry


def _size(
    *, side: Any = "buy", price: str = "100", strategy: Any = None, book: Any = None, vol: Any = None, **env: str
) -> Size:
    return size_entry(
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
        ({"max_position_pct_equity": Decimal("0.003")}, {"TRADING_DEFAULT_QTY": "7"}, 3),
        ({}, {"TRADING_PORTFOLIO_NOTIONAL_PER_POSITION": "900"}, 9),
        ({"max_notional_per_trade": Decimal(550)}, {"TRADING_PORTFOLIO_NOTIONAL_PER_POSITION": "900"}, 5),
    ],
)
def test_size_when_budgets_differ_then_the_smallest_in_whole_shares(
    strategy: dict[str, Any], environment: dict[str, str], qty: int
) -> None:
    """Budgets are floored to whole shares, the smallest one wins; equity's share is 100 000 dollars' share."""
    assert _size(strategy=make_strategy(**strategy), **environment).qty == qty


def test_size_when_budget_is_below_one_share_then_none_and_never_one() -> None:
    """A minimum of one share would exceed the budget."""
    size = _size(strategy=make_strategy(max_notional_per_trade=Decimal(99)))
    assert (size.qty, size.reason) == (0, "qty_below_min")


def test_size_when_parts_are_allowed_then_millionths() -> None:
    """99 dollars are 0.99 of a share at 100."""
    size = size_entry(
        side="buy",
        symbol="AAPL",
        price=Decimal(100),
        strategy=make_strategy(max_notional_per_trade=Decimal("99.00009")),
        book=make_book(),
        settings=make_settings(),
        volatility=None,
        is_fractional=True,
    )
    assert size.qty == Decimal("0.990000")


@pytest.mark.parametrize(
    ("environment", "book", "side", "qty", "reason"),
    [
        ({"MAX_POSITIONS": "1"}, make_book(make_position("MSFT")), "buy", 0, "max_positions_exceeded"),
        ({"MAX_POSITIONS": "1"}, make_book(make_position()), "buy", 50, None),
        ({"MAX_NOTIONAL_PER_SYMBOL": "1234"}, make_book(), "buy", 12, None),
        ({"MAX_NOTIONAL_PER_SYMBOL": "1234"}, make_book(make_position()), "buy", 2, None),
        ({"MAX_NOTIONAL_PER_SYMBOL": "1099"}, make_book(make_position()), "buy", 0, "symbol_capacity_exhausted"),
        ({"MAX_GROSS_EXPOSURE_PCT_EQUITY": "0.01"}, make_book(), "buy", 10, None),
        ({"MAX_GROSS_EXPOSURE": "1500"}, make_book(make_position("MSFT", -10)), "buy", 5, None),
        (
            {"MAX_GROSS_EXPOSURE": "1000"},
            make_book(make_position("MSFT", -10)),
            "buy",
            0,
            "gross_exposure_capacity_exhausted",
        ),
        ({"MAX_NET_EXPOSURE": "1500"}, make_book(make_position("MSFT", -10)), "buy", 25, None),
        ({"MAX_NET_EXPOSURE": "1500"}, make_book(make_position("MSFT", -10)), "sell", 5, None),
        ({"MAX_NET_EXPOSURE": "1500"}, make_book(make_position("MSFT")), "sell", 25, None),
        (
            {"MAX_NET_EXPOSURE": "1000"},
            make_book(make_position("MSFT", -10)),
            "sell",
            0,
            "net_exposure_capacity_exhausted",
        ),
    ],
)
def test_size_when_a_cap_leaves_less_then_the_room_or_its_reason(
    environment: dict[str, str], book: Any, side: Any, qty: int, reason: str | None
) -> None:
    """Fifty shares wanted at 100; each cap counts what is held, net by its sign."""
    variables = {f"TRADING_PORTFOLIO_{name}": value for name, value in environment.items()}
    size = _size(side=side, book=book, TRADING_DEFAULT_QTY="50", **variables)
    assert (size.qty, size.reason) == (qty, reason)


def test_size_when_the_strategy_has_room_for_three_then_three() -> None:
    """What it owns counts against it, at its price."""
    strategy = make_strategy(max_notional_total=Decimal(1300))
    book = make_book(make_position("MSFT"), owned={(strategy.id, "MSFT"): Decimal(10)})
    assert _size(strategy=strategy, book=book, TRADING_DEFAULT_QTY="50").qty == 3


@pytest.mark.parametrize(
    ("volatility", "floor", "qty"),
    [("0.02", "0", 5), ("0.005", "0", 20), ("0.001", "0.01", 10), ("0", "0", 10), (None, "0", 10)],
)
def test_size_when_volatility_differs_from_its_target_then_scaled(volatility: str | None, floor: str, qty: int) -> None:
    """Twice as wild, half as many; the floor bounds the calm, and no volatility divides by nothing."""
    size = _size(
        vol=None if volatility is None else Decimal(volatility),
        TRADING_DEFAULT_QTY="10",
        TRADING_PORTFOLIO_VOLATILITY_TARGET="0.01",
        TRADING_PORTFOLIO_VOLATILITY_FLOOR=floor,
    )
    assert size.qty == qty


def test_size_when_asked_then_the_audit_tells_how() -> None:
    """What bound it can be read afterwards."""
    size = _size(TRADING_DEFAULT_QTY="50", TRADING_PORTFOLIO_MAX_NOTIONAL_PER_SYMBOL="1234")
    assert size.audit == {
        "method": "default_qty",
        "price": "100",
        "wanted": "50",
        "volatility_scaled": "50",
        "rooms": {"symbol_capacity_exhausted": "1234"},
        "qty": "12",
    }


@pytest.mark.parametrize(
    ("strategy", "environment", "method", "wanted"),
    [
        ({}, {"TRADING_DEFAULT_QTY": "7"}, "default_qty", "7"),
        ({"max_notional_per_trade": Decimal(550)}, {}, "strategy_notional", "5.5"),
        ({"max_position_pct_equity": Decimal("0.003")}, {}, "strategy_equity_pct", "3"),
        ({}, {"TRADING_MAX_NOTIONAL_PER_TRADE": "250"}, "global_notional", "2.5"),
        (
            {"max_notional_per_trade": Decimal(550), "max_position_pct_equity": Decimal("0.003")},
            {"TRADING_MAX_NOTIONAL_PER_TRADE": "250"},
            "global_notional",
            "2.5",
        ),
        ({}, {"TRADING_PORTFOLIO_NOTIONAL_PER_POSITION": "900"}, "portfolio_notional_per_position", "9"),
    ],
)
def test_size_when_a_budget_decides_then_the_audit_names_it(
    strategy: dict[str, Any], environment: dict[str, str], method: str, wanted: str
) -> None:
    """The budget is known by its name, and what it wanted before any cap."""
    audit = _size(strategy=make_strategy(**strategy), **environment).audit
    assert (audit["method"], Decimal(audit["wanted"])) == (method, Decimal(wanted))


def test_size_when_the_symbol_is_valued_dearer_than_its_quote_then_rooms_are_filled_at_that() -> None:
    """Room for $1,000 is five shares where each may be worth $200."""
    book = make_book(prices={"AAPL": Decimal(200)})
    assert _size(book=book, TRADING_DEFAULT_QTY="50", TRADING_PORTFOLIO_MAX_NOTIONAL_PER_SYMBOL="1000").qty == 5


@pytest.mark.parametrize(("held", "reason"), [((), None), (("MSFT",), None), (("MSFT", "T"), "max_positions_exceeded")])
def test_size_when_positions_are_counted_then_the_last_place_may_be_taken(
    held: tuple[str, ...], reason: str | None
) -> None:
    """Two places: free while fewer are taken."""
    book = make_book(*(make_position(symbol) for symbol in held))
    assert _size(book=book, TRADING_PORTFOLIO_MAX_POSITIONS="2").reason == reason


def test_size_when_volatility_leaves_parts_of_a_share_then_they_are_kept_until_lots_are_made() -> None:
    """Scaling is not rounding: 10 × 0.01 / 0.03 is 3.33, and parts are ordered where they may be."""
    size = size_entry(
        side="buy",
        symbol="AAPL",
        price=Decimal(100),
        strategy=make_strategy(),
        book=make_book(),
        settings=make_settings(TRADING_DEFAULT_QTY="10", TRADING_PORTFOLIO_VOLATILITY_TARGET="0.01"),
        volatility=Decimal("0.03"),
        is_fractional=True,
    )
    assert size.qty == Decimal("3.333333")


def test_size_when_caps_leave_less_than_nothing_then_none_by_their_reason() -> None:
    """A book that is over its cap already leaves no room, and never a negative size."""
    size = _size(book=make_book(make_position("AAPL", 50)), TRADING_PORTFOLIO_MAX_NOTIONAL_PER_SYMBOL="1000")
    assert (size.qty, size.reason) == (0, "symbol_capacity_exhausted")
