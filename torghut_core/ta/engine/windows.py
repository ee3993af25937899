"""Event-time tumbling seconds: trades in, micro-bars out.

Trades wait, as they came, until their second may be emitted; then they are sorted by event time (arrival breaks ties)
and reduced once, each print once. So neither the order within the tolerance nor the split into batches can change a bar. A late trade
that may correct its bar does so at the watermark it met, whenever the bar is emitted: first what had closed by then,
then the correction, then what closed after it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from torghut_core.ta.decoding.columns import NANOS, Ints
from torghut_core.ta.engine.reduction import CANCELLED, NO_TICKS, BarColumns, Change, Reduced, Ticks, Volumes, reduce

_NEVER = -(1 << 62)
_MOST_PARTS = 32
"""Batches that may wait as they came before they are made one."""


@dataclass
class TradeWindows:
    """Trades of one partition that wait for their second to close, 41 bytes each.

    `tolerance_ns` is how far behind the highest event time a second stays open. With `revises` the trades of the last
    `revise_seconds` closed seconds are kept too, so that a late one can correct its bar.
    """

    tolerance_ns: int
    effect_of: Callable[[int, int], int]
    """What a corrected trade moves, by its conditions and its time."""
    revises: bool = False
    revise_seconds: int = 300
    highest_ns: int = _NEVER
    closed: Ticks = NO_TICKS
    closed_until: int = 0
    """Epoch second up to which windows were taken."""
    late: list[tuple[int, Ticks | Change]] = field(default_factory=list)
    """Late trades and changes that wait to correct bars, and the watermark (epoch second) each met, in offset order."""
    lost: int = 0
    """Late trades so far that were dropped."""
    repeated: int = 0
    """Trades so far that were others again."""
    unpriced: int = 0
    """Trades so far of seconds that no trade priced."""
    changes: Counter[str] = field(default_factory=Counter)
    """Cancels and corrections so far, by kind; `late_…` for those that met no trade they could change."""
    taken: Callable[[Ticks], None] | None = None
    """Told the trades of windows that close, each once, where another account of them is wanted."""
    volumes: list[Volumes] = field(default_factory=list)
    """Own volume of the seconds that closed since it was last asked for; differences, where a second was revised."""
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

    def change(self, change: Change) -> None:
        """Cancel or correct a trade in a second that is open now; with `revises` a closed one may be corrected later."""
        watermark_ns = self.watermark_ns
        pending = self.pending
        named = _named(pending, change) & ((pending.at_ns // NANOS + 1) * NANOS > watermark_ns)
        if named.any():
            self.pending = self._changed(pending, change, named)
            self.seen += 1
            self.changes[change.kind] += 1
        elif self.revises:
            self.late.append((watermark_ns // NANOS, change))
        else:
            self.changes[f"late_{change.kind}"] += 1

    def _changed(self, ticks: Ticks, change: Change, named: NDArray[np.bool_]) -> Ticks:
        """Return ticks with the named trade, and its repeats, cancelled and what it is now behind it, at its own time.

        It stays where it was, so that one more repeat of it is still known for one.
        """
        first = int(np.flatnonzero(named)[0])
        at_ns = int(ticks.at_ns[first])
        effect = ticks.effect.copy()
        effect[named & (ticks.at_ns == at_ns)] = CANCELLED
        ticks = ticks._replace(effect=effect)
        its = change.replacement
        if its is None:
            return ticks
        effect_now = self.effect_of(its.conditions, at_ns)
        now = Ticks(
            np.array([change.symbol], np.int64),
            np.array([at_ns], np.int64),
            np.array([its.price]),
            np.array([its.size]),
            np.array([effect_now], np.uint8),
            np.array([its.identity], np.uint64),
        )
        return Ticks.joined([ticks.between(0, first + 1), now, ticks.between(first + 1, len(effect))])

    def peek(self, until: int) -> BarColumns | None:
        """Return bars of the pending windows that end at or before epoch second `until`, leaving them pending."""
        due = self._due(until)
        if not due.any():
            return None
        bars = reduce(self.pending.where(due)).bars
        return bars if len(bars.end) else None

    def close(self, until: int) -> Iterator[tuple[BarColumns, bool]]:
        """Close the windows that end at or before `until`; yield their bars, and corrections (true) between them."""
        if until <= self.closed_until and not self.late:
            return  # what came since is of later windows, or it would be late
        while self.late and self.late[0][0] <= until:
            second, late = self.late.pop(0)
            bars = self._take(second)
            if bars is not None:
                yield bars, False
            corrected = self._change_closed(late, second) if isinstance(late, Change) else self._revise(late, second)
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
        found = reduce(ticks)
        self.unpriced += found.unpriced
        self.volumes.append(found.volumes)
        self.repeated += int(found.is_repeat.sum())
        if self.revises or self.taken is not None:
            each_once = ticks.where(~found.is_repeat)
            if self.taken is not None:
                self.taken(each_once)
            if self.revises:
                joined = Ticks.joined([self.closed, each_once])
                self.closed = joined.where(joined.at_ns // NANOS >= self.closed_until - self.revise_seconds)
        return found.bars if len(found.bars.end) else None

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
        late = late.where(can)
        mine = self._of_windows(self.closed, late)
        before = self.closed.where(mine)
        found = self._again(before, Ticks.joined([before, late]))
        self.closed = Ticks.joined([self.closed, late.where(~found.is_repeat[len(before.symbol) :])])
        return found.bars if len(found.bars.end) else None

    def _change_closed(self, change: Change, met: int) -> BarColumns | None:
        """Return the corrected bar of a closed window, None where there is none, or no trade would price it any more."""
        named = _named(self.closed, change) & (self.closed.at_ns // NANOS >= met - self.revise_seconds)
        if named.any():
            changed = self._changed(self.closed, change, named)
            its = self.closed.where(named)
            before = self.closed.where(self._of_windows(self.closed, its))
            after = changed.where(self._of_windows(changed, its))
            # A row cannot be taken back: where nothing would stand in its place, it and its trades stay.
            if len(reduce(after).bars.end) == len(reduce(before).bars.end):
                self.changes[change.kind] += 1
                self.closed = changed
                return self._again(before, after).bars
        self.changes[f"late_{change.kind}"] += 1
        return None

    @staticmethod
    def _of_windows(ticks: Ticks, its: Ticks) -> NDArray[np.bool_]:
        touched = np.unique((its.at_ns // NANOS << 24) | its.symbol)
        return np.isin(((ticks.at_ns // NANOS) << 24) | ticks.symbol, touched)

    def _again(self, before: Ticks, after: Ticks) -> Reduced:
        """Reduce windows a second time; counts and volumes take the difference."""
        found = reduce(after)
        self.repeated += int(found.is_repeat.sum())
        self.unpriced += found.unpriced
        self.volumes.append(found.volumes)
        if len(before.symbol):
            old = reduce(before)
            self.unpriced -= old.unpriced
            self.volumes.append(old.volumes._replace(volume=-old.volumes.volume))
        return found


def _named(ticks: Ticks, change: Change) -> NDArray[np.bool_]:
    named: NDArray[np.bool_] = ticks.identity == np.uint64(change.identity)
    named &= (ticks.symbol == change.symbol) & (ticks.effect != CANCELLED)
    return named


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
