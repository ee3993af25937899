"""Small recordings made by hand: rows on which the shipped rule buys and sells, and a market around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from torghut_core.rfc3339 import parse_ns
from torghut_core.trading.backtest.recording import BAR_COLUMNS, Bars, Recording, Series
from torghut_core.trading.strategies.columns import ATTRIBUTES

OPEN_NS = parse_ns("2026-01-05T15:00:00Z")
SECOND_NS = 1_000_000_000


def series(symbol: str = "A", rows: Sequence[Mapping[str, float]] = (), *, start_ns: int = OPEN_NS) -> Series:
    """Return warm one-second rows, one a second, quoted 99.99 to 100.01 with 1000 shares unless they say otherwise."""
    plain: dict[str, float] = {
        "close": 100.0,
        "warm": 1,
        "imbalance_bid_px": 99.99,
        "imbalance_ask_px": 100.01,
        "imbalance_bid_sz": 1000,
        "imbalance_ask_sz": 1000,
        "macd_signal": 0.0,
    }
    columns = {name: np.array([{**plain, **row}.get(name, np.nan) for row in rows], np.float64) for name in ATTRIBUTES}
    return Series(symbol, "1Sec", start_ns + np.arange(len(rows), dtype=np.int64) * SECOND_NS, columns)


def bars(symbol: str = "A", rows: Sequence[Mapping[str, float]] = (), *, start_ns: int = OPEN_NS) -> Bars:
    """Return one-second bars, one a second."""
    plain: dict[str, float] = {"o": 100.0, "h": 100.5, "l": 99.5, "c": 100.0, "v": 1000}
    columns = {name: np.array([{**plain, **row}[name] for row in rows], np.float64) for name in BAR_COLUMNS}
    return Bars(symbol, "1Sec", start_ns + np.arange(len(rows), dtype=np.int64) * SECOND_NS, columns)


def crossing(
    count: int, *, up_at: Sequence[int] = (), down_at: Sequence[int] = (), **more: Any
) -> list[dict[str, float]]:
    """Return rows whose MACD crosses its signal line upward and downward at these places, with RSI at its extremes."""
    rows, macd = [], -1.0
    for at in range(count):
        macd = 1.0 if at in up_at else -1.0 if at in down_at else macd
        rows.append({"macd": macd, "rsi14": 20.0 if macd < 0 else 80.0, **more})
        if at in up_at:
            rows[-1]["rsi14"] = 20.0
    return rows


def recording(*found: Series, with_bars: Sequence[Bars] = ()) -> Recording:
    """Return a recording of rows alone: their quotes are the market."""
    return Recording(found, with_bars)
