"""One wrong clock is not the time: which event times without an ingest time can be believed, however the input is split.

The first record of a source, or one more than a minute ahead of all accepted before it, is held, and the next record
decides: more than a minute earlier makes the held one an outlier, else it is accepted before it. Where a record says its
ingest time, decoding has judged it by that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from torghut_core.ta.decoding.columns import Ints
from torghut_core.ta.decoding.timestamps import INVALID
from torghut_core.ta.decoding.verdicts import AHEAD_NS

Columns = tuple[NDArray[Any], ...]
"""Equally long columns of records."""


class Admitted(NamedTuple):
    """What becomes of a batch."""

    was_decided: bool
    """Whether the record that was held is no longer."""
    released: Columns | None
    """That record, where it is accepted."""
    accepted: Columns
    """To be taken after it."""
    outliers: int


_NOTHING, _REFUSED, _ACCEPTED = range(3)
_NONE = INVALID


class ClockGuard:
    """Judges the records of one source; holds at most one."""

    def __init__(self) -> None:
        self.held: Columns | None = None
        """The record that waits for the next one, each column of length one."""
        self.held_at_ns = 0

    def admit(self, columns: Columns, at_ns: Ints, ingest_ns: Ints | None, highest_ns: int) -> Admitted:
        """Return what is accepted now.

        `highest_ns` is the highest event time accepted so far. Without `ingest_ns` every record says one.
        """
        if not len(at_ns) or (ingest_ns is None and self.held is None):
            return Admitted(False, None, columns, 0)
        if ingest_ns is None:
            ingest_ns = at_ns
        is_accepted = np.empty(len(at_ns), np.bool_)
        before = self.held_at_ns if self.held is not None else _NONE
        verdict, held_row, outliers = _judge(at_ns, ingest_ns, highest_ns, before, is_accepted)
        released = self.held if verdict == _ACCEPTED else None
        if verdict != _NOTHING:
            self.held = None
        if held_row >= 0:
            self.held = tuple(column[held_row : held_row + 1].copy() for column in columns)
            self.held_at_ns = int(at_ns[held_row])
        accepted = columns if is_accepted.all() else tuple(column[is_accepted] for column in columns)
        return Admitted(verdict != _NOTHING, released, accepted, outliers)

    def end(self) -> Columns | None:
        """Return the held record, for the input has ended: that accepts it."""
        held, self.held = self.held, None
        return held


@njit(cache=True, nogil=True)
def _judge(at_ns: Any, ingest_ns: Any, highest_ns: int, held_at_ns: int, is_accepted: Any) -> Any:
    """Fill in which rows are accepted; return what becomes of the record held before, the row held now, and the count."""
    verdict, held_row, outliers = _NOTHING, -1, 0
    is_holding = held_at_ns != _NONE
    for row in range(len(at_ns)):
        at = at_ns[row]
        is_accepted[row] = True
        has_ingest = ingest_ns[row] != _NONE
        if is_holding:
            is_refused = at < held_at_ns - AHEAD_NS
            if held_row >= 0:
                is_accepted[held_row] = not is_refused
            else:
                verdict = _REFUSED if is_refused else _ACCEPTED
            if is_refused:
                outliers += 1
            else:
                highest_ns = max(highest_ns, held_at_ns)
            is_holding, held_row = False, -1
        if not has_ingest and at > highest_ns + AHEAD_NS:
            is_holding, held_row, held_at_ns = True, row, at
            is_accepted[row] = False
        else:
            highest_ns = max(highest_ns, at)
    return verdict, held_row, outliers


def warm_up() -> None:
    """Compile the kernel, or load it from the cache."""
    none = np.zeros(1, np.int64)
    ClockGuard().admit((none,), none, none, 0)
