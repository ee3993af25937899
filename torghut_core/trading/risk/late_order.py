"""An order that arrived after it had been given up is more than was planned: nothing is opened beside it."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "order_arrived_late"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    return REASON if context.control.has_late_order else None
