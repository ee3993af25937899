"""One entry per symbol at a time: an open order of anyone blocks the next."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "open_order_conflict"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    if context.book is None:
        return None
    return REASON if any(order.symbol == context.symbol for order in context.book.orders) else None
