"""Our trades against the account's activities at the broker: what is not in both, or not the same. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal, Protocol

from torghut_core.market_calendar import new_york_date
from torghut_core.trading.model import Side
from torghut_core.trading.money.events import Trade
from torghut_core.trading.money.fees import Fees

ZERO = Decimal(0)
_CENT = Decimal("0.01")
_TINY = Decimal("0.00000001")
What = Literal["fill_not_heard", "fill_not_at_broker", "qty_differs", "price_differs", "fees_differ"]


class Activity(Protocol):
    """What the comparison reads of an activity."""

    @property
    def kind(self) -> str: ...
    @property
    def at_ns(self) -> int | None: ...
    @property
    def day(self) -> date | None: ...
    @property
    def order_id(self) -> str: ...
    @property
    def symbol(self) -> str: ...
    @property
    def side(self) -> Side: ...
    @property
    def qty(self) -> Decimal: ...
    @property
    def price(self) -> Decimal: ...
    @property
    def net_amount(self) -> Decimal: ...


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that is not the same: `about` is an order's id or a day."""

    what: What
    about: str
    symbol: str | None
    ours: Decimal | None
    broker: Decimal | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What differs, and the fills of orders that are not ours: people's, and other programs'."""

    differences: tuple[Difference, ...]
    compared_orders: int
    foreign_fills: int


@dataclass
class _Sum:
    symbol: str
    qty: Decimal = ZERO
    value: Decimal = ZERO


def compare(
    trades: Iterable[Trade],
    activities: Iterable[Activity],
    *,
    own_orders: Iterable[str],
    charged: Mapping[date, Fees],
) -> Comparison:
    """Compare a span's trades and fees with its activities. `own_orders` are the ids of all our orders, filled or not.

    Quantities and average prices are compared by order, since readings and fills come in other pieces; fees by day,
    where the broker booked any at all: on paper it books none.
    """
    ours, theirs = _by_order(trades), dict[str, _Sum]()
    known, foreign, booked = {*own_orders, *ours}, 0, dict[date, Decimal]()
    for item in activities:
        if item.kind == "FEE":
            if item.day is not None:
                booked[item.day] = booked.get(item.day, ZERO) - item.net_amount
        elif item.order_id not in known:
            foreign += 1
        else:
            total = theirs.setdefault(item.order_id, _Sum(item.symbol))
            total.qty += item.qty
            total.value += item.qty * item.price
    found = [difference for order in sorted({*ours, *theirs}) for difference in _order(order, ours, theirs)]
    if booked:
        found += _fees(charged, booked)
    return Comparison(differences=tuple(found), compared_orders=len({*ours, *theirs}), foreign_fills=foreign)


def _by_order(trades: Iterable[Trade]) -> dict[str, _Sum]:
    found: dict[str, _Sum] = {}
    for trade in trades:
        total = found.setdefault(trade.order_id, _Sum(trade.symbol))
        total.qty += trade.qty
        total.value += trade.qty * trade.price
    return found


def _order(order: str, ours: Mapping[str, _Sum], theirs: Mapping[str, _Sum]) -> list[Difference]:
    own, broker = ours.get(order), theirs.get(order)
    if own is None or broker is None:
        one = own or broker
        assert one is not None
        what: What = "fill_not_heard" if own is None else "fill_not_at_broker"
        return [
            Difference(
                what=what,
                about=order,
                symbol=one.symbol,
                ours=None if own is None else own.qty,
                broker=None if broker is None else broker.qty,
            )
        ]
    if abs(own.qty - broker.qty) > _TINY:
        return [Difference(what="qty_differs", about=order, symbol=own.symbol, ours=own.qty, broker=broker.qty)]
    # The broker tells an average rounded to a few places: what it comes to over the order may differ by a cent.
    if abs(own.value - broker.value) > max(_CENT, own.value * Decimal("0.000001")):
        prices = own.value / own.qty, broker.value / broker.qty
        return [Difference(what="price_differs", about=order, symbol=own.symbol, ours=prices[0], broker=prices[1])]
    return []


def _fees(charged: Mapping[date, Fees], booked: Mapping[date, Decimal]) -> list[Difference]:
    days = sorted({*booked, *(day for day, fees in charged.items() if fees.total)})
    return [
        Difference(
            what="fees_differ",
            about=day.isoformat(),
            symbol=None,
            ours=charged.get(day, Fees()).total,
            broker=booked.get(day, ZERO),
        )
        for day in days
        if abs(charged.get(day, Fees()).total - booked.get(day, ZERO)) > _TINY
    ]


def in_span(at_ns: int, first: date, last: date) -> bool:
    """Tell whether an instant lies in the New York days `first` to `last`, both included."""
    return first <= new_york_date(at_ns) <= last
