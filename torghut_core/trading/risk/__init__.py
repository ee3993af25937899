"""The gates between an intent and the broker, one file each: `check(context)` returns a reason to refuse, or None.

All that a leg obeys are asked, in this order, and every reason is recorded: an operator sees what else would have
refused. An exit obeys `EXIT_GATES` and nothing else; caps, prices and reviews are for what opens.
"""

from __future__ import annotations

from collections.abc import Callable

from torghut_core.trading.risk import (
    account_unavailable,
    borrowing,
    buying_power,
    cooldown,
    crossed_quote,
    emergency_stop,
    flattening,
    kill_switch,
    late_order,
    leadership,
    live_trading,
    loss_limit,
    market_closed,
    max_gross,
    max_net,
    max_notional,
    max_position_pct,
    max_positions,
    max_strategy,
    max_symbol,
    missing_price,
    open_order_conflict,
    opposite_holding,
    quantity,
    shorts,
    signal_not_warm,
    signal_stale,
    spread_too_wide,
    strategy_disabled,
    symbol_not_allowed,
    trading_disabled,
    trading_stopped,
    unknown_order,
)
from torghut_core.trading.risk.context import GateContext

Gate = Callable[[GateContext], str | None]

EXIT_GATES: tuple[Gate, ...] = (
    trading_disabled.check,
    kill_switch.check,
    trading_stopped.check,
    live_trading.check,
    leadership.check,
    market_closed.check,
    account_unavailable.check,
    unknown_order.check,
)
ENTRY_GATES: tuple[Gate, ...] = (
    *EXIT_GATES,
    strategy_disabled.check,
    symbol_not_allowed.check,
    loss_limit.check,
    emergency_stop.check,
    late_order.check,
    flattening.check,
    signal_stale.check,
    signal_not_warm.check,
    missing_price.check,
    crossed_quote.check,
    spread_too_wide.check,
    quantity.check,
    opposite_holding.check,
    shorts.check,
    borrowing.check,
    max_notional.check,
    max_position_pct.check,
    max_symbol.check,
    max_strategy.check,
    max_gross.check,
    max_net.check,
    max_positions.check,
    buying_power.check,
    open_order_conflict.check,
    cooldown.check,
)


def refusals(context: GateContext) -> tuple[str, ...]:
    """Return the reasons of every gate that says no, each once; empty when the order may go."""
    gates = EXIT_GATES if context.leg == "exit" else ENTRY_GATES
    return tuple(dict.fromkeys(reason for gate in gates if (reason := gate(context)) is not None))
