"""The book that a batch is judged against: what was read, what is claimed, and what this batch ordered since. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Protocol

from torghut_core.trading.decision.book import ZERO, Book, PendingOrder
from torghut_core.trading.model import Order, Position, Side, Snapshot


class Known(Protocol):
    """An order of ours as the store knows it: it may be further along at the broker."""

    @property
    def client_order_id(self) -> str: ...
    @property
    def symbol(self) -> str: ...
    @property
    def side(self) -> Side: ...
    @property
    def qty(self) -> Decimal: ...
    @property
    def filled_qty(self) -> Decimal: ...


class Claimed(Protocol):
    """An order of unknown fate, as the store tells of it."""

    @property
    def client_order_id(self) -> str: ...
    @property
    def symbol(self) -> str: ...
    @property
    def side(self) -> Side: ...
    @property
    def qty(self) -> Decimal: ...
    @property
    def price(self) -> Decimal | None: ...


def open_book(
    snapshot: Snapshot,
    *,
    claims: Iterable[Claimed],
    strategies: Mapping[str, str],
    owned: Mapping[tuple[str, str], Decimal],
    prices: Mapping[str, Decimal],
    known: Iterable[Known] = (),
    averages: Mapping[tuple[str, str], Decimal] | None = None,
) -> Book:
    """Return the book: open orders of anyone once, claims that the broker does not list beside them.

    `strategies` are the strategies' ids by client order id. What a strategy owns is what it bought, as far as that is
    still held: shares that somebody else sold are nobody's. `known` are our orders that were open when last heard of:
    what they may have traded since is counted for and against their strategies.
    """
    claims = tuple(claims)
    listed = {order.client_order_id for order in snapshot.orders}
    arriving, leaving = _unheard(snapshot, claims, tuple(known), strategies)
    own = still_owned(owned, snapshot.positions, leaving=leaving)
    sold = _sold(owned, snapshot.positions, leaving)
    pending = [_pending(order, strategies) for order in snapshot.orders if order.remaining > 0]
    pending += [
        PendingOrder(
            symbol=claim.symbol,
            side=claim.side,
            qty=claim.qty,
            price=claim.price,
            strategy_id=strategies.get(claim.client_order_id),
            is_in_account=False,
            is_unknown=True,
        )
        for claim in claims
        if claim.client_order_id not in listed
    ]
    return Book(
        account=snapshot.account,
        positions=snapshot.positions,
        orders=tuple(pending),
        prices=prices,
        owned=own,
        averages=_trusted(averages or {}, owned, snapshot.positions),
        arriving=arriving,
        leaving={key: qty - sold.get(key, ZERO) for key, qty in leaving.items()},
        unreadable=snapshot.unreadable,
    )


def _pending(order: Order, strategies: Mapping[str, str]) -> PendingOrder:
    prices = [price for price in (order.limit_price, order.stop_price) if price is not None]
    return PendingOrder(
        symbol=order.symbol,
        side=order.side,
        qty=order.remaining,
        price=max(prices, default=None),
        strategy_id=strategies.get(order.client_order_id),
    )


def _unheard(
    snapshot: Snapshot, claims: tuple[Claimed, ...], known: tuple[Known, ...], strategies: Mapping[str, str]
) -> tuple[dict[tuple[str, str], Decimal], dict[tuple[str, str], Decimal]]:
    """Return what strategies may have bought into holdings, and sold out of them, that was not heard of yet."""
    listed = {order.client_order_id: order for order in snapshot.orders}
    arriving: dict[tuple[str, str], Decimal] = {}
    leaving: dict[tuple[str, str], Decimal] = {}
    orders: list[tuple[Known | Claimed, Decimal, Decimal]] = [
        (order, order.qty - order.filled_qty, order.filled_qty) for order in known
    ]
    orders += [(claim, claim.qty, ZERO) for claim in claims]
    for order, left, heard in orders:
        strategy, position = strategies.get(order.client_order_id), snapshot.positions.get(order.symbol)
        if strategy is None or position is None or position.qty == 0:
            continue
        found = listed.get(order.client_order_id)
        qty = left if found is None else max(ZERO, found.filled_qty - heard)
        into = arriving if (order.side == "buy") == (position.qty > 0) else leaving
        if qty > 0:
            into[strategy, order.symbol] = into.get((strategy, order.symbol), ZERO) + qty
    return arriving, leaving


def _trusted(
    averages: Mapping[tuple[str, str], Decimal],
    owned: Mapping[tuple[str, str], Decimal],
    positions: Mapping[str, Position],
) -> dict[tuple[str, str], Decimal]:
    """Return the averages of symbols of which exactly what is held is the strategies': no split stands in between."""
    totals: dict[str, Decimal] = {}
    for (_, symbol), qty in owned.items():
        totals[symbol] = totals.get(symbol, ZERO) + qty
    exact = {symbol for symbol, position in positions.items() if totals.get(symbol) == position.qty}
    return {key: price for key, price in averages.items() if key[1] in exact}


def still_owned(
    owned: Mapping[tuple[str, str], Decimal],
    positions: Mapping[str, Position],
    *,
    leaving: Mapping[tuple[str, str], Decimal] | None = None,
) -> dict[tuple[str, str], Decimal]:
    """Return what strategies own of what is held: never more in all than there is, each losing its share of the rest.

    Who may have sold (`leaving`) loses first: it was most likely that.
    """
    found: dict[tuple[str, str], Decimal] = {}
    sold = _sold(owned, positions, leaving or {})
    by_symbol: dict[str, dict[tuple[str, str], Decimal]] = {}
    for key, qty in owned.items():
        by_symbol.setdefault(key[1], {})[key] = qty
    for symbol, position in positions.items():
        sign = 1 if position.qty > 0 else -1
        own = by_symbol.get(symbol, {})
        if not sold and len(own) == 1 and position.qty in own.values():
            found |= own if position.qty else {}
            continue
        claims = {
            key: qty - sign * sold.get(key, ZERO) for key, qty in own.items() if (qty > 0) == (position.qty > 0) and qty
        }
        total = sum((abs(qty) for qty in claims.values()), ZERO)
        share = min(Decimal(1), abs(position.qty) / total) if total else ZERO
        found |= {key: qty * share for key, qty in claims.items() if qty} if position.qty else {}
    return found


def _sold(
    owned: Mapping[tuple[str, str], Decimal],
    positions: Mapping[str, Position],
    leaving: Mapping[tuple[str, str], Decimal],
) -> dict[tuple[str, str], Decimal]:
    """Return how much of what strategies may have sold is missing among what is held: so much they did sell."""
    missing = {symbol: -abs(position.qty) for symbol, position in positions.items()}
    for (_, symbol), qty in owned.items():
        if symbol in missing and qty * positions[symbol].qty > 0:
            missing[symbol] += abs(qty)
    found: dict[tuple[str, str], Decimal] = {}
    for key, qty in leaving.items():
        symbol, own = key[1], owned.get(key, ZERO)
        if symbol in missing and own * positions[symbol].qty > 0 and missing[symbol] > 0:
            found[key] = min(qty, missing[symbol], abs(own))
            missing[symbol] -= found[key]
    return found
