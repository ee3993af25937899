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
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from torghut_core.ta.decoding.columns import NANOS, Floats, Ints, Replacement, Words
from torghut_core.ta.engine.prices import HIGH_LOW, OPEN_CLOSE, VOLUME, WEIGHS

Bytes = NDArray[np.uint8]
_NEVER = -(1 << 62)
_MOST_GROUPS = 16
"""Groups (symbols times windows) a trade, up to which they are counted out."""
_MANY = 200
"""Trades of a group beyond which putting each in its place one by one would take too long."""
_FEW = 24
"""Trades of one instant that are compared one with another; more are sorted first."""
CANCELLED = 16
"""Effect of a trade that counts no more, and of which a repeat counts no more either."""
_MOST_PARTS = 32
"""Batches that may wait as they came before they are made one."""


class Ticks(NamedTuple):
    """Trades in arrival order, shape (n,) each; `symbol` is the engine's number of it."""

    symbol: Ints
    at_ns: Ints
    price: Floats
    size: Floats
    effect: Bytes
    """What it moves, as `prices` says, or `CANCELLED`."""
    identity: Words
    """Exchange and id as one number, 0 without an id."""

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


NO_TICKS = Ticks(
    np.empty(0, np.int64),
    np.empty(0, np.int64),
    np.empty(0),
    np.empty(0),
    np.empty(0, np.uint8),
    np.empty(0, np.uint64),
)


class Change(NamedTuple):
    """A cancel or correction of the trade of a symbol that `identity` names."""

    symbol: int
    identity: int
    replacement: Replacement | None

    @property
    def kind(self) -> str:
        return "cancel" if self.replacement is None else "correction"


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
    priced_size: Floats
    """Σ size over the trades of `price_size`."""
    vwap: Floats
    """NaN where there is none."""

    def where(self, which: NDArray[np.bool_] | Ints) -> BarColumns:
        """Return the bars at which a mask is true, or at some indices."""
        return BarColumns._make(column[which] for column in self)


class Volumes(NamedTuple):
    """Own volume per symbol and second, of seconds without a bar too."""

    symbol: Ints
    end: Ints
    volume: Floats


class Reduced(NamedTuple):
    """What trades come to."""

    bars: BarColumns
    """One per symbol and second that has a trade which sets open and close."""
    volumes: Volumes
    unpriced: int
    """Trades of seconds without a bar."""
    is_repeat: NDArray[np.bool_]
    """Per trade, whether it is one that came before: same symbol, exchange, id and time."""


def reduce(ticks: Ticks, seconds: int = 1) -> Reduced:
    """Return one bar per symbol and window of so many seconds of `ticks`, and what they hold beside.

    `end` counts windows since the epoch: epoch seconds, where a window is one.
    """
    width_ns = seconds * NANOS
    second = ticks.at_ns // width_ns
    symbols, first = int(ticks.symbol.max()) + 1, second.min()
    group = (second - first) * symbols + ticks.symbol
    groups = (int(second.max()) - int(first) + 1) * symbols
    if groups <= _MOST_GROUPS * len(group):
        order = np.empty(len(group), np.int64)
        _sort(group, groups, ticks.at_ns, order)
    else:  # few trades far apart
        order = np.lexsort((ticks.at_ns, group))
    count, own = np.empty(len(order), np.int64), np.empty(len(order))
    symbol, end = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    is_priced = np.zeros(len(order), np.bool_)
    is_repeat = np.zeros(len(order), np.bool_)
    values = np.empty((7, len(order)))
    groups, unpriced = _reduce(order, group, second, ticks, symbol, end, count, values, own, is_priced, is_repeat)
    volumes = Volumes(symbol[:groups], end[:groups], own[:groups])
    which: Any = slice(groups) if is_priced[:groups].all() else np.flatnonzero(is_priced[:groups])
    opened, high, low, close, volume, price_size, priced_size = values[:, which]
    bars = BarColumns(
        symbol[which],
        end[which],
        opened,
        high,
        low,
        close,
        volume,
        price_size,
        count[which],
        priced_size,
        divided(price_size, priced_size),
    )
    return Reduced(bars, volumes, unpriced, is_repeat)


@njit(cache=True, nogil=True)
def _sort(group: Any, groups: int, at_ns: Any, order: Any) -> None:
    """Fill in the order by group, then event time, then arrival: counted out by group, which leaves little to be sorted."""
    starts = np.zeros(groups + 1, np.int64)
    for each in group:
        starts[each + 1] += 1
    for each in range(groups):
        starts[each + 1] += starts[each]
    for place in range(len(group)):
        order[starts[group[place]]] = place
        starts[group[place]] += 1
    start = 0
    for each in range(groups):
        end = starts[each]
        if end - start > _MANY:
            run = order[start:end].copy()
            order[start:end] = run[np.argsort(at_ns[run], kind="mergesort")]
        else:
            for index in range(start + 1, end):
                place = order[index]
                at = at_ns[place]
                before = index - 1
                while before >= start and at_ns[order[before]] > at:
                    order[before + 1] = order[before]
                    before -= 1
                order[before + 1] = place
        start = end


@njit(cache=True, nogil=True)
def _reduce(  # noqa: PLR0917
    order: Any,
    group: Any,
    second: Any,
    ticks: Any,
    symbol: Any,
    end: Any,
    count: Any,
    values: Any,
    own: Any,
    is_priced: Any,
    is_repeat: Any,
) -> Any:
    """Fill in one group per run in `order`; return how many, and the trades of those that no trade prices.

    Sums are added up one after the other. Trades of one instant stand together, so repeats are looked for among them.
    """
    at, previous, members, unpriced = -1, np.int64(-1), 0, 0
    start = 0
    for index in range(len(order)):
        place = order[index]
        if group[place] != previous:
            if at >= 0 and not is_priced[at]:
                unpriced += members
            previous = group[place]
            at += 1
            members = 0
            symbol[at], end[at], count[at], own[at] = ticks.symbol[place], second[place] + 1, 0, 0.0
            values[1, at], values[2, at] = -np.inf, np.inf
            values[4, at], values[5, at], values[6, at] = 0.0, 0.0, 0.0
            start = index
        elif ticks.at_ns[place] != ticks.at_ns[order[index - 1]]:
            start = index
        if index == start and index + 1 < len(order):
            following = order[index + 1]
            if group[following] == previous and ticks.at_ns[following] == ticks.at_ns[place]:
                _mark_repeats(order, index, group, ticks.at_ns, ticks.identity, is_repeat)
        effect = ticks.effect[place]
        if is_repeat[place] or effect == CANCELLED:
            continue
        members += 1
        price, size = ticks.price[place], ticks.size[place]
        if effect & HIGH_LOW:
            values[1, at] = max(values[1, at], price)
            values[2, at] = min(values[2, at], price)
        if effect & OPEN_CLOSE:
            if not is_priced[at]:
                is_priced[at] = True
                values[0, at] = price
            values[3, at] = price
        if effect & VOLUME:
            count[at] += 1
            own[at] += size
            values[4, at] += size
        if effect & WEIGHS:
            values[5, at] += price * size
            values[6, at] += size
    if at >= 0 and not is_priced[at]:
        unpriced += members
    return at + 1, unpriced


@njit(cache=True, nogil=True)
def _mark_repeats(  # noqa: PLR0917
    order: Any, start: int, group: Any, at_ns: Any, identity: Any, is_repeat: Any
) -> None:
    """Mark, in the run of one group and instant that begins at `start`, every identity but its first."""
    end = start + 1
    first = order[start]
    while end < len(order) and group[order[end]] == group[first] and at_ns[order[end]] == at_ns[first]:
        end += 1
    if end - start <= _FEW:
        for index in range(start + 1, end):
            its = identity[order[index]]
            for before in range(start, index):
                if its != np.uint64(0) and identity[order[before]] == its:
                    is_repeat[order[index]] = True
                    break
        return
    run = order[start:end]
    identities = identity[run]
    sorted_run = np.argsort(identities, kind="mergesort")
    for index in range(1, len(run)):
        its = identities[sorted_run[index]]
        if its != np.uint64(0) and identities[sorted_run[index - 1]] == its:
            is_repeat[run[sorted_run[index]]] = True


def divided(price_size: Floats, size: Floats) -> Floats:
    """Return Σ price·size / Σ size, NaN where the size is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(size > 0, price_size / size, np.nan)


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


def warm_up() -> None:
    """Compile the kernel, or load it from the cache."""
    two = np.zeros(2, np.int64)
    reduce(Ticks(two, two, np.zeros(2), np.zeros(2), np.zeros(2, np.uint8), np.zeros(2, np.uint64)))
