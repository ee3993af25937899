"""Shortly before the close, when holdings are closed, nothing is opened."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "flattening_before_close"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    return REASON if context.is_flattening else None
