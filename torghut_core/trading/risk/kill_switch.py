"""Nothing is ordered while the kill switch is on, whatever else is set."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "kill_switch_enabled"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    return REASON if context.settings.kill_switch_enabled else None
