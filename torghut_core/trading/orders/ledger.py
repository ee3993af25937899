"""What follows from what was heard of orders: their state, the fills, positions, profit. Pure.

Readings come twice, late and in any order, from answers, polls and a stream. The fold gives the same whatever the order:
of the fills the most, of the states the one that is furthest along. So an older reading never wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from torghut_core.trading.model import TERMINAL_ORDER_STATES, Side

ZERO = Decimal(0)
_PROGRESS = (
    "pending_new",
    "accepted",
    "accepted_for_bidding",
    "new",
    "held",
    "partially_filled",
    "pending_replace",
    "stopped",
    "suspended",
    "calculated",
    "done_for_day",
    "pending_cancel",
    "replaced",
    "rejected",
    "expired",
    "canceled",
    "filled",
)
_RANK = {status: rank for rank, status in enumerate(_PROGRESS)}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What was once said of an order."""

    status: str
    qty: Decimal
    filled_qty: Decimal
    average_price: Decimal | None
    updated_ns: int
    """The broker's own time of the change; 0 when it was not said."""

    @property
    def _order(self) -> tuple[bool, Decimal, int, int, str]:
        is_final = self.status in TERMINAL_ORDER_STATES
        return is_final, self.filled_qty, self.updated_ns, _RANK.get(self.status, -1), self.status


def fold(readings: Iterable[Reading]) -> Reading:
    """Return the state of an order after all its readings, at least one, in any order.

    Each part is the greatest over the readings as they were heard: what was put together from several is compared with
    nothing, or the order of hearing would count.
    """
    heard = tuple(readings)
    if not heard:
        raise ValueError("an order without a reading has no state")
    filled = max(heard, key=lambda reading: (reading.filled_qty, reading.updated_ns, reading._order))
    return Reading(
        status=max(heard, key=lambda reading: reading._order).status,
        qty=max(reading.qty for reading in heard),
        filled_qty=filled.filled_qty,
        average_price=filled.average_price,
        updated_ns=max(reading.updated_ns for reading in heard),
    )


@dataclass(frozen=True, kw_only=True)
class Fill:
    """Shares that changed hands at a price."""

    symbol: str
    side: Side
    qty: Decimal
    price: Decimal


def fills(symbol: str, side: Side, readings: Iterable[Reading]) -> tuple[Fill, ...]:
    """Return the fills of one order, from the cumulative figures of its readings in the order they were heard.

    A reading that knows less than one before it adds nothing.
    """
    found: list[Fill] = []
    done, paid = ZERO, ZERO
    for reading in readings:
        if reading.filled_qty <= done or reading.average_price is None:
            continue
        value = reading.filled_qty * reading.average_price
        qty = reading.filled_qty - done
        found.append(Fill(symbol=symbol, side=side, qty=qty, price=(value - paid) / qty))
        done, paid = reading.filled_qty, value
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Lot:
    """A position and what came of it: signed shares, their signed cost, and the profit realised so far, dollars."""

    qty: Decimal = ZERO
    cost: Decimal = ZERO
    realised: Decimal = ZERO

    @property
    def average_price(self) -> Decimal | None:
        return self.cost / self.qty if self.qty else None

    def after(self, side: Side, qty: Decimal, price: Decimal) -> Lot:
        """Return the lot after a fill, at average cost."""
        signed = qty if side == "buy" else -qty
        left = self.qty + signed
        if self.qty * signed >= 0:
            return Lot(qty=left, cost=self.cost + signed * price, realised=self.realised)
        closed = min(abs(signed), abs(self.qty)) * (1 if self.qty > 0 else -1)
        average = self.cost / self.qty
        realised = self.realised + closed * (price - average)
        if left * self.qty >= 0:
            return Lot(qty=left, cost=left * average, realised=realised)
        return Lot(qty=left, cost=left * price, realised=realised)


def positions(all_fills: Iterable[Fill]) -> Mapping[str, Lot]:
    """Return each symbol's lot after the fills, in their order."""
    lots: dict[str, Lot] = {}
    for fill in all_fills:
        lots[fill.symbol] = lots.get(fill.symbol, Lot()).after(fill.side, fill.qty, fill.price)
    return lots
