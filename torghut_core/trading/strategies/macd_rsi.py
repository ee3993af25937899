"""MACD crossing its signal line while RSI14 was recently at an extreme.

Buy when MACD crosses above its signal line on this bar (at or below it on the bar before) and RSI14 was below
`oversold` (35) on this bar or one of the `within_bars` (30) bars before it. Sell when MACD crosses below and RSI14 was
above `overbought` (65) in the same span. RSI is slow to leave an extreme and MACD slow to cross, so the two rarely
meet on one bar; what is asked is that the cross follows the extreme. The level alone never proposes: five bars above
the line are one proposal, not five.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torghut_core.trading.model import Proposal, Signal
from torghut_core.trading.strategies.definition import strategy
from torghut_core.trading.strategies.parameters import Parameter
from torghut_core.trading.strategies.rule import View

if TYPE_CHECKING:
    from torghut_core.trading.strategies.rule import Columns, Mask


def _check(*, oversold: float, overbought: float, within_bars: int) -> str | None:  # noqa: ARG001
    return None if oversold < overbought else "must be 0 <= oversold < overbought <= 100"


def _lookback(*, within_bars: int, **_: float) -> int:
    return max(2, within_bars + 1)


def _candidates(columns: Columns, *, oversold: float, overbought: float, within_bars: int) -> Mask:
    """Return where MACD has come to another side of its signal line, and RSI14 was at that side's extreme in the span."""
    import numpy as np

    distance, rsi = columns["macd"] - columns["macd_signal"], columns["rsi14"]
    before, now = distance[:-1], distance[1:]
    found = np.zeros(len(distance), dtype=np.bool_)
    found[1:] = (before <= 0) & (now > 0) & _recently(rsi < oversold, within_bars)[1:]
    found[1:] |= (before >= 0) & (now < 0) & _recently(rsi > overbought, within_bars)[1:]
    return found


def _recently(is_so: Mask, bars: int) -> Mask:
    """Return where something was so on a bar or one of the `bars` before it."""
    import numpy as np

    count = np.cumsum(is_so)
    earlier = np.concatenate([np.zeros(bars + 1, dtype=count.dtype), count])[: len(count)]
    return count > earlier


@strategy(
    name="macd-rsi",
    version="1",
    lookback=_lookback,
    parameters=(
        Parameter(
            name="oversold",
            type=float,
            default=35.0,
            at_least=0,
            at_most=100,
            unit="RSI14",
            help="below it a rise counts",
        ),
        Parameter(
            name="overbought",
            type=float,
            default=65.0,
            at_least=0,
            at_most=100,
            unit="RSI14",
            help="above it a fall counts",
        ),
        Parameter(
            name="within_bars",
            type=int,
            default=30,
            at_least=0,
            at_most=500,
            unit="bars",
            help="how far back an extreme still counts",
        ),
    ),
    uses_position=False,
    check=_check,
    candidates=_candidates,
)
def propose(view: View, *, oversold: float = 35.0, overbought: float = 65.0, within_bars: int = 30) -> Proposal | None:
    """Return what the rule wants on the last bar, None when nothing changed."""
    window = view.window
    if len(window) < 2:
        return None
    before, now = _distance(window[-2]), _distance(window[-1])
    if before is None or now is None or not (before <= 0 < now or before >= 0 > now):
        return None
    recent = [signal.rsi14 for signal in window[-1 - within_bars :] if signal.rsi14 is not None]
    if not recent:
        return None
    if now > 0 and min(recent) < oversold:
        return Proposal(side="buy", rationale="macd_cross_up,rsi_oversold")
    if now < 0 and max(recent) > overbought:
        return Proposal(side="sell", rationale="macd_cross_down,rsi_overbought")
    return None


def _distance(signal: Signal) -> float | None:
    if signal.macd is None or signal.macd_signal is None:
        return None
    return signal.macd - signal.macd_signal
