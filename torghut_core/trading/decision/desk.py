"""The book that a batch is judged against: what was read, what is claimed, and what this batch ordered since. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Protocol

from torghut_core.trading.decision.book import ZERO, Book, PendingOrder
from torghut_core.trading.model import Order, Position, Side, Snapshot


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
) -> Book:
    """Return the book: open orders of anyone once, claims that the broker does not list beside them.

    `strategies` are the strategies' ids by client order id. What a strategy owns is what it bought, as far as that is
    still held: shares that somebody else sold are nobody's.
    """
    listed = {order.client_order_id for order in snapshot.orders}
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
        owned=still_owned(owned, snapshot.positions),
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


def still_owned(
    owned: Mapping[tuple[str, str], Decimal], positions: Mapping[str, Position]
) -> dict[tuple[str, str], Decimal]:
    """Return what strategies own of what is held: never more in all than there is, each losing its share of the rest."""
    found: dict[tuple[str, str], Decimal] = {}
    for symbol, position in positions.items():
        claims = {
            key: qty for key, qty in owned.items() if key[1] == symbol and (qty > 0) == (position.qty > 0) and qty
        }
        total = sum((abs(qty) for qty in claims.values()), ZERO)
        share = min(Decimal(1), abs(position.qty) / total) if total else ZERO
        found |= {key: qty * share for key, qty in claims.items()} if position.qty else {}
    return found
