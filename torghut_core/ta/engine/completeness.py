"""Own volume of each symbol and minute beside that of the provider's minute bar.

A ring of the last minutes per symbol: what is older is forgotten, so the memory is 24 bytes a symbol and minute kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from torghut_core.ta.decoding.columns import Floats, Ints

MINUTES = 16
"""Minutes kept per symbol: the ten that are looked at, and what comes late."""
LOOKED_AT = 10
_MINUTE = 60


class Compared(NamedTuple):
    """Minutes of which both volumes are known, in columns."""

    symbol: Ints
    end: Ints
    """Of the minute, epoch seconds."""
    own: Floats
    theirs: Floats

    @property
    def ratio(self) -> float | None:
        """Σ own over Σ theirs, None where there is nothing to compare."""
        total = float(self.theirs.sum())
        return float(self.own.sum()) / total if total > 0 else None

    def newest(self) -> Compared:
        """Return the newest minute of each symbol."""
        order = np.lexsort((self.end, self.symbol))
        symbol = self.symbol[order]
        last = order[np.concatenate([symbol[1:] != symbol[:-1], np.ones(min(len(symbol), 1), np.bool_)])]
        return Compared._make(column[last] for column in self)


class Completeness:
    """Volumes per symbol and minute."""

    def __init__(self) -> None:
        self.minute = np.zeros((0, MINUTES), np.int64)
        """End of the minute in each place of the ring, in minutes since the epoch; 0 where there is none."""
        self.own = np.zeros((0, MINUTES))
        self.theirs = np.zeros((0, MINUTES))
        """NaN before the provider's bar."""

    @property
    def columns(self) -> list[NDArray[np.int64] | NDArray[np.float64]]:
        """What a checkpoint keeps."""
        return [self.minute, self.own, self.theirs]

    def restore(self, columns: Sequence[NDArray[Any]]) -> None:
        """Put back what `columns` held."""
        self.minute, self.own, self.theirs = columns

    def grow(self, symbols: int) -> None:
        """Make room for symbol numbers below `symbols`."""
        missing = symbols - len(self.minute)
        self.minute = np.concatenate([self.minute, np.zeros((missing, MINUTES), np.int64)])
        self.own = np.concatenate([self.own, np.zeros((missing, MINUTES))])
        self.theirs = np.concatenate([self.theirs, np.full((missing, MINUTES), np.nan)])

    def add_own(self, symbol: Ints, end: Ints, volume: Floats) -> None:
        """Add the volume of seconds that end at `end` (epoch seconds)."""
        if len(symbol):
            symbol, place, known = self._places(symbol, -(-end // _MINUTE))
            np.add.at(self.own, (symbol, place), volume[known])

    def add_theirs(self, symbol: Ints, end: Ints, volume: Floats) -> None:
        """Take minute bars in the order they came; a later one of the same minute stands in the place of the earlier."""
        if len(symbol):
            symbol, place, known = self._places(symbol, end // _MINUTE)
            self.theirs[symbol, place] = volume[known]

    def _places(self, symbol: Ints, minute: Ints) -> tuple[Ints, Ints, NDArray[np.bool_]]:
        """Return where minutes stand, making room for newer ones; without those that were forgotten."""
        place = minute % MINUTES
        newest = self.minute[symbol, place].copy()
        np.maximum.at(self.minute, (symbol, place), minute)
        is_new = self.minute[symbol, place] > newest
        self.own[symbol[is_new], place[is_new]] = 0.0
        self.theirs[symbol[is_new], place[is_new]] = np.nan
        known: NDArray[np.bool_] = self.minute[symbol, place] == minute
        return symbol[known], place[known], known

    def compared(self, until_ns: int) -> Compared:
        """Return the minutes of the last ten before `until_ns` of which both volumes are known."""
        last = until_ns // (_MINUTE * 1_000_000_000)
        both = (self.minute > last - LOOKED_AT) & (self.minute <= last) & (self.theirs > 0)
        symbol, place = np.nonzero(both)
        where = (symbol, place)
        return Compared(symbol, self.minute[where] * _MINUTE, self.own[where], self.theirs[where])
