"""The active strategies as a backtest asks them: where one could want something, and what it wants there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from torghut_core.trading.backtest.recording import Series
from torghut_core.trading.model import Strategy


def takers(strategies: Sequence[Strategy], series: Series) -> list[Strategy]:
    """Return the strategies that look at a series."""
    return [
        each
        for each in strategies
        if each.is_enabled
        and each.timeframe == series.timeframe
        and (not each.symbols or series.symbol in each.symbols)
    ]


def candidates(strategies: Sequence[Strategy], series: Series) -> NDArray[np.int64]:
    """Return the places of the rows on which one of the strategies could want something."""
    mask = np.zeros(len(series), np.bool_)
    for _ in takers(strategies, series):
        distance = series.columns["macd"] - series.columns["macd_signal"]
        before, now = distance[:-1], distance[1:]
        mask[1:] |= ((before <= 0) & (now > 0)) | ((before >= 0) & (now < 0))
    return np.flatnonzero(mask)


def lookback(strategies: Sequence[Strategy]) -> int:
    """Return how many rows the windows hold."""
    return 600 if strategies else 1
