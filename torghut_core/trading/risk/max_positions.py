"""No more symbols than TRADING_PORTFOLIO_MAX_POSITIONS are held or on their way."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "max_positions_exceeded"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    if context.caps is None or context.caps.positions is None or context.result is None or context.book is None:
        return None
    is_new = context.symbol not in context.book.symbols
    return REASON if is_new and len(context.result.symbols) > context.caps.positions else None
