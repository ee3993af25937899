"""Where the strategies could want something, by their own masks over whole columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from torghut_core.errors import InputError
from torghut_core.trading.backtest.recording import Series
from torghut_core.trading.model import Strategy
from torghut_core.trading.strategies.rule import Rule

Judge = tuple[Strategy, Rule]


def looks_at(strategy: Strategy, series: Series) -> bool:
    """Tell whether a strategy looks at a series."""
    return strategy.timeframe == series.timeframe and (not strategy.symbols or series.symbol in strategy.symbols)


def candidates(judges: Sequence[Judge], series: Series) -> NDArray[np.int64]:
    """Return the places of the rows on which one of the strategies could want something.

    Raises InputError when a strategy's own mask is none.
    """
    mask = np.zeros(len(series), np.bool_)
    for strategy, rule in judges:
        if not looks_at(strategy, series):
            continue
        try:
            found = rule.candidates({**series.columns, "event_ns": series.event_ns})  # type: ignore[dict-item]  # times are whole numbers
        except Exception as error:
            raise InputError(f"{strategy.name}: candidates raised {type(error).__name__}: {error}"[:300]) from error
        if found is None:
            mask[:] = True
            continue
        if found.shape != mask.shape or found.dtype != np.bool_:
            raise InputError(f"{strategy.name}: candidates must be one truth value for each of {len(series)} rows")
        mask |= found
    return np.flatnonzero(mask)


def lookback(judges: Sequence[Judge]) -> int:
    """Return how many rows a window holds, that the longest rule sees what it needs."""
    return max((rule.lookback for _, rule in judges), default=1)
