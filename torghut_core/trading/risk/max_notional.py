"""An order that opens exposure stays within the smaller of the strategy's and the global cap."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "max_notional_exceeded"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    caps = (context.intent.strategy.max_notional_per_trade, context.settings.max_notional_per_trade)
    cap = min((cap for cap in caps if cap is not None), default=None)
    if cap is None or context.notional is None or not context.opens_exposure:
        return None
    return REASON if context.notional > cap else None
