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


def _candidates(columns: Columns, **_: float) -> Mask:
    """Return where MACD is on another side of its signal line than on the bar before."""
    import numpy as np

    distance = columns["macd"] - columns["macd_signal"]
    before, now = distance[:-1], distance[1:]
    crossed = ((before <= 0) & (now > 0)) | ((before >= 0) & (now < 0))
    return np.concatenate([np.zeros(min(1, len(distance)), dtype=np.bool_), crossed])


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
