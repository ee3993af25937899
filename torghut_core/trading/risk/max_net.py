"""What the account could be long, or short, in all stays within the net cap on the side of the order."""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "net_exposure_capacity_exhausted"


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    if context.caps is None or context.caps.net is None or context.result is None:
        return None
    net = context.result.net(context.side)
    return REASON if (net if context.side == "buy" else -net) > context.caps.net else None
