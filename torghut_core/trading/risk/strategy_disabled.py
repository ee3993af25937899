"""A disabled strategy opens nothing, not even what it proposed before it was disabled."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "strategy_disabled"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    return None if context.strategy.is_enabled else REASON
