"""Turns what was heard of orders, cumulative and in any order, into the trades it stands for, each once."""

from __future__ import annotations

from decimal import Decimal

from torghut_core.trading.model import Leg, Side
from torghut_core.trading.money.events import Trade

ZERO = Decimal(0)


class Tape:
    """Remembers of each order what was traded already; a reading that knows less than one before it adds nothing."""

    def __init__(self) -> None:
        self._done: dict[str, tuple[Decimal, Decimal]] = {}

    def hear(
        self,
        *,
        at_ns: int,
        order_id: str,
        strategy: str | None,
        symbol: str,
        side: Side,
        leg: Leg,
        filled_qty: Decimal,
        average_price: Decimal | None,
    ) -> Trade | None:
        """Return the trade that this reading adds to the order's former ones, None when it adds none."""
        qty, value = self._done.get(order_id, (ZERO, ZERO))
        if average_price is None or filled_qty <= qty:
            return None
        total = filled_qty * average_price
        self._done[order_id] = (filled_qty, total)
        added = filled_qty - qty
        return Trade(
            at_ns=at_ns,
            order_id=order_id,
            strategy=strategy,
            symbol=symbol,
            side=side,
            leg=leg,
            qty=added,
            price=(total - value) / added,
        )
