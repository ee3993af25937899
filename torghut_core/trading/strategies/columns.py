"""The columns of `ta_signals` by which rules speak of a bar, and a series of bars as arrays. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torghut_core.trading.model import Signal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ATTRIBUTES: Mapping[str, str] = {
    "close": "close",
    "macd": "macd",
    "macd_signal": "macd_signal",
    "macd_hist": "macd_hist",
    "ema12": "ema12",
    "ema26": "ema26",
    "rsi14": "rsi14",
    "boll_mid": "boll_mid",
    "boll_upper": "boll_upper",
    "boll_lower": "boll_lower",
    "vwap_session": "vwap_session",
    "vwap_w5m": "vwap_w5m",
    "imbalance_spread": "imbalance_spread",
    "imbalance_bid_px": "bid",
    "imbalance_ask_px": "ask",
    "imbalance_bid_sz": "imbalance_bid_sz",
    "imbalance_ask_sz": "imbalance_ask_sz",
    "imbalance_ratio": "imbalance_ratio",
    "vol_realized_w60s": "volatility",
    "warm": "is_warm",
}
"""Fields of a signal by the ClickHouse name of their column."""


def columns_of(signals: Sequence[Signal]) -> dict[str, NDArray[np.float64]]:
    """Return the signals of one symbol, in time order, as float arrays by column, null as NaN; `event_ns` is int64."""
    import numpy as np

    columns = {
        column: np.array([getattr(signal, attribute) for signal in signals], dtype=np.float64)
        for column, attribute in ATTRIBUTES.items()
    }
    columns["event_ns"] = np.array([signal.event_ns for signal in signals], dtype=np.int64)
    return columns
