"""While the emergency stop holds nothing is opened."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "emergency_stop"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    return REASON if context.emergency_reasons else None
