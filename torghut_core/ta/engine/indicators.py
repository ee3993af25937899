"""Indicator kernels over all symbols: one pass over bars in event order, state in arrays indexed by symbol.

Compiled by numba; the loops below are the definition. NaN stands for null. Sources: EMA, MACD: Appel, seeded with the
first value; RSI: Wilder 1978, first averages the mean of the first 14 changes; Bollinger: population deviation over 20;
VWAP: Σ price·size / Σ size. Windows are half-open on the left: (t − w, t].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OUTPUTS = [
    "macd",
    "macd_signal",
    "macd_hist",
    "ema12",
    "ema26",
    "rsi14",
    "boll_mid",
    "boll_upper",
    "boll_lower",
    "vwap_session",
    "vwap_w5m",
    "vol_realized_w60s",
]
"""Columns of what `fold` returns, in order; the last one after these is `warm` (0 or 1)."""

WARM_BARS = 35
RSI_PERIOD = 14
BOLLINGER_PERIOD = 20
_TINY = 1e-250
"""Average changes below this stand still while the price does: their ratio is what counts, and denormals would lose it."""

# Columns of `State.scalars`.
_EMA12, _EMA26, _SIGNAL, _GAIN, _LOSS, _CLOSE, _SESSION_PS, _SESSION_S, _ANCHOR, _SIZED, _SCALARS = range(11)


@dataclass(frozen=True, kw_only=True)
class Cadence:
    """What differs between 1-second and 1-minute bars."""

    size: str
    """ISO 8601 duration, the rows' `window_size`."""
    seconds: int
    vwap_window_seconds: int = 300
    vol_window_seconds: int = 60
    """0 leaves `vol_realized_w60s` null."""

    @property
    def vwap_bars(self) -> int:
        """The most bars a VWAP window can hold."""
        return max(1, self.vwap_window_seconds // self.seconds)

    @property
    def vol_bars(self) -> int:
        return max(1, self.vol_window_seconds // self.seconds)


class State(NamedTuple):
    """Arrays of one cadence; the first axis is the symbol.

    `window_*` and `returns_*` hold the bars of the sliding windows contiguously between `low` and `high`; when `high`
    meets the end, what lies between moves to the front. `previous` is `scalars` as they were before the newest bar.
    """

    bars: Ints
    scalars: Floats
    previous: Floats
    closes: Floats
    window_end: Ints
    window_ps: Floats
    window_s: Floats
    window_bounds: Ints
    returns_end: Ints
    returns: Floats
    returns_bounds: Ints


class BarInputs(NamedTuple):
    """What the kernel needs of bars, shape (n,) each; a symbol's bars come with rising `end`."""

    symbol: Ints
    end: Ints
    """Epoch seconds of the window's end."""
    close: Floats
    price_size: Floats
    """Σ price·size."""
    size: Floats
    """Σ size."""
    anchor: Floats
    """Epoch seconds at which the VWAP session began that the bar belongs to."""
    is_revision: NDArray[np.bool_]
    """Whether the bar replaces the symbol's newest one."""


def _width(bars: int) -> int:
    """Return the room of a window that holds `bars` at most: it moves to the front each time it has slid a quarter."""
    return bars + max(8, bars // 4)


def new_state(symbols: int, cadence: Cadence) -> State:
    """Return empty state for `symbols` symbols: about 11 kB each for PT1S, 1 kB for PT1M."""
    wide, vol = _width(cadence.vwap_bars), _width(cadence.vol_bars)
    return State(
        bars=np.zeros(symbols, np.int64),
        scalars=np.zeros((symbols, _SCALARS)),
        previous=np.zeros((symbols, _SCALARS)),
        closes=np.zeros((symbols, BOLLINGER_PERIOD)),
        window_end=np.zeros((symbols, wide), np.int64),
        window_ps=np.zeros((symbols, wide)),
        window_s=np.zeros((symbols, wide)),
        window_bounds=np.zeros((symbols, 2), np.int64),
        returns_end=np.zeros((symbols, vol), np.int64),
        returns=np.zeros((symbols, vol)),
        returns_bounds=np.zeros((symbols, 2), np.int64),
    )


def grown(state: State, symbols: int) -> State:
    """Return the state with room for `symbols` symbols, the old ones in place; room costs no memory before it is used."""
    wider = State._make(np.zeros((symbols, *array.shape[1:]), array.dtype) for array in state)
    for array, old in zip(wider, state, strict=True):
        array[: len(old)] = old
    return wider


def taken(state: State, symbols: Ints) -> State:
    """Return copies of some symbols' state."""
    return State._make(array[symbols] for array in state)


def put_back(state: State, symbols: Ints, kept: State) -> None:
    """Restore what `taken` copied."""
    for array, old in zip(state, kept, strict=True):
        array[symbols] = old


@njit(cache=True, nogil=True)
def _window_sum(values: Any, row: int, low: int, high: int) -> float:
    # Four accumulators hide the latency of addition; their order is fixed, so the sum is the same on every machine.
    a = b = c = d = 0.0
    index = low
    while index + 4 <= high:
        a += values[row, index]
        b += values[row, index + 1]
        c += values[row, index + 2]
        d += values[row, index + 3]
        index += 4
    while index < high:
        a += values[row, index]
        index += 1
    return (a + b) + (c + d)


@njit(cache=True, nogil=True)
def _undo(state: Any, s: int) -> None:
    state.bars[s] -= 1
    state.window_bounds[s, 1] -= 1
    if state.bars[s] > 0 and state.returns_bounds[s, 1] > state.returns_bounds[s, 0]:
        state.returns_bounds[s, 1] -= 1
    for column in range(state.scalars.shape[1]):
        state.scalars[s, column] = state.previous[s, column]


@njit(cache=True, nogil=True)
def fold(state: Any, bars: Any, vwap_window: int, vol_window: int) -> Any:
    """Fold `BarInputs` into `state` and return one row of `OUTPUTS` and `warm` per bar, shape (n, 13)."""
    symbol, end, close, price_size, size, anchor, is_revision = bars
    out = np.empty((len(symbol), 13))
    for i in range(len(symbol)):
        s = symbol[i]
        if is_revision[i]:
            _undo(state, s)
        x = state.scalars[s]
        state.previous[s, :] = x
        n = state.bars[s]
        c = close[i]
        for column in range(12):
            out[i, column] = np.nan

        if n == 0:
            x[_EMA12] = c
            x[_EMA26] = c
            x[_SIGNAL] = 0.0
            x[_GAIN] = 0.0
            x[_LOSS] = 0.0
        else:
            x[_EMA12] += (c - x[_EMA12]) * (2.0 / 13.0)
            x[_EMA26] += (c - x[_EMA26]) * (2.0 / 27.0)
            x[_SIGNAL] += (x[_EMA12] - x[_EMA26] - x[_SIGNAL]) * (2.0 / 10.0)
            change = c - x[_CLOSE]
            gain = max(change, 0.0)
            loss = max(-change, 0.0)
            if n < RSI_PERIOD:
                x[_GAIN] += gain
                x[_LOSS] += loss
            elif n == RSI_PERIOD:
                x[_GAIN] = (x[_GAIN] + gain) / RSI_PERIOD
                x[_LOSS] = (x[_LOSS] + loss) / RSI_PERIOD
            elif change != 0.0 or x[_GAIN] + x[_LOSS] > _TINY:
                x[_GAIN] = (x[_GAIN] * (RSI_PERIOD - 1) + gain) / RSI_PERIOD
                x[_LOSS] = (x[_LOSS] * (RSI_PERIOD - 1) + loss) / RSI_PERIOD
        macd = x[_EMA12] - x[_EMA26]
        out[i, 0] = macd
        out[i, 1] = x[_SIGNAL]
        out[i, 2] = macd - x[_SIGNAL]
        out[i, 3] = x[_EMA12]
        out[i, 4] = x[_EMA26]
        if n >= RSI_PERIOD:
            total = x[_GAIN] + x[_LOSS]
            if total == 0.0:
                out[i, 5] = 50.0
            elif x[_LOSS] == 0.0:
                out[i, 5] = 100.0
            else:
                out[i, 5] = 100.0 * x[_GAIN] / total

        state.closes[s, n % BOLLINGER_PERIOD] = c
        if n + 1 >= BOLLINGER_PERIOD:
            mean = 0.0
            for k in range(BOLLINGER_PERIOD):
                mean += state.closes[s, (n + 1 + k) % BOLLINGER_PERIOD]
            mean /= BOLLINGER_PERIOD
            variance = 0.0
            for k in range(BOLLINGER_PERIOD):
                deviation = state.closes[s, (n + 1 + k) % BOLLINGER_PERIOD] - mean
                variance += deviation * deviation
            deviation = np.sqrt(variance / BOLLINGER_PERIOD)
            out[i, 6] = mean
            out[i, 7] = mean + 2.0 * deviation
            out[i, 8] = mean - 2.0 * deviation

        if n == 0 or x[_ANCHOR] != anchor[i]:
            x[_ANCHOR] = anchor[i]
            x[_SESSION_PS] = 0.0
            x[_SESSION_S] = 0.0
        x[_SESSION_PS] += price_size[i]
        x[_SESSION_S] += size[i]
        if size[i] > 0.0:
            x[_SIZED] = end[i]
        if x[_SESSION_S] > 0.0:
            out[i, 9] = x[_SESSION_PS] / x[_SESSION_S]

        low, high = state.window_bounds[s, 0], state.window_bounds[s, 1]
        while low < high and state.window_end[s, low] <= end[i] - vwap_window:
            low += 1
        if high == state.window_end.shape[1]:
            for k in range(low, high):
                state.window_end[s, k - low] = state.window_end[s, k]
                state.window_ps[s, k - low] = state.window_ps[s, k]
                state.window_s[s, k - low] = state.window_s[s, k]
            low, high = 0, high - low
        state.window_end[s, high] = end[i]
        state.window_ps[s, high] = price_size[i]
        state.window_s[s, high] = size[i]
        high += 1
        state.window_bounds[s, 0] = low
        state.window_bounds[s, 1] = high
        window_size = _window_sum(state.window_s, s, low, high)
        if window_size > 0.0:
            out[i, 10] = _window_sum(state.window_ps, s, low, high) / window_size

        if vol_window > 0 and n > 0:
            low, high = state.returns_bounds[s, 0], state.returns_bounds[s, 1]
            while low < high and state.returns_end[s, low] <= end[i] - vol_window:
                low += 1
            if high == state.returns_end.shape[1]:
                for k in range(low, high):
                    state.returns_end[s, k - low] = state.returns_end[s, k]
                    state.returns[s, k - low] = state.returns[s, k]
                low, high = 0, high - low
            state.returns_end[s, high] = end[i]
            state.returns[s, high] = np.log(c / x[_CLOSE])
            high += 1
            state.returns_bounds[s, 0] = low
            state.returns_bounds[s, 1] = high
            count = high - low
            if count >= 2 and x[_SIZED] > end[i] - vol_window:  # null while Σs of the window is 0
                mean = _window_sum(state.returns, s, low, high) / count
                variance = 0.0
                for k in range(low, high):
                    deviation = state.returns[s, k] - mean
                    variance += deviation * deviation
                out[i, 11] = np.sqrt(variance / count)

        x[_CLOSE] = c
        state.bars[s] = n + 1
        out[i, 12] = 1.0 if n + 1 >= WARM_BARS else 0.0
    return out


def warm_up() -> None:
    """Compile `fold`, or load what was compiled before; takes seconds the first time."""
    none, nothing = np.empty(0, np.int64), np.empty(0)
    bars = BarInputs(none, none, nothing, nothing, nothing, nothing, np.empty(0, np.bool_))
    fold(new_state(1, Cadence(size="PT1S", seconds=1)), bars, 1, 1)
