"""An order of unknown fate on the symbol may still fill: nothing is added to it, and nothing closed beside it."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "open_order_conflict"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    return REASON if context.symbol in context.unknown_symbols else None
