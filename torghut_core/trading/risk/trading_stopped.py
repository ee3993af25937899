"""Nothing is ordered while a recorded stop stands, whoever leads.

Where this process itself is switched off the stop is only the record of that, and the switch is the reason."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "trading_stopped"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    settings = context.settings
    is_switched_off = not settings.enabled or settings.kill_switch_enabled or context.control.is_killed
    return REASON if context.control.is_stopped and not is_switched_off else None
