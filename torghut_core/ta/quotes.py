"""As-of join: the last quote at or before a bar's end, by event time, never a later one.

Bars end at whole seconds, so of a symbol's quotes in `(s − 1, s]` only the last can ever be asked for: one per symbol
and second waits, which bounds the memory. A bar sees the quotes that had come before the quotes' watermark passed its
end, and no others, so that neither batches nor waiting can change its fields: a quote that comes later than that counts
from the next second on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from torghut_core.ta.columns import NANOS, Floats, Ints

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
    order = np.lexsort((quotes.at_ns, quotes.second, quotes.symbol))
    symbol, second = quotes.symbol[order], quotes.second[order]
    is_last = np.concatenate([(symbol[1:] != symbol[:-1]) | (second[1:] != second[:-1]), [True]])
    return quotes.where(np.sort(order[is_last]))


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

    @property
    def watermark_ns(self) -> int:
        return self.highest_ns - self._tolerance_ns

    @property
    def pending(self) -> QuoteColumns:
        """What waits, in arrival order."""
        if len(self._parts) != 1:
            self._parts = [_last_per_second(_joined(self._parts))]
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
        highest = np.maximum.accumulate(np.concatenate([[self.highest_ns], at_ns]))
        self.highest_ns = int(highest[-1])
        self.seen += len(at_ns)
        passed = (highest[:-1] - self._tolerance_ns) // NANOS
        second = np.maximum(-(-at_ns // NANOS), passed + 1)
        self._parts.append(_last_per_second(QuoteColumns(symbol, at_ns, values, second)))

    def restore(self, pending: QuoteColumns) -> None:
        """Put back what `pending` held."""
        self._parts = [pending]

    def as_of(self, symbol: Ints, end: Ints) -> Floats:
        """Return `FIELDS` per asked symbol and bar end (epoch seconds), NaN without a quote that is fresh enough."""
        out = np.full((len(symbol), len(FIELDS)), np.nan)
        if not len(symbol):
            return out
        first_ns, last = int(end.min()) * NANOS - self._stale_after_ns, int(end.max())
        parts = [part.where((part.at_ns >= first_ns) & (part.second <= last)) for part in (self.newest, self.pending)]
        known = _monotone(_last_per_second(_joined(parts)))
        if not len(known.symbol):
            return out
        base = int(min(known.second.min(), end.min()))
        span = int(max(known.second.max(), last)) - base + 1
        order = np.argsort(known.symbol * span + (known.second - base), kind="stable")
        key = (known.symbol * span + (known.second - base))[order]
        found = np.searchsorted(key, symbol * span + (end - base), side="right") - 1
        hit = order[np.maximum(found, 0)]
        ok = (found >= 0) & (known.symbol[hit] == symbol)
        ok &= end * NANOS - known.at_ns[hit] <= self._stale_after_ns
        bid, ask, bid_size, ask_size = known.values[hit].T
        total = bid_size + ask_size
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(total > 0, (bid_size - ask_size) / total, np.nan)
        fields = np.stack([ask - bid, bid, ask, bid_size, ask_size, ratio], axis=1)
        out[ok] = fields[ok]
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
        self._parts = [waiting.where(~passed)]


def _monotone(quotes: QuoteColumns) -> QuoteColumns:
    """Drop quotes that came late and are older than one of their symbol that counts from an earlier second."""
    order = np.lexsort((quotes.at_ns, quotes.second, quotes.symbol))
    symbol, at_ns = quotes.symbol[order], quotes.at_ns[order]
    if not ((symbol[1:] == symbol[:-1]) & (at_ns[1:] < at_ns[:-1])).any():
        return quotes
    keep = np.ones(len(order), np.bool_)
    starts = np.flatnonzero(np.concatenate([[True], symbol[1:] != symbol[:-1]]))
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(order)], strict=True):
        keep[start:stop] = at_ns[start:stop] >= np.maximum.accumulate(at_ns[start:stop])
    return quotes.where(np.sort(order[keep]))
