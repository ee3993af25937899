"""Only symbols of the universe, and of the strategy's own list when it has one. An empty universe allows none."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "symbol_not_allowed"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    own = context.strategy.symbols
    is_allowed = context.symbol in context.universe and (not own or context.symbol in own)
    return None if is_allowed else REASON
