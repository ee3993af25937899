"""Which prints are prices: what a trade may move, by its tape, its conditions, and the session it was made in.

Sources: the consolidated tape plans' guidance on trade conditions (CTS for tapes A and B, UTP for C), in the careful
reading of each row: P and 4 move no price, M, Q and 9 move nothing. The least of a trade's conditions holds, column by
column; where the tape is not known the least of both readings.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from torghut_core.market_calendar import CalendarName
from torghut_core.ta.decoding.columns import Ints, Words
from torghut_core.ta.decoding.conditions import BITS, CODES, ODD_CODE, TAPE_AB, TAPE_C
from torghut_core.ta.engine.sessions import are_regular

HIGH_LOW, OPEN_CLOSE, VOLUME, WEIGHS = 1, 2, 4, 8
"""What a trade moves; the last is Σ price·size and its Σ size."""
EVERYTHING = HIGH_LOW | OPEN_CLOSE | VOLUME | WEIGHS
_BAR, _LAST_NOT, _SIZE, _NOTHING = EVERYTHING, HIGH_LOW | VOLUME | WEIGHS, VOLUME, 0
_ODD_LOT_ALONE = VOLUME | WEIGHS
TradeConditions = Literal["sip", "all"]
OddLots = Literal["count", "skip"]

_OF_BOTH_TAPES = {
    **dict.fromkeys("ADEFKLOSXY1568", _BAR),
    **dict.fromkeys("CNR", _SIZE),
    **dict.fromkeys("GZ", _LAST_NOT),
    **dict.fromkeys("P4", _SIZE),
    **dict.fromkeys("HV7", _SIZE),
    "I": _BAR,
    **dict.fromkeys("MQ9", _NOTHING),
    "T": _BAR,
    "U": _SIZE,
}
_OF_TAPE_AB = {**_OF_BOTH_TAPES, "B": _SIZE}
_OF_TAPE_C = {**_OF_BOTH_TAPES, "B": _BAR, "W": _SIZE}
_EXTENDED = np.uint64(1 << BITS["T"])
_TAPES, _KNOWN_TAPES = np.uint64(TAPE_AB | TAPE_C), (np.uint64(TAPE_AB), np.uint64(TAPE_C))


class _Masks(NamedTuple):
    """Per reading (unknown tape, A or B, C): the conditions with which a trade does not move each of the four."""

    high_low: tuple[int, int, int]
    open_close: tuple[int, int, int]
    volume: tuple[int, int, int]
    weighs: tuple[int, int, int]


def _effect_of(code: str, reading: int, odd_lots: OddLots) -> int:
    if code == "I":
        return _BAR if odd_lots == "count" else _ODD_LOT_ALONE
    readings = ((_OF_TAPE_AB, _OF_TAPE_C), (_OF_TAPE_AB,), (_OF_TAPE_C,))[reading]
    effect = EVERYTHING
    for table in readings:
        effect &= table.get(code, _SIZE)
    return effect


def _masks(odd_lots: OddLots) -> NDArray[np.uint64]:
    """Return, per reading and column, the bits of the conditions that keep a trade from moving it; shape (3, 4)."""
    masks = np.zeros((3, 4), np.uint64)
    for reading in range(3):
        for column, part in enumerate((HIGH_LOW, OPEN_CLOSE, VOLUME, WEIGHS)):
            bits = sum(1 << BITS[code] for code in CODES if not _effect_of(code, reading, odd_lots) & part)
            if not _SIZE & part:
                bits |= 1 << ODD_CODE
            masks[reading, column] = bits
    return masks


def _unknown(reading: int) -> int:
    tables = ((_OF_TAPE_AB, _OF_TAPE_C), (_OF_TAPE_AB,), (_OF_TAPE_C,))[reading]
    return sum(1 << BITS[code] for code in CODES if not any(code in table for table in tables)) | 1 << ODD_CODE


class Pricing:
    """Says what each trade moves, and counts the trades of each condition but the regular one."""

    def __init__(self, conditions: TradeConditions, odd_lots: OddLots, calendar: CalendarName) -> None:
        self.counts: Counter[str] = Counter()
        """Trades by a code they carry, `?` for what is no code."""
        self.unknown = 0
        """Trades with a code that their tape's plan does not have."""
        self._is_all = conditions == "all"
        self._masks = _masks(odd_lots)
        self._unknown = np.array([_unknown(reading) for reading in range(3)], np.uint64)
        self._calendar = calendar

    def effects(self, conditions: Words, at_ns: Ints) -> NDArray[np.uint8]:
        """Return what each trade moves, and count."""
        effects = np.empty(len(conditions), np.uint8)
        counts = np.zeros(ODD_CODE + 2, np.int64)
        if _effects(conditions, self._masks, self._unknown, effects, counts):
            for bit in np.flatnonzero(counts[: ODD_CODE + 1]).tolist():
                self.counts[CODES[bit] if bit < ODD_CODE else "?"] += int(counts[bit])
            self.unknown += int(counts[ODD_CODE + 1])
            if self._is_all:
                effects[:] = EVERYTHING
            elif counts[BITS["T"]]:
                extended = np.flatnonzero(conditions & _EXTENDED)
                inside = extended[are_regular(at_ns[extended], self._calendar)]
                effects[inside] &= _SIZE
        return effects

    def effect(self, conditions: int, at_ns: int) -> int:
        """Return what one trade moves, without counting it."""
        counted, unknown = Counter(self.counts), self.unknown
        found = int(self.effects(np.array([conditions], np.uint64), np.array([at_ns], np.int64))[0])
        self.counts, self.unknown = counted, unknown
        return found


@njit(cache=True, nogil=True)
def _effects(conditions: Any, masks: Any, unknown: Any, effects: Any, counts: Any) -> bool:
    """Fill in what each trade moves and the counts by bit, of unknown ones last; return whether any has a condition."""
    has_any = False
    for row in range(len(conditions)):
        said = conditions[row]
        codes = said & ~_TAPES
        if codes == np.uint64(0):
            effects[row] = EVERYTHING
            continue
        has_any = True
        reading = 0
        if said & _KNOWN_TAPES[0]:
            reading = 1
        elif said & _KNOWN_TAPES[1]:
            reading = 2
        effect = 0
        for column in range(4):
            if codes & masks[reading, column] == np.uint64(0):
                effect |= 1 << column
        effects[row] = effect
        if codes & unknown[reading]:
            counts[ODD_CODE + 1] += 1
        for bit in range(ODD_CODE + 1):
            if codes & (np.uint64(1) << np.uint64(bit)):
                counts[bit] += 1
    return has_any


def warm_up() -> None:
    """Compile the kernel, or load it from the cache."""
    Pricing("sip", "count", "XNYS").effects(np.zeros(1, np.uint64), np.zeros(1, np.int64))
