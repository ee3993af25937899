"""Which of the scanned trades or quotes can be used, and why the others cannot, by a compiled pass."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from torghut_core.ta.decoding.columns import NANOS, Ints
from torghut_core.ta.decoding.kinds import QUOTE, TRADE
from torghut_core.ta.decoding.scanner import Scanned, unscanned
from torghut_core.ta.decoding.timestamps import INVALID

LARGEST = 1e30
"""Of prices and sizes: products, squares and sums of them stay far from what a double can hold."""
BAD_SYMBOL = -1
"""In the place of a symbol's code: it can be none. Codes below are symbols that have no place yet."""
_USABLE, _OTHER_KIND, _BAD_TIME, _BAD_SYMBOL, _BAD_PRICE, _BAD_SIZE, _OUTLIER, _UNPLACED, _UNTOLD = range(9)
_REASONS = {_BAD_TIME: "bad_time", _BAD_SYMBOL: "bad_symbol", _BAD_PRICE: "bad_price", _BAD_SIZE: "bad_size"}
_OUTLIERS = {TRADE: "outlier_trades", QUOTE: "outlier_quotes"}
AHEAD_NS = 60 * NANOS
"""How far an event may lie after its own ingest time, or ahead of all before it: clocks differ, but not by more."""


class Judged(NamedTuple):
    """What a scan holds of one kind."""

    rows: Ints | slice | None
    """The usable rows, None when there are none."""
    rejected: dict[str, int]
    """The others of the kind, by reason."""
    has_unplaced: bool
    """Whether a usable row's symbol has no place yet."""
    is_told: bool
    """Whether each usable row says an ingest time."""


def judge(found: Scanned, kind: int) -> Judged:
    """Judge the rows of a kind, each by the first of: its time, its symbol, its prices, its sizes, its clock.

    A trade's price is above 0; a quote's may be 0, as on the side that is missing; sizes are 0 or more.
    """
    verdicts = np.empty(len(found.kind), np.uint8)
    counts = np.zeros(9, np.int64)
    _judge(found.kind, found.symbol, found.at_ns, found.ingest_ns, found.values, kind, verdicts, counts)
    usable = int(counts[_USABLE])
    rejected: dict[str, int] = {}
    rows: Ints | slice | None = None
    if usable == len(verdicts) > 0:
        rows = slice(None)
    elif usable:
        rows = np.flatnonzero(verdicts == _USABLE)
    if usable < len(verdicts):
        reasons = {**_REASONS, _OUTLIER: _OUTLIERS[kind]}
        rejected = {reason: int(counts[verdict]) for verdict, reason in reasons.items() if counts[verdict]}
    return Judged(rows, rejected, bool(counts[_UNPLACED]), not counts[_UNTOLD])


@njit(cache=True, nogil=True)
def _judge(  # noqa: PLR0917
    kinds: Any, symbols: Any, at_ns: Any, ingest_ns: Any, values: Any, kind: int, verdicts: Any, counts: Any
) -> None:
    for row in range(len(kinds)):
        first, second = values[row, 0], values[row, 1]
        if kinds[row] != kind:
            verdict = _OTHER_KIND
        elif at_ns[row] == INVALID:
            verdict = _BAD_TIME
        elif symbols[row] == BAD_SYMBOL:
            verdict = _BAD_SYMBOL
        elif kind == TRADE and not 0.0 < first <= LARGEST:
            verdict = _BAD_PRICE
        elif kind == TRADE:
            verdict = _USABLE if 0.0 <= second <= LARGEST else _BAD_SIZE
        elif not (0.0 <= first <= LARGEST and 0.0 <= second <= LARGEST):
            verdict = _BAD_PRICE
        elif 0.0 <= values[row, 2] <= LARGEST and 0.0 <= values[row, 3] <= LARGEST:
            verdict = _USABLE
        else:
            verdict = _BAD_SIZE
        if verdict == _USABLE:
            if ingest_ns[row] == INVALID:
                counts[_UNTOLD] += 1
            elif at_ns[row] > ingest_ns[row] + AHEAD_NS:
                verdict = _OUTLIER
        if verdict == _USABLE:
            counts[_UNPLACED] += symbols[row] < BAD_SYMBOL
        counts[verdict] += 1
        verdicts[row] = verdict


def warm_up() -> None:
    """Compile the kernel, or load it from the cache."""
    judge(unscanned(0), QUOTE)
