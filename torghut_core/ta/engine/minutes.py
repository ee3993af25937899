"""Upstream minute bars, in the order they came: appended, revising the newest, or only rewriting an older row.

What a bar does is decided when it comes, so that neither batches nor waiting for quotes can change it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from torghut_core.ta.decoding.columns import NANOS, Floats, Ints
from torghut_core.ta.engine.reduction import BarColumns

_NEVER = -(1 << 62)
KEPT_SECONDS = 60
"""How far behind the bars' watermark a bar may come and still have quotes beside it; they are kept that long."""


class MinuteBars:
    """Minute bars of one partition that wait for quotes to pass their end."""

    APPEND, REVISION, REWRITE, STRANDED = 0, 1, 2, 3
    """What a bar does; a stranded one is appended, but came when its quotes need no longer be known, so it has none."""

    def __init__(self, tolerance_ns: int) -> None:
        self._tolerance_ns = tolerance_ns
        self.highest_ns = _NEVER
        self.newest_end = np.zeros(0, np.int64)
        """Per symbol number, the end (epoch seconds) of the newest bar that came; 0 before the first."""
        self.pending: list[tuple[BarColumns, NDArray[np.int8]]] = []

    @property
    def watermark_ns(self) -> int:
        return self.highest_ns - self._tolerance_ns

    def grow(self, symbols: int) -> None:
        """Make room for symbol numbers below `symbols`."""
        missing = symbols - len(self.newest_end)
        self.newest_end = np.concatenate([self.newest_end, np.zeros(missing, np.int64)])

    def add(  # noqa: PLR0917  columns of minute bars, in the order of `Bars`
        self,
        symbol: Ints,
        end_ns: Ints,
        opened: Floats,
        high: Floats,
        low: Floats,
        close: Floats,
        volume: Floats,
        vwap: Floats,
        count: Ints,
    ) -> None:
        """Take bars in offset order; `end_ns` is the minute's end."""
        highest = np.maximum.accumulate(np.concatenate([[self.highest_ns], end_ns]))
        self.highest_ns = int(highest[-1])
        end = end_ns // NANOS
        is_stranded = end <= (highest[:-1] - self._tolerance_ns) // NANOS - KEPT_SECONDS
        kind = np.empty(len(end), np.int8)
        for index, (number, its_end) in enumerate(zip(symbol.tolist(), end.tolist(), strict=True)):
            newest = self.newest_end[number]
            kind[index] = self.APPEND if its_end > newest else self.REVISION if its_end == newest else self.REWRITE
            self.newest_end[number] = max(newest, its_end)
        kind[is_stranded & (kind == self.APPEND)] = self.STRANDED
        columns = BarColumns(
            symbol=symbol,
            end=end,
            open=opened,
            high=high,
            low=low,
            close=close,
            volume=volume,
            price_size=np.where(np.isnan(vwap), close, vwap) * volume,
            trades=count,
            priced_size=volume,
            vwap=vwap,
        )
        self.pending.append((columns, kind))

    def take(self, passed_ns: int) -> tuple[BarColumns, NDArray[np.int8]] | None:
        """Return, in arrival order, the bars whose end is at or before `passed_ns`, and what each does."""
        if not self.pending:
            return None
        columns = BarColumns(
            *(np.concatenate(parts) for parts in zip(*(each for each, _ in self.pending), strict=True))
        )
        kind = np.concatenate([each for _, each in self.pending])
        due = columns.end * NANOS <= passed_ns
        rest = ~due
        self.pending = [(columns.where(rest), kind[rest])] if rest.any() else []
        return (columns.where(due), kind[due]) if due.any() else None
