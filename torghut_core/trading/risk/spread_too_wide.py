"""A quote wider than TRADING_MAX_SPREAD_BPS is an invitation, not a price."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "spread_too_wide"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    spread = context.quote.spread_bps
    return REASON if spread is not None and spread > context.settings.max_spread_bps else None
