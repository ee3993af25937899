"""Without a recent price there is no order."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "missing_price"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    return REASON if context.price is None or context.price <= 0 else None
