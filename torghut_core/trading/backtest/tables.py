"""Rows as they are read, gathered into one series per symbol and timeframe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from torghut_core.trading.backtest.recording import BAR_COLUMNS, Bars, Floats, Ints, Series
from torghut_core.trading.model import TIMEFRAMES
from torghut_core.trading.strategies.columns import ATTRIBUTES

SIGNAL_COLUMNS = tuple(ATTRIBUTES)


class Table:
    """Rows of one kind, in any order; of two with one key the one that came last counts."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._places: dict[tuple[str, str], int] = {}
        self._keys: list[Ints] = []
        self._ends: list[Ints] = []
        self._values: list[Floats] = []

    def add(self, symbols: Sequence[str], index: Ints, window_size: str, event_ns: Ints, values: Floats) -> None:
        """Take rows: `symbols[index[i]]`, the end of the window, and the columns, shape (n, k), null as NaN."""
        codes = np.fromiter(
            (self._places.setdefault((symbol, window_size), len(self._places)) for symbol in symbols),
            np.int64,
            len(symbols),
        )
        self._keys.append(codes[index])
        self._ends.append(event_ns)
        self._values.append(values)

    def groups(self) -> Iterator[tuple[str, str, Ints, dict[str, Floats]]]:
        """Yield symbol, window size, ends in their order, and columns."""
        if not self._keys:
            return
        keys: Ints = np.concatenate(self._keys)
        ends: Ints = np.concatenate(self._ends)
        values: Floats = np.concatenate(self._values)
        ranked = np.lexsort((np.arange(len(keys)), ends, keys))
        keys, ends = keys[ranked], ends[ranked]
        is_last = np.ones(len(keys), np.bool_)
        is_last[:-1] = (keys[1:] != keys[:-1]) | (ends[1:] != ends[:-1])
        ranked, keys, ends = ranked[is_last], keys[is_last], ends[is_last]
        bounds = np.searchsorted(keys, np.arange(len(self._places) + 1))
        for (symbol, size), code in sorted(self._places.items()):
            first, last = bounds[code], bounds[code + 1]
            if last > first:
                own = values[ranked[first:last]]
                columns = {name: np.ascontiguousarray(own[:, at]) for at, name in enumerate(self._columns)}
                yield symbol, size, ends[first:last], columns


def signal_table() -> Table:
    """Return an empty table of signals."""
    return Table(SIGNAL_COLUMNS)


def bar_table() -> Table:
    """Return an empty table of bars."""
    return Table(BAR_COLUMNS)


def series_of(table: Table) -> list[Series]:
    """Return the series of a table of signals."""
    return [Series(symbol, TIMEFRAMES[size], ends, columns) for symbol, size, ends, columns in table.groups()]


def bars_of(table: Table) -> list[Bars]:
    """Return the bars of a table of bars."""
    return [Bars(symbol, TIMEFRAMES[size], ends, columns) for symbol, size, ends, columns in table.groups()]
