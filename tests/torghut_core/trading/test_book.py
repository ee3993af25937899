"""What is held and on its way, and the worst that can come of it: spans, exposures, cash, what may be closed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.trading_values import make_account, make_book, make_position
from torghut_core.trading.decision.book import PRICE_SLACK, PendingOrder


def _order(side: Any, qty: int, symbol: str = "AAPL", price: int | None = None, **changes: Any) -> PendingOrder:
    return PendingOrder(
        symbol=symbol, side=side, qty=Decimal(qty), price=None if price is None else Decimal(price), **changes
    )


BUY_7_SELL_3 = (_order("buy", 5), _order("sell", 3), _order("buy", 2))


def test_with_order_when_added_then_beside_those_before_and_the_old_book_unchanged() -> None:
    """The next decision of a batch sees the order; the reading itself stays what was read."""
    book = make_book(orders=(_order("buy", 1),))
    after = book.with_order(_order("sell", 2))
    assert ([order.qty for order in after.orders], len(book.orders)) == ([1, 2], 1)


@pytest.mark.parametrize(
    ("held", "span", "closing"), [(0, (-3, 7), 0), (10, (7, 17), 3), (-10, (-13, -3), 7), (1, (-2, 8), 3)]
)
def test_span_when_orders_are_open_both_ways_then_each_end_for_itself(
    held: int, span: tuple[int, int], closing: int
) -> None:
    """Orders may fill or not, each alone; only what goes against the holding closes it."""
    book = make_book(*((make_position("AAPL", held),) if held else ()), orders=BUY_7_SELL_3)
    assert (book.held("AAPL"), book.span("AAPL"), book.closing_qty("AAPL")) == (held, span, closing)


def test_span_when_nothing_is_known_of_a_symbol_then_nothing() -> None:
    """No position, no order: zero either way."""
    book = make_book(orders=BUY_7_SELL_3)
    assert (book.span("T"), book.held("T"), book.closing_qty("T"), book.exposure("T")) == ((0, 0), 0, 0, 0)


@pytest.mark.parametrize(
    ("known", "price"),
    [
        ({}, None),
        ({"prices": {"AAPL": Decimal(90)}}, 90),
        ({"orders": (_order("buy", 1, price=80), _order("sell", 1, price=95), _order("buy", 1, price=70))}, 95),
        ({"orders": (_order("buy", 1, price=80), _order("buy", 1))}, 80),
        ({"prices": {"AAPL": Decimal(90)}, "orders": (_order("buy", 1, price=95),)}, 95),
        ({"prices": {"AAPL": Decimal(96)}, "orders": (_order("buy", 1, price=95),)}, 96),
        ({"positions": {"AAPL": make_position("AAPL", 2, 120)}, "prices": {"AAPL": Decimal(90)}}, 120),
        ({"positions": {"AAPL": make_position("AAPL", -2, 120)}}, 120),
        ({"positions": {"AAPL": make_position("AAPL", 0, 120)}, "prices": {"AAPL": Decimal(90)}}, 90),
        ({"positions": {"AAPL": make_position("AAPL", 0, 120)}}, None),
    ],
)
def test_price_when_several_are_known_then_the_dearest(known: dict[str, Any], price: int | None) -> None:
    """Exposure is counted at the dearest of quote, orders and valuation; a position of nothing has no price."""
    assert make_book(**{"prices": {}, **known}).price("AAPL") == price


def test_symbols_when_held_or_on_their_way_then_those_alone() -> None:
    """A position of zero is none; an order alone is one."""
    book = make_book(make_position("MSFT", 0), make_position("T", -1), orders=(_order("sell", 3),))
    assert book.symbols == {"AAPL", "T"}


def test_unpriced_when_a_symbol_has_no_price_or_could_not_be_read_then_named() -> None:
    """What cannot be valued has no known exposure."""
    book = make_book(
        make_position("T", 3), prices={}, orders=(_order("buy", 1), _order("buy", 1, "IBM", 10)), unreadable={"X"}
    )
    assert book.unpriced == {"AAPL", "X"}


def test_exposure_when_orders_widen_then_the_worse_end_at_the_dearest_price() -> None:
    """10 held, 7 on their way: 17 at 100. Short it is the other end."""
    long, short = make_position("AAPL", 10), make_position("MSFT", -10)
    book = make_book(long, short, orders=(*BUY_7_SELL_3, _order("sell", 4, "MSFT")))
    assert (book.exposure("AAPL"), book.exposure("MSFT"), book.gross) == (1700, 1400, 3100)
    assert (book.net("buy"), book.net("sell")) == (1700 - 1000, 700 - 1400)


def test_equity_when_asked_then_the_accounts() -> None:
    """Shares of equity are of the account's."""
    assert make_book(account=make_account(equity=Decimal(7))).equity == 7


def test_strategy_exposure_when_it_owns_and_orders_then_both_and_nobody_elses() -> None:
    """Own shares and orders, per symbol at the worse end; other strategies' are left out."""
    book = make_book(
        make_position("AAPL", 10),
        owned={("s", "AAPL"): Decimal(4), ("s", "MSFT"): Decimal(-2), ("other", "AAPL"): Decimal(6)},
        orders=(
            _order("buy", 5, strategy_id="s"),
            _order("sell", 9, strategy_id="s"),
            _order("buy", 3, "MSFT", strategy_id="s"),
            _order("sell", 3, "MSFT", strategy_id="s"),
            _order("buy", 100, strategy_id="other"),
            _order("buy", 100),
        ),
    )
    # AAPL: 4 with 5 more is 9, with 9 fewer is −5. MSFT: −2 with 3 fewer is −5.
    assert book.strategy_exposure("s") == 900 + 500
    assert book.strategy_exposure("nobody") == 0


@pytest.mark.parametrize(
    ("changes", "side", "margin", "dollars"),
    [
        ({}, "buy", False, 1000),
        ({}, "buy", True, 2000),
        ({}, "sell", False, 1000),
        ({"buying_power": 600}, "buy", False, 600),
        ({"buying_power": 600}, "sell", False, 600),
        # 2 short at 100: their proceeds are not to be spent, and a further short needs as much again.
        ({"positions": (("MSFT", -2),)}, "buy", False, 800),
        ({"positions": (("MSFT", -2),)}, "sell", False, 600),
        ({"positions": (("MSFT", -2),)}, "buy", True, 2000),
        ({"positions": (("MSFT", 2),)}, "buy", False, 1000),
        # An order for 4 that the broker knows: cash is promised, its buying power is already less.
        ({"orders": (_order("buy", 4),)}, "buy", False, 1000 - 401),
        ({"orders": (_order("buy", 4),)}, "buy", True, 2000),
        ({"orders": (_order("buy", 4, is_in_account=False),)}, "buy", True, 2000 - 401),
        ({"orders": (_order("buy", 4, price=50),)}, "buy", False, Decimal("799.5")),
        # What closes a holding costs nothing; what goes beyond it does.
        ({"positions": (("AAPL", 3),), "orders": (_order("sell", 3),)}, "buy", False, 1000),
        ({"positions": (("AAPL", 3),), "orders": (_order("sell", 5),)}, "buy", False, 1000 - Decimal("200.5")),
        (
            {"positions": (("AAPL", 3),), "orders": (_order("sell", 2), _order("sell", 3))},
            "buy",
            False,
            1000 - Decimal("200.5"),
        ),
        ({"positions": (("AAPL", -3),), "orders": (_order("buy", 3),)}, "buy", False, 700),
        (
            {"positions": (("AAPL", -3),), "orders": (_order("buy", 2), _order("buy", 3))},
            "buy",
            False,
            700 - Decimal("200.5"),
        ),
        ({"positions": (("AAPL", 3),), "orders": (_order("buy", 4),)}, "buy", False, 1000 - 401),
        ({"positions": (("AAPL", -3),), "orders": (_order("sell", 4),)}, "buy", False, 700 - 401),
        ({"orders": (_order("buy", 4, "T"),)}, "buy", False, 1000),
    ],
)
def test_spendable_when_money_is_promised_then_what_is_left(
    changes: dict[str, Any], side: Any, margin: bool, dollars: Any
) -> None:
    """Of 1000 in cash and 2000 in buying power: less short proceeds, and what open orders would open, with slack."""
    assert Decimal("0.0025") == PRICE_SLACK
    book = make_book(
        *(make_position(symbol, qty) for symbol, qty in changes.get("positions", ())),
        account=make_account(cash=Decimal(1000), buying_power=Decimal(changes.get("buying_power", 2000))),
        orders=changes.get("orders", ()),
    )
    assert book.spendable(side, allow_margin=margin) == dollars


@pytest.mark.parametrize(
    ("held", "owned", "expected"),
    [
        (10, {}, 10),
        (10, {"s": 4}, 10),
        (10, {"other": 4}, 6),
        (10, {"s": 6, "other": 4}, 6),
        (10, {"other": 10}, 0),
        (10, {"other": 12}, 0),
        (10, {"other": -5}, 10),
        (-10, {}, -10),
        (-10, {"other": -4}, -6),
        (-10, {"other": -12}, 0),
        (-10, {"other": 5}, -10),
        (0, {"s": 5}, 0),
    ],
)
def test_exitable_when_others_own_some_then_the_rest(held: int, owned: dict[str, int], expected: int) -> None:
    """A strategy may close its own shares and nobody's, never another's, never more than is held."""
    book = make_book(
        *((make_position("AAPL", held),) if held else ()),
        owned={**{(owner, "AAPL"): Decimal(qty) for owner, qty in owned.items()}, ("other", "MSFT"): Decimal(3)},
    )
    assert book.exitable("s", "AAPL") == expected
