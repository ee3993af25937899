"""Indicators that have not seen enough bars yet are not acted on."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "signal_not_warm"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    return None if context.signal is not None and context.signal.is_warm else REASON
