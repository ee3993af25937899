"""The book a batch is judged against: whose orders are in it, at what price, and what strategies own of what is held."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.trading_values import make_account, make_order, make_position
from torghut_core.trading.decision.book import Book
from torghut_core.trading.decision.desk import open_book, still_owned
from torghut_core.trading.model import Position, Side, Snapshot


@dataclass(frozen=True)
class _Claim:
    client_order_id: str = "claimed"
    symbol: str = "AAPL"
    side: Side = "buy"
    qty: Decimal = Decimal(4)
    price: Decimal | None = Decimal(50)


def _book(
    *,
    orders: tuple[Any, ...] = (),
    claims: tuple[_Claim, ...] = (),
    strategies: dict[str, str] | None = None,
    owned: dict[tuple[str, str], Decimal] | None = None,
    positions: tuple[Position, ...] = (),
    unreadable: frozenset[str] = frozenset(),
) -> Book:
    snapshot = Snapshot(
        account=make_account(number="PA7"),
        positions={position.symbol: position for position in positions},
        orders=orders,
        unreadable=unreadable,
    )
    return open_book(
        snapshot,
        claims=claims,
        strategies=strategies or {},
        owned=owned or {},
        prices={"AAPL": Decimal(100), "T": Decimal(20)},
    )


def test_open_book_when_read_then_account_positions_prices_and_unreadable_are_the_snapshots() -> None:
    """Nothing that was read is left out."""
    position = make_position("T", 3)
    book = _book(positions=(position,), unreadable=frozenset({"IBM"}))
    assert (book.account.number, book.positions, book.unreadable) == ("PA7", {"T": position}, frozenset({"IBM"}))
    assert book.prices == {"AAPL": Decimal(100), "T": Decimal(20)}


def test_open_book_when_an_order_is_open_then_what_is_left_of_it_is_pending_and_known_to_the_account() -> None:
    """After a restart, an open order of ours is exposure: its strategy's, for the shares that are not filled yet."""
    order = make_order(qty=Decimal(10), filled_qty=Decimal(4), status="partially_filled")
    [pending] = _book(orders=(order,), strategies={"a" * 64: "s1"}).orders
    assert (pending.symbol, pending.side, pending.qty, pending.price, pending.strategy_id) == (
        "AAPL",
        "buy",
        Decimal(6),
        None,
        "s1",
    )
    assert (pending.is_in_account, pending.is_unknown) == (True, False)


def test_open_book_when_an_order_is_a_persons_then_pending_for_no_strategy() -> None:
    """Orders of anyone count; nobody's strategy pays for them."""
    [pending] = _book(orders=(make_order(client_order_id="a person's", side="sell"),)).orders
    assert (pending.side, pending.qty, pending.strategy_id) == ("sell", Decimal(10), None)


@pytest.mark.parametrize(
    "changes",
    [{"status": "canceled"}, {"status": "filled", "filled_qty": Decimal(10)}, {"filled_qty": Decimal(10)}],
)
def test_open_book_when_nothing_of_an_order_is_left_then_not_pending(changes: dict[str, Any]) -> None:
    """A listed order that cannot fill any more is no exposure."""
    assert _book(orders=(make_order(**changes),)).orders == ()


def test_open_book_when_one_share_is_left_then_pending() -> None:
    """The last share is a share."""
    [pending] = _book(orders=(make_order(filled_qty=Decimal(9)),)).orders
    assert pending.qty == Decimal(1)


@pytest.mark.parametrize(
    ("limit", "stop", "price"),
    [(None, None, None), ("90", None, "90"), (None, "110", "110"), ("90", "110", "110"), ("110", "90", "110")],
)
def test_open_book_when_an_order_has_prices_then_the_dearer(
    limit: str | None, stop: str | None, price: str | None
) -> None:
    """It may fill at the dearer of limit and stop."""
    order = make_order(
        limit_price=None if limit is None else Decimal(limit), stop_price=None if stop is None else Decimal(stop)
    )
    [pending] = _book(orders=(order,)).orders
    assert pending.price == (None if price is None else Decimal(price))


def test_open_book_when_an_order_is_claimed_and_not_listed_then_pending_of_unknown_fate() -> None:
    """The broker may have it and its buying power may not know it: it counts, at the price it was judged at."""
    [pending] = _book(claims=(_Claim(side="sell"),), strategies={"claimed": "s2"}).orders
    assert (pending.symbol, pending.side, pending.qty, pending.price, pending.strategy_id) == (
        "AAPL",
        "sell",
        Decimal(4),
        Decimal(50),
        "s2",
    )
    assert (pending.is_in_account, pending.is_unknown) == (False, True)


def test_open_book_when_a_claimed_order_is_listed_then_it_counts_once() -> None:
    """The broker's word replaces the claim; another claim beside it stays."""
    listed = make_order(client_order_id="claimed", qty=Decimal(4))
    book = _book(orders=(listed,), claims=(_Claim(), _Claim(client_order_id="other", symbol="T")))
    assert [(order.symbol, order.is_unknown) for order in book.orders] == [("AAPL", False), ("T", True)]


def test_open_book_when_a_claimed_order_is_listed_as_done_then_it_is_no_exposure_any_more() -> None:
    """What the broker says of it is newer than the claim."""
    done = make_order(client_order_id="claimed", status="canceled")
    assert _book(orders=(done,), claims=(_Claim(),)).orders == ()


def test_open_book_when_strategies_own_more_than_is_held_then_what_is_left_is_shared() -> None:
    """The book knows of ownership only what the positions bear out."""
    book = _book(positions=(make_position("AAPL", 5),), owned={("s1", "AAPL"): Decimal(10)})
    assert book.owned == {("s1", "AAPL"): Decimal(5)}


@pytest.mark.parametrize(
    ("owned", "held", "expected"),
    [
        ({"s1": "10"}, 10, {"s1": "10"}),
        ({"s1": "10"}, 30, {"s1": "10"}),
        ({"s1": "10"}, 5, {"s1": "5"}),
        ({"s1": "6", "s2": "2"}, 4, {"s1": "3", "s2": "1"}),
        ({"s1": "6", "s2": "2"}, 8, {"s1": "6", "s2": "2"}),
        ({"s1": "-6", "s2": "-2"}, -4, {"s1": "-3", "s2": "-1"}),
        ({"s1": "0.5"}, 10, {"s1": "0.5"}),
        ({"s1": "-0.5"}, -10, {"s1": "-0.5"}),
        ({"s1": "10"}, -5, {}),
        ({"s1": "-10"}, 5, {}),
        ({"s1": "10", "s2": "-3"}, 5, {"s1": "5"}),
        ({"s1": "10", "s2": "-3"}, -5, {"s2": "-3"}),
        ({"s1": "0"}, 5, {}),
        ({"s1": "0"}, -5, {}),
        ({"s1": "10"}, 0, {}),
        ({"s1": "-10"}, 0, {}),
        ({}, 5, {}),
    ],
)
def test_still_owned_when_somebody_else_traded_then_never_more_than_is_held(
    owned: dict[str, str], held: int, expected: dict[str, str]
) -> None:
    """Each loses its share of what is gone; what was bought and is held the other way round is nobody's."""
    claims = {(owner, "AAPL"): Decimal(qty) for owner, qty in owned.items()}
    found = still_owned(claims, {"AAPL": make_position("AAPL", held)})
    assert found == {(owner, "AAPL"): Decimal(qty) for owner, qty in expected.items()}


def test_still_owned_when_two_symbols_are_held_then_each_for_itself() -> None:
    """Shares of one symbol are no claim to another; what is not held at all is gone."""
    claims = {("s1", "AAPL"): Decimal(10), ("s1", "T"): Decimal(4), ("s1", "IBM"): Decimal(7)}
    positions = {"AAPL": make_position("AAPL", 5), "T": make_position("T", 4)}
    assert still_owned(claims, positions) == {("s1", "AAPL"): Decimal(5), ("s1", "T"): Decimal(4)}
