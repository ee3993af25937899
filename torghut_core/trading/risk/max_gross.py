"""All that is held and on its way, long and short, stays within the gross cap."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "gross_exposure_capacity_exhausted"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    if context.caps is None or context.caps.gross is None or context.result is None:
        return None
    return REASON if context.result.gross > context.caps.gross else None
