"""At least one lot must be left; the reason is the constraint that left none."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "qty_below_min"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    if context.size is None or context.size.qty > 0:
        return None
    return context.size.reason or REASON
