"""Trades to bars: sorted by window, event time and arrival, each print once, then added up in one compiled pass."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from torghut_core.ta.decoding.columns import NANOS, Floats, Ints, Replacement, Words
from torghut_core.ta.engine.prices import HIGH_LOW, OPEN_CLOSE, VOLUME, WEIGHS

Bytes = NDArray[np.uint8]
_MOST_GROUPS = 16
"""Groups (symbols times windows) a trade, up to which they are counted out."""
_MANY = 200
"""Trades of a group beyond which putting each in its place one by one would take too long."""
_FEW = 24
"""Trades of one instant that are compared one with another; more are sorted first."""
CANCELLED = 16
"""Effect of a trade that counts no more, and of which a repeat counts no more either."""


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


def warm_up() -> None:
    """Compile the kernel, or load it from the cache."""
    two = np.zeros(2, np.int64)
    reduce(Ticks(two, two, np.zeros(2), np.zeros(2), np.zeros(2, np.uint8), np.zeros(2, np.uint64)))
