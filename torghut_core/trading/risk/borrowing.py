"""A short sale needs shares that can be borrowed easily. In live trading, not knowing refuses."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

NOT_SHORTABLE = "local_symbol_not_shortable"
NOT_EASY = "local_symbol_not_easy_to_borrow"
UNKNOWN = "shorting_metadata_unavailable"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    if context.side != "sell" or not context.settings.allow_shorts:
        return None
    if context.asset is None:
        return UNKNOWN if context.settings.mode == "live" else None
    if not context.asset.is_shortable:
        return NOT_SHORTABLE
    return None if context.asset.is_easy else NOT_EASY
