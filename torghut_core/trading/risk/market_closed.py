"""Market orders wait for nobody: outside the regular session there is no order."""

from __future__ import annotations

from torghut_core.market_calendar import Session
from torghut_core.trading.risk.context import GateContext

REASON = "market_closed"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    return None if context.session is Session.REGULAR else REASON
