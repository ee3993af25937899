"""Without a quote on both sides, of the signal itself, there is no price to open at."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "missing_price"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    return None if context.quote.is_two_sided else REASON
