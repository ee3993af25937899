"""Asks every rule of every window, each for itself."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from torghut_core.logs import event
from torghut_core.trading.decision.intents import Intent, make_intent
from torghut_core.trading.model import Signal, Strategy
from torghut_core.trading.parts import Parts
from torghut_core.trading.strategies import RULES

_LOG = logging.getLogger(__name__)


def propose(parts: Parts, windows: Iterable[Sequence[Signal]], active: Sequence[Strategy]) -> list[Intent]:
    """Return what the strategies want on the last row of each window."""
    intents: list[Intent] = []
    for window in windows:
        signal = window[-1]
        for strategy in active:
            if strategy.timeframe != signal.timeframe:
                continue
            if strategy.symbols and signal.symbol not in strategy.symbols:
                continue
            try:
                proposal = RULES[strategy.rule](window, strategy.parameters)
            except Exception as error:  # noqa: BLE001  one rule on one symbol fails alone
                parts.metrics.add("rule_errors_total")
                event(
                    _LOG,
                    "rule_failed",
                    logging.ERROR,
                    strategy=strategy.name,
                    symbol=signal.symbol,
                    error_type=type(error).__name__,
                )
                continue
            if proposal is not None:
                intents.append(make_intent(strategy, signal, proposal, parts.settings.account_label))
    return intents
