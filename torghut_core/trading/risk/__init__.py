"""The gates between an intent and the broker, one file each: `check(context)` returns a reason to refuse, or None.

All are asked, in this order, and every reason is recorded: an operator sees what else would have refused.
"""

from __future__ import annotations

from collections.abc import Callable

from torghut_core.trading.risk import (
    account_unavailable,
    borrowing,
    buying_power,
    cooldown,
    kill_switch,
    leadership,
    live_trading,
    market_closed,
    max_notional,
    max_position_pct,
    missing_price,
    open_order_conflict,
    quantity,
    shorts,
    signal_not_warm,
    signal_stale,
    strategy_disabled,
    symbol_not_allowed,
    trading_disabled,
)
from torghut_core.trading.risk.context import GateContext

Gate = Callable[[GateContext], str | None]

GATES: tuple[Gate, ...] = (
    trading_disabled.check,
    kill_switch.check,
    live_trading.check,
    leadership.check,
    strategy_disabled.check,
    symbol_not_allowed.check,
    market_closed.check,
    signal_stale.check,
    signal_not_warm.check,
    missing_price.check,
    account_unavailable.check,
    quantity.check,
    max_notional.check,
    buying_power.check,
    max_position_pct.check,
    shorts.check,
    borrowing.check,
    open_order_conflict.check,
    cooldown.check,
)


def refusals(context: GateContext) -> tuple[str, ...]:
    """Return the reasons of every gate that says no, each once; empty when the order may go."""
    return tuple(dict.fromkeys(reason for gate in GATES if (reason := gate(context)) is not None))
