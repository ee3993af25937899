"""After a loss limit was reached nothing is opened until a person resumes."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "loss_limit_latched"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    return REASON if context.control.loss_limit is not None else None
