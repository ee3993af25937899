"""Nothing is ordered while the kill switch is on, in the environment or in the database."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "kill_switch_enabled"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    is_on = context.settings.kill_switch_enabled or context.control.is_killed
    return REASON if is_on else None
