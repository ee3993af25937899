"""Inputs in columns: what decoding yields and the engine takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NANOS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Trades:
    """Trades in offset order. `at_ns` is event time, `price` above 0, `size` 0 or more, fractions allowed."""

    symbol: Sequence[str]
    at_ns: Ints
    price: Floats
    size: Floats


@dataclass(frozen=True, slots=True)
class Quotes:
    """Quotes in offset order; prices in dollars, sizes as the feed gives them."""

    symbol: Sequence[str]
    at_ns: Ints
    bid: Floats
    ask: Floats
    bid_size: Floats
    ask_size: Floats


@dataclass(frozen=True, slots=True)
class Bars:
    """Upstream minute bars in offset order. `end_ns` is the minute's end, their event time; `vwap` may be NaN."""

    symbol: Sequence[str]
    end_ns: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    vwap: Floats
    count: Ints


@dataclass(frozen=True, slots=True)
class Decoded:
    """One batch: what could be read, and how many records could not, by reason."""

    trades: Trades | None = None
    quotes: Quotes | None = None
    bars: Bars | None = None
    rejected: Counter[str] = field(default_factory=Counter)


def floats(values: Sequence[float]) -> Floats:
    """Return a float64 array."""
    return np.array(values, np.float64)


def kept(symbols: Sequence[str], mask: NDArray[np.bool_]) -> list[str]:
    """Return the symbols at which `mask` is true."""
    return [symbol for symbol, keep in zip(symbols, mask.tolist(), strict=True) if keep]
