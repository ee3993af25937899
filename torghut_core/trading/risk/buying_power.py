"""An order that opens exposure must be paid by buying power that is not promised to another order.

The price may move before the fill: 25 basis points are kept for that."""

from __future__ import annotations

from decimal import Decimal

from torghut_core.trading.risk.context import GateContext

REASON = "insufficient_buying_power"
PRICE_SLACK = Decimal("0.0025")


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    if context.account is None or context.notional is None or not context.opens_exposure:
        return None
    needed = context.notional * (1 + PRICE_SLACK)
    return REASON if needed > context.account.buying_power - context.reserved else None
