"""Without a reading of account and positions, or with a blocked account, there is no order."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "account_unavailable"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    if context.account is None or context.book is None:
        return REASON
    return "account_blocked" if context.account.is_blocked else None
