"""Event-time tumbling seconds: trades in, micro-bars out.

Trades wait, as they came, until their second may be emitted; then they are sorted by event time (arrival breaks ties)
and reduced once. So neither the order within the tolerance nor the split into batches can change a bar. A late trade
that may correct its bar does so at the watermark it met, whenever the bar is emitted: first what had closed by then,
then the correction, then what closed after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from torghut_core.ta.decoding.columns import NANOS, Floats, Ints

_NEVER = -(1 << 62)
_NS_BITS = 30
"""Nanoseconds within a second fit into 30 bits."""
_MOST_PARTS = 32
"""Batches that may wait as they came before they are made one."""


class Ticks(NamedTuple):
    """Trades in arrival order, shape (n,) each; `symbol` is the engine's number of it."""

    symbol: Ints
    at_ns: Ints
    price: Floats
    size: Floats

    def where(self, mask: NDArray[np.bool_]) -> Ticks:
        """Return the trades at which `mask` is true."""
        return Ticks._make(column[mask] for column in self)

    def between(self, start: int, stop: int) -> Ticks:
        """Return the trades from `start` to before `stop`."""
        return Ticks._make(column[start:stop] for column in self)

    @staticmethod
    def joined(parts: list[Ticks]) -> Ticks:
        """Return one after the other."""
        if len(parts) == 1:
            return parts[0]
        return Ticks._make(np.concatenate(columns) for columns in zip(NO_TICKS, *parts, strict=True))


NO_TICKS = Ticks(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0))


class BarColumns(NamedTuple):
    """Bars ordered by window end, then symbol; `end` in epoch seconds, `price_size` Σ price·size."""

    symbol: Ints
    end: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    price_size: Floats
    trades: Ints
    vwap: Floats
    """NaN where there is none."""

    def where(self, which: NDArray[np.bool_] | Ints) -> BarColumns:
        """Return the bars at which a mask is true, or at some indices."""
        return BarColumns._make(column[which] for column in self)


def reduce(ticks: Ticks) -> BarColumns:
    """Return one bar per symbol and second of `ticks`."""
    second = ticks.at_ns // NANOS
    symbols = int(ticks.symbol.max()) + 1
    group = (second - second.min()) * symbols + ticks.symbol
    if int(group.max()) < 1 << (62 - _NS_BITS):
        order = np.argsort((group << _NS_BITS) | (ticks.at_ns - second * NANOS), kind="stable")
    else:
        order = np.lexsort((ticks.at_ns, group))
    count = np.empty(len(order), np.int64)
    symbol, end = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    values = np.empty((6, len(order)))
    bars = _reduce(order, group, second, ticks, symbol, end, count, values)
    opened, high, low, close, volume, price_size = values[:, :bars]
    return BarColumns(
        symbol[:bars],
        end[:bars],
        opened,
        high,
        low,
        close,
        volume,
        price_size,
        count[:bars],
        divided(price_size, volume),
    )


@njit(cache=True, nogil=True)
def _reduce(  # noqa: PLR0917
    order: Any, group: Any, second: Any, ticks: Any, symbol: Any, end: Any, count: Any, values: Any
) -> int:
    """Fill in one bar per run of equal groups in `order`, and return how many; sums are added up one after the other."""
    bar, previous = -1, np.int64(-1)
    for place in order:
        price, size = ticks.price[place], ticks.size[place]
        if group[place] != previous:
            previous = group[place]
            bar += 1
            symbol[bar], end[bar], count[bar] = ticks.symbol[place], second[place] + 1, 0
            values[0, bar], values[1, bar], values[2, bar] = price, price, price
            values[4, bar], values[5, bar] = 0.0, 0.0
        count[bar] += 1
        values[1, bar] = max(values[1, bar], price)
        values[2, bar] = min(values[2, bar], price)
        values[3, bar] = price
        values[4, bar] += size
        values[5, bar] += price * size
    return bar + 1


def divided(price_size: Floats, size: Floats) -> Floats:
    """Return Σ price·size / Σ size, NaN where the size is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(size > 0, price_size / size, np.nan)


@dataclass
class TradeWindows:
    """Trades of one partition that wait for their second to close, 32 bytes each.

    `tolerance_ns` is how far behind the highest event time a second stays open. With `revises` the trades of the last
    `revise_seconds` closed seconds are kept too, so that a late one can correct its bar.
    """

    tolerance_ns: int
    revises: bool = False
    revise_seconds: int = 300
    highest_ns: int = _NEVER
    closed: Ticks = NO_TICKS
    closed_until: int = 0
    """Epoch second up to which windows were taken."""
    late: list[tuple[int, Ticks]] = field(default_factory=list)
    """Late trades that wait to correct their bars, and the watermark (epoch second) each met, in offset order."""
    lost: int = 0
    """Late trades so far that were dropped."""
    seen: int = 0
    """Trades taken in since this object was made: tells whether anything changed."""
    _parts: list[Ticks] = field(default_factory=list)

    @property
    def watermark_ns(self) -> int:
        """Highest event time so far less the tolerance."""
        return self.highest_ns - self.tolerance_ns

    @property
    def is_waiting(self) -> bool:
        """Whether trades wait for their second to close."""
        return any(len(part.symbol) for part in self._parts)

    @property
    def pending(self) -> Ticks:
        """Trades that wait, in arrival order."""
        if len(self._parts) != 1:
            self._parts = [Ticks.joined(self._parts)]
        return self._parts[0]

    @pending.setter
    def pending(self, ticks: Ticks) -> None:
        self._parts = [ticks]

    def add(self, ticks: Ticks) -> None:
        """Take trades in offset order.

        A trade is late when its window's end is at or before the watermark that stood when it came.
        """
        self.seen += len(ticks.symbol)
        if len(self._parts) >= _MOST_PARTS:
            self.pending = self.pending
        highest = np.maximum.accumulate(ticks.at_ns)
        np.maximum(highest, self.highest_ns, out=highest)
        self.highest_ns = int(highest[-1])
        if int(ticks.at_ns.min()) // NANOS * NANOS + NANOS > self.watermark_ns:
            self._parts.append(ticks)  # none can be late, whatever the order
            return
        watermark = highest - self.tolerance_ns
        is_late = (ticks.at_ns // NANOS + 1) * NANOS <= watermark
        self._parts.append(ticks.where(~is_late))
        if self.revises:
            self.late += _runs(ticks.where(is_late), watermark[is_late] // NANOS)
        else:
            self.lost += int(is_late.sum())

    def peek(self, until: int) -> BarColumns | None:
        """Return bars of the pending windows that end at or before epoch second `until`, leaving them pending."""
        due = self._due(until)
        return reduce(self.pending.where(due)) if due.any() else None

    def close(self, until: int) -> Iterator[tuple[BarColumns, bool]]:
        """Close the windows that end at or before `until`; yield their bars, and corrections (true) between them."""
        if until <= self.closed_until and not self.late:
            return  # what came since is of later windows, or it would be late
        while self.late and self.late[0][0] <= until:
            second, late = self.late.pop(0)
            bars = self._take(second)
            if bars is not None:
                yield bars, False
            corrected = self._revise(late, second)
            if corrected is not None:
                yield corrected, True
        bars = self._take(until)
        if bars is not None:
            yield bars, False

    def _take(self, until: int) -> BarColumns | None:
        due = self._due(until)
        self.closed_until = max(self.closed_until, until)
        if not due.any():
            return None
        if due.all():
            ticks, self._parts = self.pending, []
        else:
            ticks, self.pending = self.pending.where(due), self.pending.where(~due)
        if self.revises:
            joined = Ticks.joined([self.closed, ticks])
            self.closed = joined.where(joined.at_ns // NANOS >= self.closed_until - self.revise_seconds)
        return reduce(ticks)

    def _due(self, until: int) -> NDArray[np.bool_]:
        due: NDArray[np.bool_] = self.pending.at_ns < until * NANOS
        return due

    def _revise(self, late: Ticks, met: int) -> BarColumns | None:
        """Return the corrected bars of closed windows; a late trade too old even for that is lost."""
        second = late.at_ns // NANOS
        can = second >= met - self.revise_seconds
        self.lost += int((~can).sum())
        if not can.any():
            return None
        self.closed = Ticks.joined([self.closed, late.where(can)])
        touched = np.unique((second[can] << 24) | late.symbol[can])
        mine = np.isin(((self.closed.at_ns // NANOS) << 24) | self.closed.symbol, touched)
        return reduce(self.closed.where(mine))


def _runs(late: Ticks, met: Ints) -> Iterator[tuple[int, Ticks]]:
    """Cut late trades, in offset order, where correcting them together would differ from one after the other.

    That is where the watermark they met changes, and where a symbol goes back to an earlier second.
    """
    start, newest = 0, dict[int, int]()
    seconds = (late.at_ns // NANOS).tolist()
    watermarks = met.tolist()
    for index, (symbol, second) in enumerate(zip(late.symbol.tolist(), seconds, strict=True)):
        if index > start and (watermarks[index] != watermarks[start] or second < newest.get(symbol, second)):
            yield watermarks[start], late.between(start, index)
            start, newest = index, {}
        newest[symbol] = second
    if seconds:
        yield watermarks[start], late.between(start, len(seconds))


def warm_up() -> None:
    """Compile the kernel, or load it from the cache."""
    none = np.zeros(1, np.int64)
    reduce(Ticks(none, none, np.zeros(1), np.zeros(1)))
