"""What the symbol could be worth stays within the smaller share of equity."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "max_position_pct_exceeded"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    if context.caps is None or context.caps.position is None or context.result is None:
        return None
    return REASON if context.own_side_exposure > context.caps.position else None
