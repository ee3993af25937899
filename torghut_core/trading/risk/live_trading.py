"""Live orders need every live switch, and a broker account that has been confirmed; a paper order too
waits until the broker said whose account it is."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "live_trading_disabled"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    settings = context.settings
    is_live = settings.mode == "live" or settings.is_live_broker
    if is_live and not (settings.mode == "live" and settings.live_enabled and settings.is_live_broker):
        return REASON
    return None if context.is_account_confirmed else REASON
