"""Inputs in columns: what decoding yields and the engine takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Words = NDArray[np.uint64]

NANOS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Symbols:
    """A column of symbols: each row's place among `names`, which a decoder appends to and never reorders."""

    names: Sequence[str]
    index: Ints

    @staticmethod
    def of(texts: Sequence[str]) -> Symbols:
        """Return the column of plain symbols."""
        places: dict[str, int] = {}
        index = np.fromiter((places.setdefault(text, len(places)) for text in texts), np.int64, len(texts))
        return Symbols(list(places), index)

    def where(self, mask: NDArray[np.bool_]) -> Symbols:
        """Return the rows at which `mask` is true."""
        return Symbols(self.names, self.index[mask])


@dataclass(frozen=True, slots=True)
class Trades:
    """Trades in offset order. `at_ns` is event time, `price` above 0, `size` 0 or more, fractions allowed."""

    symbol: Symbols
    at_ns: Ints
    price: Floats
    size: Floats
    conditions: Words
    """Codes and tape, as `conditions` says."""
    identity: Words
    """Exchange and id as one number, 0 without an id."""
    ingest_ns: Ints | None
    """INVALID where a record says none; None where each says one. None is more than a minute before its event."""


@dataclass(frozen=True, slots=True)
class Quotes:
    """Quotes in offset order. `values` has bid, ask, bid size, ask size, shape (n, 4), sizes as the feed gives them."""

    symbol: Symbols
    at_ns: Ints
    values: Floats
    ingest_ns: Ints | None
    """As in `Trades`."""


@dataclass(frozen=True, slots=True)
class Bars:
    """Upstream minute bars in offset order. `end_ns` is the minute's end, their event time; `vwap` may be NaN."""

    symbol: Symbols
    end_ns: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    vwap: Floats
    count: Ints
    ingest_ns: Ints | None
    """As in `Trades`."""


class Replacement(NamedTuple):
    """What a corrected trade is."""

    price: float
    size: float
    conditions: int
    identity: int


class Amendment(NamedTuple):
    """A cancel or a correction of the trade that `identity` names."""

    after: int
    """How many of the batch's trades came before it."""
    symbol: str
    identity: int
    replacement: Replacement | None
    """None cancels."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """One batch: what could be read, and how many records could not, by reason."""

    trades: Trades | None = None
    quotes: Quotes | None = None
    bars: Bars | None = None
    amendments: Sequence[Amendment] = ()
    """In offset order; of trades of this batch or of earlier ones."""
    rejected: Counter[str] = field(default_factory=Counter)


def floats(values: Sequence[float]) -> Floats:
    """Return a float64 array."""
    return np.array(values, np.float64)
