"""Whoever does not hold the leader's lock orders nothing."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "not_leader"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    return None if context.is_leader else REASON
