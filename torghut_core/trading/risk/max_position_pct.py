"""The position after the fill stays within the smaller share of equity, unless the order shrinks it."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "max_position_pct_exceeded"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    shares = (context.intent.strategy.max_position_pct_equity, context.settings.max_position_pct_equity)
    share = min((share for share in shares if share is not None), default=None)
    if share is None or context.price is None or context.book is None:
        return None
    after = abs(context.book.position_qty + context.signed_qty) * context.price
    if after <= abs(context.book.position_qty) * context.price:
        return None
    return REASON if after > context.book.equity * share else None
