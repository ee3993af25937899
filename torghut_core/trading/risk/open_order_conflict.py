"""One order per symbol at a time: an open one, or one of unknown fate, blocks the next."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "open_order_conflict"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    return REASON if context.intent.symbol in context.busy_symbols else None
