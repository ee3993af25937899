"""Without a reading of account, positions and open orders, or with a blocked account, there is no order.
What is held in a symbol without any price has no known exposure."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "account_unavailable"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    if context.book is None:
        return REASON
    if context.book.account.is_blocked:
        return "account_blocked"
    unknown = context.book.unpriced if context.leg == "entry" else context.book.unreadable & {context.symbol}
    return REASON if unknown else None
