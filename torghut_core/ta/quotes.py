"""As-of join: the last quote at or before a bar's end, by event time, never a later one.

Quotes wait until the bars they belong to are emitted; per symbol the newest of those already passed is kept.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from torghut_core.ta.columns import Floats, Ints

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


NO_QUOTES = QuoteColumns(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 4)))


class QuoteBuffer:
    """Quotes of one partition."""

    def __init__(self, stale_after_ns: int, tolerance_ns: int) -> None:
        self._stale_after_ns = stale_after_ns
        self._tolerance_ns = tolerance_ns
        self.highest_ns = _NEVER
        self.newest = QuoteColumns(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 4)))
        """Per symbol number, the newest quote among those passed; `at_ns` is hugely negative where there is none."""
        self._parts: list[QuoteColumns] = []

    @property
    def watermark_ns(self) -> int:
        return self.highest_ns - self._tolerance_ns

    @property
    def pending(self) -> QuoteColumns:
        """What waits, in arrival order."""
        if len(self._parts) != 1:
            self._parts = [
                QuoteColumns(
                    np.concatenate([part.symbol for part in self._parts] or [NO_QUOTES.symbol]),
                    np.concatenate([part.at_ns for part in self._parts] or [NO_QUOTES.at_ns]),
                    np.concatenate([part.values for part in self._parts] or [NO_QUOTES.values]),
                )
            ]
        return self._parts[0]

    def grow(self, symbols: int) -> None:
        """Make room for symbol numbers below `symbols`."""
        missing = symbols - len(self.newest.at_ns)
        if missing > 0:
            self.newest = QuoteColumns(
                np.arange(symbols, dtype=np.int64),
                np.concatenate([self.newest.at_ns, np.full(missing, _NEVER, np.int64)]),
                np.concatenate([self.newest.values, np.zeros((missing, 4))]),
            )

    def add(self, quotes: QuoteColumns) -> None:
        """Take quotes in offset order."""
        self.highest_ns = max(self.highest_ns, int(quotes.at_ns.max()))
        self._parts.append(quotes)

    def restore(self, pending: QuoteColumns) -> None:
        """Put back what a checkpoint kept."""
        self._parts = [pending] if len(pending.at_ns) else []

    def as_of(self, symbol: Ints, end_ns: Ints) -> Floats:
        """Return `FIELDS` per bar, shape (n, 6); NaN where no quote is young enough."""
        waiting = self.pending
        merged = QuoteColumns(
            np.concatenate([self.newest.symbol, waiting.symbol]),
            np.concatenate([self.newest.at_ns, waiting.at_ns]),
            np.concatenate([self.newest.values, waiting.values]),
        )
        out = np.full((len(symbol), 6), np.nan)
        if not len(symbol) or not len(merged.symbol):
            return out
        # Only quotes that could be asked for: between the oldest useful instant and the last bar's end.
        first, last = int(end_ns.min()) - self._stale_after_ns, int(end_ns.max())
        useful = (merged.at_ns >= first) & (merged.at_ns <= last)
        merged = QuoteColumns(merged.symbol[useful], merged.at_ns[useful], merged.values[useful])
        if not len(merged.symbol):
            return out
        if last - first < 1 << 46:  # about 19 hours: symbol and time fit one integer, which sorts and searches faster
            key = (merged.symbol << 46) | (merged.at_ns - first)
            order = np.argsort(key, kind="stable")
            found = np.searchsorted(key[order], (symbol << 46) | (end_ns - first), side="right") - 1
        else:
            order = np.lexsort((merged.at_ns, merged.symbol))
            found = _search(merged.symbol[order], merged.at_ns[order], symbol, end_ns)
        hit = order[np.maximum(found, 0)]
        ok = (found >= 0) & (merged.symbol[hit] == symbol)
        ok &= end_ns - merged.at_ns[hit] <= self._stale_after_ns
        bid, ask, bid_size, ask_size = merged.values[hit].T
        total = bid_size + ask_size
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(total > 0, (bid_size - ask_size) / total, np.nan)
        fields = np.stack([ask - bid, bid, ask, bid_size, ask_size, ratio], axis=1)
        out[ok] = fields[ok]
        return out

    def forget(self, until_ns: int) -> None:
        """Keep, of the quotes at or before `until_ns`, only the newest per symbol: no later bar asks for others."""
        waiting = self.pending
        passed: NDArray[np.bool_] = waiting.at_ns <= until_ns
        if not passed.any():
            return
        symbol, at_ns, values = waiting.symbol[passed], waiting.at_ns[passed], waiting.values[passed]
        order = np.lexsort((at_ns, symbol))
        last = order[np.flatnonzero(np.concatenate([symbol[order][1:] != symbol[order][:-1], [True]]))]
        newer = last[at_ns[last] >= self.newest.at_ns[symbol[last]]]
        self.newest.at_ns[symbol[newer]] = at_ns[newer]
        self.newest.values[symbol[newer]] = values[newer]
        self._parts = [QuoteColumns(waiting.symbol[~passed], waiting.at_ns[~passed], waiting.values[~passed])]


def _search(symbols: Ints, at_ns: Ints, symbol: Ints, end_ns: Ints) -> Ints:
    """Return the index of the last entry of sorted (symbol, time) pairs at or before each asked pair."""
    low = np.searchsorted(symbols, symbol, side="left")
    high = np.searchsorted(symbols, symbol, side="right")
    found = [
        int(start + np.searchsorted(at_ns[start:stop], at, side="right")) - 1
        for start, stop, at in zip(low.tolist(), high.tolist(), end_ns.tolist(), strict=True)
    ]
    return np.where(np.array(found) >= low, found, -1)
