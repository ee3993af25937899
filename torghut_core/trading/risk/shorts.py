"""Without TRADING_ALLOW_SHORTS no sell of anyone may leave less than nothing held; a fraction is never sold short."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "shorts_not_allowed"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    if context.side != "sell" or context.result is None:
        return None
    low, _ = context.result.span(context.symbol)
    if low >= 0:
        return None
    if not context.settings.allow_shorts or context.qty != context.qty.to_integral_value():
        return REASON
    return None
