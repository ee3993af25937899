"""Nothing is ordered unless TRADING_ENABLED is true."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "trading_disabled"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    return None if context.settings.enabled else REASON
