"""MACD crossing its signal line while RSI14 was recently at an extreme.

Buy when MACD crosses above its signal line on this bar (at or below it on the bar before) and RSI14 was below
`oversold` (35) on this bar or one of the `within_bars` (30) bars before it. Sell when MACD crosses below and RSI14 was
above `overbought` (65) in the same span. RSI is slow to leave an extreme and MACD slow to cross, so the two rarely
meet on one bar; what is asked is that the cross follows the extreme. The level alone never proposes: five bars above
the line are one proposal, not five.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from torghut_core.errors import InputError
from torghut_core.trading.model import Proposal, Signal


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Thresholds of the rule: RSI 0–100, and how many bars back an extreme still counts."""

    oversold: float = 35.0
    overbought: float = 65.0
    within_bars: int = 30


def read_parameters(given: Mapping[str, Any]) -> Parameters:
    """Return the rule's parameters. Raises InputError naming the key and the rule it breaks."""
    known = {item.name for item in fields(Parameters)}
    for key, value in given.items():
        if key not in known:
            raise InputError(f"parameters.{key}: macd-rsi takes {', '.join(sorted(known))}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"parameters.{key}={value!r}: must be a number")
    parameters = Parameters(**given)
    if not 0 <= parameters.oversold < parameters.overbought <= 100:
        raise InputError("parameters: must be 0 <= oversold < overbought <= 100")
    if not isinstance(parameters.within_bars, int) or not 0 <= parameters.within_bars <= 500:
        raise InputError(f"parameters.within_bars={parameters.within_bars}: must be a whole number from 0 to 500")
    return parameters


def propose(window: Sequence[Signal], given: Mapping[str, Any]) -> Proposal | None:
    """Return what the rule wants on the last signal of `window` (time order), None when nothing changed."""
    if len(window) < 2:
        return None
    parameters = read_parameters(given)
    before, now = _distance(window[-2]), _distance(window[-1])
    if before is None or now is None:
        return None
    recent = [signal.rsi14 for signal in window[-1 - parameters.within_bars :] if signal.rsi14 is not None]
    if not recent:
        return None
    if before <= 0 < now and min(recent) < parameters.oversold:
        return Proposal(side="buy", rationale="macd_cross_up,rsi_oversold")
    if before >= 0 > now and max(recent) > parameters.overbought:
        return Proposal(side="sell", rationale="macd_cross_down,rsi_overbought")
    return None


def _distance(signal: Signal) -> float | None:
    if signal.macd is None or signal.macd_signal is None:
        return None
    return signal.macd - signal.macd_signal
