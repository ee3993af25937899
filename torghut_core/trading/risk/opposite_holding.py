"""A signal against a holding only exits. What is left of it, another strategy's or promised to an open order,
is not sold by opening the other side."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "sell_inventory_unavailable"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    if context.book is None:
        return None
    held = context.book.held(context.symbol)
    is_against = held > 0 if context.side == "sell" else held < 0
    return REASON if is_against else None
