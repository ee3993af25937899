"""What the symbol could be worth stays within TRADING_PORTFOLIO_MAX_NOTIONAL_PER_SYMBOL."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "symbol_capacity_exhausted"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    if context.caps is None or context.caps.symbol is None or context.result is None:
        return None
    return REASON if context.own_side_exposure > context.caps.symbol else None
