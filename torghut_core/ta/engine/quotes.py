"""As-of join: the last quote at or before a bar's end, by event time, never a later one.

Bars end at whole seconds, so of a symbol's quotes in `(s − 1, s]` only the last can ever be asked for: one per symbol
and second waits, which bounds the memory. A bar sees the quotes that had come before the quotes' watermark passed its
end, and no others, so that neither batches nor waiting can change its fields: a quote that comes later than that counts
from the next second on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from torghut_core.ta.decoding.columns import NANOS, Floats, Ints

FIELDS = [
    "imbalance_spread",
    "imbalance_bid_px",
    "imbalance_ask_px",
    "imbalance_bid_sz",
    "imbalance_ask_sz",
    "imbalance_ratio",
]
"""Columns of what `as_of` returns."""

_NEVER = -(1 << 62)
_LOOSE = 512
"""Quotes that may wait as they came, more than one of a symbol and second, before they are looked through."""


class QuoteColumns(NamedTuple):
    """Quotes in arrival order; `values` has bid, ask, bid size, ask size, shape (n, 4)."""

    symbol: Ints
    at_ns: Ints
    values: Floats
    second: Ints
    """End (epoch seconds) of the first bar that may see the quote."""

    def where(self, which: NDArray[np.bool_] | Ints) -> QuoteColumns:
        """Return the quotes at which a mask is true, or at some indices."""
        return QuoteColumns._make(column[which] for column in self)


NO_QUOTES = QuoteColumns(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 4)), np.empty(0, np.int64))


def _joined(parts: list[QuoteColumns]) -> QuoteColumns:
    if len(parts) == 1:
        return parts[0]
    return QuoteColumns._make(np.concatenate(columns) for columns in zip(NO_QUOTES, *parts, strict=True))


def _last_per_second(quotes: QuoteColumns) -> QuoteColumns:
    """Keep, per symbol and second, the quote of the highest event time; of equal ones the last that came."""
    if len(quotes.symbol) < 2:
        return quotes
    base = quotes.second.min()
    key = quotes.symbol * (quotes.second.max() - base + 1) + (quotes.second - base)
    is_last = np.zeros(len(key), np.bool_)
    _mark_last(key, quotes.at_ns, np.argsort(key, kind="stable"), is_last)
    return quotes.where(is_last)


class QuoteBuffer:
    """Quotes of one partition. Holds 56 bytes per symbol and second between `forget` and the newest quote."""

    def __init__(self, stale_after_ns: int, tolerance_ns: int) -> None:
        self._stale_after_ns = stale_after_ns
        self._tolerance_ns = tolerance_ns
        self.highest_ns = _NEVER
        self.forgotten_until = _NEVER
        """Epoch second up to which only the newest quote of each symbol is known."""
        self.newest = NO_QUOTES
        """Per symbol number, the newest of the forgotten; `at_ns` is hugely negative where there is none."""
        self.seen = 0
        """Quotes taken in since this object was made: tells whether anything changed."""
        self._parts: list[QuoteColumns] = []
        self._loose = 0
        """Quotes that came since the parts were last made one."""

    @property
    def watermark_ns(self) -> int:
        return self.highest_ns - self._tolerance_ns

    @property
    def pending(self) -> QuoteColumns:
        """What waits, in arrival order."""
        self._settle()
        return self._parts[0]

    def grow(self, symbols: int) -> None:
        """Make room for symbol numbers below `symbols`."""
        known = len(self.newest.at_ns)
        if symbols > known:
            missing = symbols - known
            self.newest = QuoteColumns(
                np.arange(symbols, dtype=np.int64),
                np.concatenate([self.newest.at_ns, np.full(missing, _NEVER)]),
                np.concatenate([self.newest.values, np.full((missing, 4), np.nan)]),
                np.concatenate([self.newest.second, np.full(missing, _NEVER)]),
            )

    def add(self, symbol: Ints, at_ns: Ints, values: Floats) -> None:
        """Take quotes in offset order."""
        second = np.empty(len(at_ns), np.int64)
        self.highest_ns = _seconds(at_ns, self.highest_ns, self._tolerance_ns, second)
        self.seen += len(at_ns)
        self._parts.append(QuoteColumns(symbol, at_ns, values, second))
        self._loose += len(at_ns)
        if self._loose > max(_LOOSE, len(self._parts[0].symbol)):
            self._settle()

    def _settle(self) -> None:
        if self._loose or not self._parts:
            self.restore(_last_per_second(_joined(self._parts)))

    def restore(self, pending: QuoteColumns) -> None:
        """Put back what `pending` held."""
        self._parts, self._loose = [pending], 0

    def as_of(self, symbol: Ints, end: Ints) -> Floats:
        """Return `FIELDS` per asked symbol and bar end (epoch seconds), NaN without a quote that is fresh enough."""
        out = np.full((len(symbol), len(FIELDS)), np.nan)
        if len(symbol):
            waiting = self.pending
            by_end, by_second = np.argsort(end, kind="stable"), np.argsort(waiting.second, kind="stable")
            _sweep(symbol, end, by_end, waiting, by_second, self.newest, self._stale_after_ns, out)
        return out

    def forget(self, until: int) -> None:
        """Keep, of the quotes that bars up to epoch second `until` saw, only the newest per symbol."""
        if until <= self.forgotten_until:
            return
        self.forgotten_until = until
        waiting = self.pending
        passed: NDArray[np.bool_] = waiting.second <= until
        if not passed.any():
            return
        gone = waiting.where(passed)
        order = np.lexsort((gone.at_ns, gone.symbol))
        symbol = gone.symbol[order]
        last = gone.where(order[np.concatenate([symbol[1:] != symbol[:-1], [True]])])
        newer = last.where(last.at_ns >= self.newest.at_ns[last.symbol])
        self.newest.at_ns[newer.symbol] = newer.at_ns
        self.newest.values[newer.symbol] = newer.values
        self.newest.second[newer.symbol] = newer.second
        self.restore(waiting.where(~passed))


@njit(cache=True, nogil=True)
def _seconds(at_ns: Any, highest_ns: int, tolerance_ns: int, second: Any) -> int:
    """Fill in the first bar's end that may see each quote, as the watermark stood when it came; return the highest time."""
    for row in range(len(at_ns)):
        passed = (highest_ns - tolerance_ns) // NANOS
        second[row] = max(-(-at_ns[row] // NANOS), passed + 1)
        highest_ns = max(highest_ns, at_ns[row])
    return highest_ns


@njit(cache=True, nogil=True)
def _mark_last(key: Any, at_ns: Any, order: Any, is_last: Any) -> None:
    """Mark, of each run of equal keys in `order`, the highest time; of equal times the last."""
    best = order[0]
    for place in order[1:]:
        if key[place] != key[best]:
            is_last[best] = True
            best = place
        elif at_ns[place] >= at_ns[best]:
            best = place
    is_last[best] = True


@njit(cache=True, nogil=True)
def _sweep(  # noqa: PLR0917
    symbol: Any, end: Any, by_end: Any, waiting: Any, by_second: Any, newest: Any, stale_after_ns: int, out: Any
) -> None:
    """Fill `out` by going through bars and quotes together, second by second.

    A quote that is older than one of its symbol that counts from an earlier second came late and is passed over.
    """
    seen = np.full(len(newest.symbol), -1, np.int64)
    at = 0
    for place in by_end:
        while at < len(by_second) and waiting.second[by_second[at]] <= end[place]:
            quote = by_second[at]
            before = seen[waiting.symbol[quote]]
            if before < 0 or waiting.at_ns[quote] >= waiting.at_ns[before]:
                seen[waiting.symbol[quote]] = quote
            at += 1
        its = symbol[place]
        quote = seen[its]
        at_ns = np.int64(_NEVER)
        if newest.second[its] <= end[place]:
            at_ns = newest.at_ns[its]
        if quote >= 0 and waiting.at_ns[quote] >= at_ns:
            values, at_ns = waiting.values[quote], waiting.at_ns[quote]
        else:
            values = newest.values[its]
        if at_ns == _NEVER or end[place] * NANOS - at_ns > stale_after_ns:
            continue
        bid, ask, bid_size, ask_size = values[0], values[1], values[2], values[3]
        total = bid_size + ask_size
        out[place, 0], out[place, 1], out[place, 2] = ask - bid, bid, ask
        out[place, 3], out[place, 4] = bid_size, ask_size
        if total > 0:
            out[place, 5] = (bid_size - ask_size) / total


def warm_up() -> None:
    """Compile the kernels, or load them from the cache."""
    buffer = QuoteBuffer(0, 0)
    buffer.grow(1)
    none = np.zeros(2, np.int64)
    buffer.add(none, none, np.zeros((2, 4)))
    _last_per_second(buffer.pending)
    buffer.as_of(none, none)
