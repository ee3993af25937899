"""Reads the book: open orders, positions and account from the broker, claims and fills from PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from torghut_core.trading.decision.book import ZERO, Book
from torghut_core.trading.decision.desk import open_book
from torghut_core.trading.inputs.signals import PriceReader
from torghut_core.trading.model import Order, Snapshot
from torghut_core.trading.money.account import Key
from torghut_core.trading.orders.broker import Brokerage, BrokerUnavailableError
from torghut_core.trading.parts import Parts
from torghut_core.trading.settings import check_broker_account
from torghut_core.trading.store.money import Shares

_NO_SHARES = Shares(lots={}, owned={}, newest={})


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A book, None when the broker could not be read; the open orders in it; and symbols with an unknown order."""

    book: Book | None
    orders: tuple[Order, ...] = ()
    unknown_symbols: frozenset[str] = frozenset()
    shares: Shares = _NO_SHARES
    """Whose the shares are, by order events."""
    moving: frozenset[str] = frozenset()
    """Symbols of which an order of ours is on its way, or was heard of while this was read."""


async def read_book(parts: Parts, symbols: Iterable[str]) -> Reading:
    """Return the book as it is now; `symbols` are those about to be traded.

    Claims first, then open orders, positions, account: what fills in between counts twice, never not at all. Raises
    EngineUnavailableError and ConfigurationError, when the account is another one; a broker out of reach is no book.
    """
    claims = await asyncio.to_thread(parts.orders.open_claims)
    unknown = frozenset(claim.symbol for claim in claims)
    if parts.broker is None:
        return Reading(book=None, unknown_symbols=unknown)
    before = await asyncio.to_thread(parts.money.shares)
    try:
        snapshot = await _snapshot(parts, parts.broker)
    except BrokerUnavailableError as error:
        parts.state.failed("broker", error)
        return Reading(book=None, unknown_symbols=unknown)
    executions = await asyncio.to_thread(parts.orders.open_executions)
    shares = await asyncio.to_thread(parts.money.shares)
    strategies = {item.client_order_id: str(item.strategy_id) for item in claims if item.strategy_id is not None}
    strategies |= {item.client_order_id: str(item.strategy_id) for item in executions if item.strategy_id is not None}
    unpriced = {order.symbol for order in snapshot.orders} | {claim.symbol for claim in claims} | set(symbols)
    heard = {symbol for symbol, place in shares.newest.items() if before.newest.get(symbol) != place}
    moving = heard | {item.symbol for item in claims} | {item.symbol for item in executions}
    return Reading(
        book=open_book(
            snapshot,
            claims=claims,
            strategies=strategies,
            owned=_wider(before.owned, shares.owned),
            prices=await _prices(parts, parts.prices, unpriced - set(snapshot.positions)),
            known=executions,
            averages={key: abs(lot.average_price) for key, lot in shares.lots.items() if lot.average_price is not None},
        ),
        orders=snapshot.orders,
        unknown_symbols=unknown,
        shares=shares,
        moving=frozenset(moving),
    )


def _wider(before: Mapping[Key, Decimal], after: Mapping[Key, Decimal]) -> dict[Key, Decimal]:
    """Return of two readings the larger part of each strategy: what it may own is nobody's to another."""
    if before is after:
        return dict(after)
    keys = {*before, *after}
    return {key: max(before.get(key, ZERO), after.get(key, ZERO), key=abs) for key in keys}


async def _snapshot(parts: Parts, broker: Brokerage) -> Snapshot:
    snapshot = await broker.snapshot()
    parts.state.succeeded("broker")
    check_broker_account(parts.settings, snapshot.account.number)
    return snapshot


async def _prices(parts: Parts, reader: PriceReader, symbols: set[str]) -> dict[str, Decimal]:
    """Return the newest bar's price of what is on its way and not held: the quotes of entries come from their signals."""
    if not symbols:
        return {}
    now_ns = parts.clock.now_ns()
    since_ns = now_ns - parts.settings.price_lookback_ns
    return await asyncio.to_thread(reader.prices, sorted(symbols), since_ns=since_ns, until_ns=now_ns)
