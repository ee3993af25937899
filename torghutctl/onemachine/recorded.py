"""Files of any kind as a recording that a backtest goes through: messages are put through the TA engine first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torghut_core.clock import NANOS_PER_SECOND
from torghut_core.rfc3339 import parse_ns
from torghut_core.ta.decoding.columns import Decoded
from torghut_core.ta.decoding.lines import LineDecoder
from torghut_core.ta.engine.engine import Engine, EngineSettings, RowBlock
from torghut_core.ta.files import kinds_in, read_bytes, whole_lines
from torghut_core.ta.outputs.rows import MICROBAR_COLUMNS, MICROBARS, SIGNAL_COLUMNS, to_tables
from torghut_core.trading.backtest import files
from torghut_core.trading.backtest.recording import BAR_COLUMNS, Market, Recording, Ticks
from torghut_core.trading.backtest.tables import SIGNAL_COLUMNS as SIGNALS_WANTED
from torghut_core.trading.backtest.tables import Table, bar_table, bars_of, series_of, signal_table
from torghutctl.errors import InputError

Progress = Callable[[int, int], None]
_AHEAD_NS = 60 * NANOS_PER_SECOND
_STATUS = re.compile(rb'^.*"T"\s*:\s*"s".*$', re.MULTILINE)
_BAR_PLACES = [MICROBAR_COLUMNS.index(name) for name in BAR_COLUMNS]
_SIGNAL_PLACES = [SIGNAL_COLUMNS.index(name) for name in SIGNALS_WANTED]


def read_recording(paths: Sequence[Path], settings: EngineSettings, progress: Progress | None = None) -> Recording:
    """Return what the files hold: messages of the stock stream, or rows, of a time after another in the order given.

    Raises InputError, naming file, line and field, for what cannot be used; single messages that cannot are counted.
    """
    signals, bars = signal_table(), bar_table()
    tape, counts = _TapeReader(), Counter[str]()
    engine = Engine(settings)
    kinds = {path: files.kind_of(path) for path in paths}
    messages = [path for path in paths if kinds[path] == "messages"]
    if messages and len(messages) < len(paths):
        raise InputError("FILE: messages and rows cannot be mixed", hint="give files of messages, or files of rows")
    for path in paths:
        kind = kinds[path]
        if kind != "messages":
            counts[kind] += files.read_rows(path, kind, signals if kind == "signals" else bars)
            continue
        _read_messages(path, engine, tape, tables=(signals, bars), progress=progress)
    if messages:
        _take(engine.finish(), signals, bars)
        counts.update({"messages": engine.counts.input_events, **engine.counts.rejected})
        if not engine.counts.input_events:
            raise InputError(
                f"{', '.join(map(str, messages))}: none of the records can be used",
                hint="give Alpaca stock-stream messages or envelopes, one JSON object a line",
            )
    series = series_of(signals)
    if not series:
        raise InputError("FILE: there are no signals", hint="give messages with trades, or ta_signals")
    return Recording(series, bars_of(bars), tape.market() if messages else None, counts)


def _read_messages(
    path: Path, engine: Engine, tape: _TapeReader, *, tables: tuple[Table, Table], progress: Progress | None
) -> None:
    idle = frozenset({"quotes", "bars"}) - kinds_in(path)
    decoder = LineDecoder()
    for chunk in whole_lines(read_bytes(path, progress), engine.counts.rejected):
        decoded = decoder.decode(chunk)
        tape.take(decoded, chunk)
        engine.add(decoded)
        _take(engine.emit(idle), *tables)  # type: ignore[arg-type]


def _take(blocks: Sequence[RowBlock], signals: Table, bars: Table) -> None:
    for block in blocks:
        for rows in to_tables(block, 0):
            is_bars = rows.table == MICROBARS
            table, places = (bars, _BAR_PLACES) if is_bars else (signals, _SIGNAL_PLACES)
            values = rows.payload[:, places]
            values[~np.isfinite(values)] = np.nan
            table.add(rows.names, rows.symbol, rows.window_size, rows.end_seconds * NANOS_PER_SECOND, values)


class _TapeReader:
    """Gathers quotes and trades in the order in which a simulated exchange would publish them."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._parts: dict[str, list[tuple[Any, ...]]] = {"q": [], "t": []}
        self._newest_ns = 0
        self._statuses: list[tuple[int, str, str]] = []

    def take(self, decoded: Decoded, chunk: bytes) -> None:
        began_ns = self._newest_ns
        if decoded.quotes is not None:
            quotes = decoded.quotes
            self._add("q", quotes.symbol, quotes.at_ns, quotes.values, began_ns)
        if decoded.trades is not None:
            trades = decoded.trades
            self._add("t", trades.symbol, trades.at_ns, trades.price[:, None], began_ns)
        if b'"s"' in chunk:
            self._take_statuses(chunk)

    def _add(self, kind: str, symbols: Any, event_ns: Any, values: Any, began_ns: int) -> None:
        # One wrong clock is not the time: what the next record contradicts was never published then.
        is_kept = np.ones(len(event_ns), np.bool_)
        is_kept[:-1] = event_ns[:-1] <= event_ns[1:] + _AHEAD_NS
        codes = np.array([self._names.setdefault(name, len(self._names)) for name in symbols.names], np.int64)
        event_ns = event_ns[is_kept]
        if not len(event_ns):
            return
        at_ns = np.maximum(np.maximum.accumulate(event_ns), began_ns)
        self._newest_ns = max(self._newest_ns, int(at_ns[-1]))
        self._parts[kind].append((at_ns, codes[symbols.index[is_kept]], event_ns, values[is_kept]))

    def _take_statuses(self, chunk: bytes) -> None:
        import msgspec

        for line in _STATUS.findall(chunk):
            try:
                found = msgspec.json.decode(line)
                self._statuses.append((parse_ns(found["t"]), str(found["S"]), str(found["sc"])))
            except (msgspec.DecodeError, KeyError, TypeError, ValueError):
                continue

    def market(self) -> Market:
        """Return all of it, numbered by the time of publishing, a quote before a trade of the same instant."""
        empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))
        q_at, q_symbol, q_event, q_values = _joined(self._parts["q"], empty, 4)
        t_at, t_symbol, t_event, t_values = _joined(self._parts["t"], empty, 1)
        at_ns = np.concatenate([q_at, t_at])
        ranked = np.argsort(at_ns, kind="stable")
        order = np.empty(len(at_ns), np.int64)
        order[ranked] = np.arange(len(at_ns))
        at_ns = at_ns[ranked]
        q_order, t_order = order[: len(q_at)], order[len(q_at) :]
        ticks = {}
        for name, code in self._names.items():
            quotes, trades = np.flatnonzero(q_symbol == code), np.flatnonzero(t_symbol == code)
            ticks[name] = Ticks(
                q_order[quotes],
                q_event[quotes],
                q_values[quotes],
                t_order[trades],
                t_event[trades],
                np.ascontiguousarray(t_values[trades, 0]),
            )
        statuses = sorted(
            (int(np.searchsorted(at_ns, ns, side="right")), symbol, code) for ns, symbol, code in self._statuses
        )
        return Market(at_ns, ticks, statuses)


def _joined(parts: Sequence[tuple[Any, ...]], empty: tuple[Any, ...], width: int) -> tuple[Any, ...]:
    if not parts:
        return (*empty, np.zeros((0, width)))
    return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))
