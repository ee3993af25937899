"""Event-time tumbling seconds: trades in, micro-bars out.

Trades wait, as they came, until their second may be emitted; then they are sorted by event time (arrival breaks ties)
and reduced once. So neither the order within the tolerance nor the split into batches can change a bar.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from torghut_core.ta.columns import NANOS, Floats, Ints

_NEVER = -(1 << 62)
_NS_BITS = 30
"""Nanoseconds within a second fit into 30 bits."""


class Ticks(NamedTuple):
    """Trades in arrival order, shape (n,) each; `symbol` is the engine's number of it."""

    symbol: Ints
    at_ns: Ints
    price: Floats
    size: Floats

    def where(self, mask: NDArray[np.bool_]) -> Ticks:
        """Return the trades at which `mask` is true."""
        return Ticks._make(column[mask] for column in self)

    @staticmethod
    def joined(first: Ticks, second: Ticks) -> Ticks:
        """Return one after the other."""
        if not len(first.symbol):
            return second
        return Ticks._make(np.concatenate(columns) for columns in zip(first, second, strict=True))


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
    group, price, size = group[order], ticks.price[order], ticks.size[order]
    starts = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    ends = np.concatenate([starts[1:], [len(group)]])
    count = ends - starts
    bar = np.repeat(np.arange(len(starts)), count)
    # bincount adds one after the other; add.reduceat would add in pairs and differ in the last digit.
    volume: Floats = np.bincount(bar, weights=size, minlength=len(starts)).astype(np.float64)
    price_size: Floats = np.bincount(bar, weights=price * size, minlength=len(starts)).astype(np.float64)
    return BarColumns(
        symbol=ticks.symbol[order][starts],
        end=second[order][starts] + 1,
        open=price[starts],
        high=np.maximum.reduceat(price, starts),
        low=np.minimum.reduceat(price, starts),
        close=price[ends - 1],
        volume=volume,
        price_size=price_size,
        trades=count,
        vwap=divided(price_size, volume),
    )


def divided(price_size: Floats, size: Floats) -> Floats:
    """Return Σ price·size / Σ size, NaN where the size is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(size > 0, price_size / size, np.nan)


@dataclass
class TradeWindows:
    """Trades of one partition that wait for their second to close.

    `tolerance_ns` is how far behind the highest event time a second stays open. With `revises` the trades of the last
    `revise_seconds` closed seconds are kept too, so that a late one can correct its bar.
    """

    tolerance_ns: int
    revises: bool = False
    revise_seconds: int = 300
    highest_ns: int = _NEVER
    pending: Ticks = NO_TICKS
    closed: Ticks = NO_TICKS
    closed_until: int = 0
    """Epoch second up to which windows were taken."""

    @property
    def watermark_ns(self) -> int:
        """Highest event time so far less the tolerance."""
        return self.highest_ns - self.tolerance_ns

    @property
    def watermark_second(self) -> int:
        """Windows that end at or before this epoch second are final."""
        return self.watermark_ns // NANOS

    def add(self, ticks: Ticks) -> Ticks:
        """Take trades in offset order and return those that are late.

        A trade is late when its window's end is at or before the watermark that stood when it came.
        """
        highest = np.maximum.accumulate(np.maximum(ticks.at_ns, self.highest_ns))
        window_end_ns = (ticks.at_ns // NANOS + 1) * NANOS
        is_late = window_end_ns <= highest - self.tolerance_ns
        self.highest_ns = int(highest[-1])
        if not is_late.any():
            self.pending = Ticks.joined(self.pending, ticks)
            return NO_TICKS
        self.pending = Ticks.joined(self.pending, ticks.where(~is_late))
        return ticks.where(is_late)

    def peek(self, until: int) -> BarColumns | None:
        """Return bars of the pending windows that end at or before epoch second `until`, leaving them pending."""
        due = self._due(until)
        return reduce(self.pending.where(due)) if due.any() else None

    def take(self, until: int) -> BarColumns | None:
        """Return bars of the windows that end at or before `until`, and close them."""
        due = self._due(until)
        self.closed_until = max(self.closed_until, until)
        if not due.any():
            return None
        ticks = self.pending if due.all() else self.pending.where(due)
        self.pending = NO_TICKS if due.all() else self.pending.where(~due)
        if self.revises:
            joined = Ticks.joined(self.closed, ticks)
            self.closed = joined.where(joined.at_ns // NANOS >= self.closed_until - self.revise_seconds)
        return reduce(ticks)

    def _due(self, until: int) -> NDArray[np.bool_]:
        due: NDArray[np.bool_] = self.pending.at_ns // NANOS < until
        return due

    def revise(self, late: Ticks) -> tuple[BarColumns | None, int]:
        """Return the corrected bars of closed windows, and how many late trades came too late even for that."""
        second = late.at_ns // NANOS
        is_open = second >= self.closed_until
        if is_open.any():  # final, but not emitted yet: quotes or minute bars are still behind
            self.pending = Ticks.joined(self.pending, late.where(is_open))
        can = ~is_open & (second >= self.closed_until - self.revise_seconds)
        lost = int((~is_open & ~can).sum())
        if not can.any():
            return None, lost
        self.closed = Ticks.joined(self.closed, late.where(can))
        touched = np.unique((second[can] << 24) | late.symbol[can])
        mine = np.isin(((self.closed.at_ns // NANOS) << 24) | self.closed.symbol, touched)
        return reduce(self.closed.where(mine)), lost
