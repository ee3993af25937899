"""An entry is paid by what nobody else was promised: cash, or buying power where margin is allowed.

The price may move before the fill: 25 basis points are kept for that."""

from __future__ import annotations

from torghut_core.trading.decision.book import PRICE_SLACK
from torghut_core.trading.risk.context import GateContext

REASON = "insufficient_buying_power"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    if context.book is None or context.notional is None:
        return None
    spendable = context.book.spendable(context.side, allow_margin=context.settings.allow_margin)
    return REASON if context.notional * (1 + PRICE_SLACK) > spendable else None
