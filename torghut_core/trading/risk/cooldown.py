"""A strategy waits TRADING_COOLDOWN_SECONDS after its last order in the symbol; its own row does not count."""

from __future__ import annotations

from torghut_core.clock import NANOS_PER_SECOND
from torghut_core.trading.risk.context import GateContext

REASON = "cooldown_active"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    wait = context.settings.cooldown_seconds
    if wait <= 0 or context.last_order_ns is None:
        return None
    return REASON if context.now_ns - context.last_order_ns < wait * NANOS_PER_SECOND else None
