"""Minute bars made of a recording's trades beside the provider's own in the same file: where they differ, and by how much.

Minutes are made of the trades that the engine takes, by the same rules, whole: also of seconds that no trade prices. Of a
minute bar that was sent again the last word counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from torghut_core.errors import InputError
from torghut_core.ta.decoding.columns import Floats, Ints
from torghut_core.ta.decoding.lines import LineDecoder
from torghut_core.ta.engine.engine import Engine, EngineCounts, EngineSettings, RowBlock, SourceName
from torghut_core.ta.engine.reduction import BarColumns, Ticks, reduce
from torghut_core.ta.files import Progress, read_bytes, whole_lines

FIELDS = ("o", "h", "l", "c", "v", "n", "vw")
_TOLERANCE = (0.0, 0.0, 0.0, 0.0, 1e-9, 0.0, 1e-6)
"""Relative: a sum of sizes may round otherwise, and providers round a VWAP."""
_MINUTE = 60
WORST = 10


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A minute that both have, and that is not the same."""

    symbol: str
    end: int
    """Of the minute, epoch seconds."""
    fields: dict[str, tuple[float, float]]
    """Own value and the provider's, by the name of the field."""
    largest: float
    """Largest relative difference."""


@dataclass(kw_only=True)
class SymbolCheck:
    """What the comparison of one symbol gave."""

    symbol: str
    compared: int = 0
    equal: int = 0
    differing: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FIELDS, 0))
    """Minutes by the field that differs."""
    only_own: int = 0
    only_theirs: int = 0
    own_volume: float = 0.0
    their_volume: float = 0.0
    """Of the minutes that the provider has."""


@dataclass(frozen=True)
class Check:
    """What a file shows."""

    symbols: Sequence[SymbolCheck]
    worst: Sequence[Difference]
    counts: EngineCounts


@dataclass
class _Minutes:
    """Minute bars gathered in columns."""

    parts: list[tuple[Ints, Ints, Floats]] = field(default_factory=list)

    def add(self, bars: BarColumns, end: Ints) -> None:
        values = (bars.open, bars.high, bars.low, bars.close, bars.volume, bars.trades, bars.vwap)
        self.parts.append((bars.symbol, end, np.stack(values, axis=1, dtype=np.float64)))

    def last(self) -> tuple[Ints, Ints, Floats]:
        """Return the last bar of each symbol and minute, in that order."""
        if not self.parts:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, len(FIELDS)))
        symbol, end, values = (np.concatenate(column) for column in zip(*self.parts, strict=True))
        order = np.lexsort((np.arange(len(symbol)), end, symbol))
        symbol, end = symbol[order], end[order]
        is_last = np.concatenate([(symbol[1:] != symbol[:-1]) | (end[1:] != end[:-1]), [True]])
        return symbol[is_last], end[is_last], values[order][is_last]


class _Own:
    """Minutes made of the trades that the engine takes."""

    def __init__(self) -> None:
        self.minutes = _Minutes()
        self._waiting: list[Ticks] = []

    def take(self, ticks: Ticks) -> None:
        self._waiting.append(ticks)

    def close(self, until_second: int) -> None:
        """Make the minutes that end at or before an epoch second: no trade of them comes any more."""
        if not self._waiting:
            return
        ticks = Ticks.joined(self._waiting)
        due = ticks.at_ns // 1_000_000_000 < until_second // _MINUTE * _MINUTE
        self._waiting = [ticks.where(~due)]
        if due.any():
            bars = reduce(ticks.where(due), _MINUTE).bars
            self.minutes.add(bars, bars.end * _MINUTE)


def check_file(path: Path, settings: EngineSettings, progress: Progress | None = None) -> Check:
    """Compare the minutes of a recording's trades with the minute bars in it.

    Raises InputError when the file cannot be read to its end, or holds no trade or no minute bar.
    """
    engine, own, theirs, decoder = Engine(settings), _Own(), _Minutes(), LineDecoder()
    engine.trades.taken = own.take
    idle: frozenset[SourceName] = frozenset(["quotes", "bars"])
    """Nothing here stands beside a quote: the trades' own watermark closes their windows."""

    def note(blocks: Sequence[RowBlock]) -> None:
        for block in blocks:
            if block.window_seconds == _MINUTE:
                theirs.add(block.bars, block.bars.end)

    for chunk in whole_lines(read_bytes(path, progress), engine.counts.rejected):
        engine.add(decoder.decode(chunk))
        note(engine.emit(idle))
        own.close(engine.trades.closed_until)
    note(engine.finish())
    own.close(engine.trades.closed_until)
    for minutes, what in ((own.minutes, "trade"), (theirs, "minute bar")):
        if not minutes.parts:
            raise InputError(
                f"FILE={path}: holds no {what} that can be used: nothing to compare",
                hint="record trades and bars (updatedBars too) of the same symbols",
            )
    return _compared(engine, own.minutes, theirs)


def _compared(engine: Engine, own: _Minutes, theirs: _Minutes) -> Check:
    their_symbol, their_end, their_values = theirs.last()
    own_symbol, own_end, own_values = own.last()
    own_row = {key: row for row, key in enumerate(zip(own_symbol.tolist(), own_end.tolist(), strict=True))}
    checks: dict[int, SymbolCheck] = {}
    differences: list[Difference] = []
    for number, end, values in zip(their_symbol.tolist(), their_end.tolist(), their_values, strict=True):
        check = checks.setdefault(number, SymbolCheck(symbol=engine.names[number]))
        check.their_volume += values[4]
        row = own_row.pop((number, end), None)
        if row is None:
            check.only_theirs += 1
            continue
        check.own_volume += own_values[row, 4]
        check.compared += 1
        found = _difference(check.symbol, end, own_values[row], values)
        if found is None:
            check.equal += 1
            continue
        differences.append(found)
        for name in found.fields:
            check.differing[name] += 1
    for number, _ in own_row:
        checks.setdefault(number, SymbolCheck(symbol=engine.names[number])).only_own += 1
    worst = sorted(differences, key=lambda each: (-each.largest, each.symbol, each.end))[:WORST]
    return Check(sorted(checks.values(), key=lambda each: each.symbol), worst, engine.counts)


def _difference(symbol: str, end: int, own: Floats, theirs: Floats) -> Difference | None:
    """Return how two bars of a minute differ, None where they do not. A VWAP that is not said is not compared."""
    fields: dict[str, tuple[float, float]] = {}
    largest = 0.0
    for name, tolerance, mine, its in zip(FIELDS, _TOLERANCE, own.tolist(), theirs.tolist(), strict=True):
        if math.isnan(mine) or math.isnan(its):
            continue
        relative = abs(mine - its) / max(abs(mine), abs(its)) if mine != its else 0.0
        if relative > tolerance:
            fields[name] = (mine, its)
            largest = max(largest, relative)
    return Difference(symbol=symbol, end=end, fields=fields, largest=largest) if fields else None
