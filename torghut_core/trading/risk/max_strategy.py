"""A strategy's shares and orders together stay within its max_notional_total."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "strategy_capacity_exhausted"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    if context.caps is None or context.caps.strategy is None or context.result is None:
        return None
    return REASON if context.result.strategy_exposure(context.strategy.id) > context.caps.strategy else None
