"""One order stays within the smaller of the strategy's and the global cap."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "max_notional_exceeded"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    if context.caps is None or context.caps.trade is None or context.notional is None:
        return None
    return REASON if context.notional > context.caps.trade else None
