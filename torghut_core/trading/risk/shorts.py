"""Without TRADING_ALLOW_SHORTS only what is held, and not promised to another sell, may be sold."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "shorts_not_allowed"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    if context.intent.side != "sell" or context.settings.allow_shorts or context.book is None:
        return None
    return REASON if context.qty > context.book.position_qty - context.book.pending_sells else None
