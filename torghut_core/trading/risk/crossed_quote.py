"""A bid above the ask is two markets that have not met: no price."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "crossed_quote"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    return REASON if context.quote.is_crossed else None
