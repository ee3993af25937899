"""A breakout from the range of the first minutes.

The range is the highest and the lowest close of the bars that end in the first `range_minutes` (15) of the regular
session; signals carry closes, not highs and lows. Buy when a bar closes above the range and the bar before did not,
until `entry_minutes` (180) after the open, while nothing is held. The stop is the range's low, the target
`target_ranges` (2) times the range's height above its high. Sell what is held `exit_minutes` (10) before the close.

Half of the range's minutes must have a bar, else there is no range to break out of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torghut_core.trading.model import Proposal
from torghut_core.trading.strategies.definition import strategy
from torghut_core.trading.strategies.parameters import Parameter
from torghut_core.trading.strategies.rule import View
from torghut_core.trading.strategies.sessions import (
    NANOS_PER_MINUTE,
    minutes_from_open_of,
    minutes_to_close_of,
)

if TYPE_CHECKING:
    from torghut_core.trading.strategies.rule import Columns, Mask

_SESSION_BARS = 400
"""A regular session of minute bars and some before it."""


def _check(*, range_minutes: int, entry_minutes: int, **_: float) -> str | None:
    return None if range_minutes < entry_minutes else "must be range_minutes < entry_minutes"


def _candidates(columns: Columns, *, range_minutes: int, entry_minutes: int, exit_minutes: int, **_: float) -> Mask:
    """Return the rows after the range that close higher than the row before, and those near the close."""
    import numpy as np

    ns, close = columns["event_ns"], columns["close"]
    since, left = minutes_from_open_of(ns), minutes_to_close_of(ns)  # type: ignore[arg-type]
    rises = np.concatenate([np.zeros(min(1, len(close)), dtype=np.bool_), close[1:] > close[:-1]])
    found: Mask = ((since > range_minutes) & (since <= entry_minutes) & rises) | (left <= exit_minutes)
    return found


@strategy(
    name="opening-range-breakout",
    version="1",
    lookback=_SESSION_BARS,
    timeframes=("1Min",),
    parameters=(
        Parameter(name="range_minutes", type=int, default=15, at_least=2, at_most=120, unit="minutes"),
        Parameter(name="entry_minutes", type=int, default=180, at_least=3, at_most=380, unit="minutes after the open"),
        Parameter(name="exit_minutes", type=int, default=10, at_least=1, at_most=120, unit="minutes before the close"),
        Parameter(name="target_ranges", type=float, default=2.0, at_least=0.1, at_most=20, unit="heights of the range"),
    ),
    check=_check,
    candidates=_candidates,
)
def propose(
    view: View,
    *,
    range_minutes: int = 15,
    entry_minutes: int = 180,
    exit_minutes: int = 10,
    target_ranges: float = 2.0,
) -> Proposal | None:
    """Return what the rule wants on the last bar, None when nothing changed."""
    since, left = view.minutes_from_open, view.minutes_to_close
    if since is None or left is None:
        return None
    if view.position is not None:
        if left > exit_minutes:
            return None
        return Proposal(side="sell" if view.position.qty > 0 else "buy", rationale="session_ends")
    if not range_minutes < since <= entry_minutes or left <= exit_minutes or len(view.window) < 2:
        return None
    open_ns = view.now_ns - round(since * NANOS_PER_MINUTE)
    ends_ns = open_ns + range_minutes * NANOS_PER_MINUTE
    closes = [bar.close for bar in view.window if open_ns < bar.event_ns <= ends_ns]
    if len(closes) * 2 < range_minutes:
        return None
    low, high = min(closes), max(closes)
    before, now = view.window[-2], view.signal
    if not before.close <= high < now.close or low == high:
        return None
    target = high + target_ranges * (high - low)
    if now.close >= target:
        return None
    return Proposal(side="buy", rationale="opening_range_broken_upwards", stop=low, target=target)
