"""Rows as they leave: ClickHouse columns, and envelopes for Kafka. Non-finite numbers leave as null."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from torghut_core.engines import clickhouse_native as native
from torghut_core.engines.byte_column import ByteColumn
from torghut_core.rfc3339 import format_ns
from torghut_core.ta.engine.engine import RowBlock
from torghut_core.ta.engine.indicators import OUTPUTS
from torghut_core.ta.engine.quotes import FIELDS
from torghut_core.ta.outputs.json_rows import Pieces, encode_rows

MICROBARS, SIGNALS = "torghut.ta_microbars", "torghut.ta_signals"
VERSION = 1

COMMON_COLUMNS = [
    "symbol",
    "event_ts",
    "seq",
    "ingest_ts",
    "is_final",
    "source",
    "window_size",
    "window_step",
    "window_start",
    "window_end",
    "version",
]
MICROBAR_COLUMNS = ["o", "h", "l", "c", "v", "vwap", "count"]
SIGNAL_COLUMNS = [*OUTPUTS[:-1], *FIELDS, OUTPUTS[-1], "close", "warm"]
"""In the order of the ClickHouse table."""
COLUMNS = {MICROBARS: COMMON_COLUMNS + MICROBAR_COLUMNS, SIGNALS: COMMON_COLUMNS + SIGNAL_COLUMNS}

_PAYLOAD = {MICROBARS: MICROBAR_COLUMNS, SIGNALS: SIGNAL_COLUMNS}
_CHANNELS = {MICROBARS: "microbars", SIGNALS: "signals"}
_INTEGERS = {"count": "UInt64", "warm": "UInt8"}
MOST_DAYS = 50
"""Days in one insert: half of what a server allows by default (`max_partitions_per_insert_block`)."""
_DAY = 86_400
_NEVER_NULL = frozenset(["o", "h", "l", "c", "v", "close"])


@dataclass(frozen=True)
class TableRows:
    """Rows of one table, all written with one `ingest_ts`, in arrays of equal length."""

    table: str
    names: Sequence[str]
    symbol: NDArray[np.int64]
    """Index into `names`."""
    end_seconds: NDArray[np.int64]
    window_size: str
    window_seconds: int
    ingest_ms: int
    payload: NDArray[np.float64]
    """Shape (n, k): the table's own columns in table order. What is not finite is null."""

    def __len__(self) -> int:
        return len(self.symbol)

    def pieces(self, size: int) -> Iterator[TableRows]:
        """Yield the rows in order, at most `size` at a time: Python values take fifty times the memory of columns."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            symbol, end_seconds, payload = self.symbol[part], self.end_seconds[part], self.payload[part]
            yield replace(self, symbol=symbol, end_seconds=end_seconds, payload=payload)

    def where(self, mask: NDArray[np.bool_]) -> TableRows:
        """Return the rows at which `mask` is true."""
        symbol, end_seconds, payload = self.symbol[mask], self.end_seconds[mask], self.payload[mask]
        return replace(self, symbol=symbol, end_seconds=end_seconds, payload=payload)

    @property
    def symbols(self) -> list[str]:
        return [self.names[number] for number in self.symbol.tolist()]

    def clickhouse_columns(self) -> dict[str, list[Any]]:
        """Return every column of the table as Python values; times as milliseconds since the epoch."""
        count = len(self.symbol)
        end = (self.end_seconds * 1000).tolist()
        common: list[list[Any]] = [
            self.symbols,
            end,
            self.end_seconds.tolist(),
            [self.ingest_ms] * count,
            [1] * count,
            ["ta"] * count,
            [self.window_size] * count,
            [self.window_size] * count,
            ((self.end_seconds - self.window_seconds) * 1000).tolist(),
            end,
            [VERSION] * count,
        ]
        own = [_values(name, self.payload[:, at]) for at, name in enumerate(_PAYLOAD[self.table])]
        return dict(zip(COLUMNS[self.table], [*common, *own], strict=True))


def _values(name: str, column: NDArray[np.float64]) -> list[Any]:
    if name in _INTEGERS:
        return list(column.astype(np.int64).tolist())
    out: list[float | None] = column.tolist()
    for index in np.flatnonzero(~np.isfinite(column)).tolist():
        out[index] = None
    return out


def to_tables(block: RowBlock, ingest_ms: int) -> list[TableRows]:
    """Return the micro-bar rows and the signal rows of a block."""
    tables = []
    if block.has_bar.any():
        bars = block.bars.where(block.has_bar)
        payload = (bars.open, bars.high, bars.low, bars.close, bars.volume, bars.vwap, bars.trades)
        tables.append(_table(MICROBARS, block, block.has_bar, ingest_ms, payload))
    if block.has_signal.any():
        values, quotes = block.indicators[block.has_signal], block.quotes[block.has_signal]
        named = dict(zip([*OUTPUTS, "warm"], values.T, strict=True)) | dict(zip(FIELDS, quotes.T, strict=True))
        named["close"] = block.bars.close[block.has_signal]
        payload = tuple(named[name] for name in SIGNAL_COLUMNS)
        tables.append(_table(SIGNALS, block, block.has_signal, ingest_ms, payload))
    return tables


def _table(
    table: str, block: RowBlock, which: NDArray[np.bool_], ingest_ms: int, payload: Sequence[NDArray[Any]]
) -> TableRows:
    return TableRows(
        table,
        block.names,
        block.bars.symbol[which],
        block.bars.end[which],
        block.window_size,
        block.window_seconds,
        ingest_ms,
        np.stack(payload, axis=1, dtype=np.float64),
    )


def by_days(batch: Sequence[TableRows]) -> list[list[TableRows]]:
    """Return rows of one table in parts of at most `MOST_DAYS` days of event time, which are the tables' partitions.

    ClickHouse refuses a block of more than a hundred partitions whole.
    """
    days = [rows.end_seconds // _DAY for rows in batch]
    different = np.unique(np.concatenate(days))
    if len(different) <= MOST_DAYS:
        return [list(batch)]
    parts = []
    for start in range(0, len(different), MOST_DAYS):
        first, last = different[start], different[min(start + MOST_DAYS, len(different)) - 1]
        its = [rows.where((day >= first) & (day <= last)) for rows, day in zip(batch, days, strict=True)]
        parts.append([rows for rows in its if len(rows)])
    return parts


def to_native(batch: Sequence[TableRows]) -> bytes:
    """Return rows of one table as one block in ClickHouse's Native format."""
    counts = [len(rows) for rows in batch]
    names, symbol = _one_numbering(batch)
    end = np.concatenate([rows.end_seconds for rows in batch])
    start = end - np.repeat([rows.window_seconds for rows in batch], counts)
    ingest_ms = np.repeat(np.array([rows.ingest_ms for rows in batch], np.int64), counts)
    sizes = sorted({rows.window_size for rows in batch})
    size = native.strings(np.repeat([sizes.index(rows.window_size) for rows in batch], counts), sizes)
    ones = np.ones(len(end), np.int64)
    common = [
        native.strings(symbol, names),
        native.times(end * 1000),
        native.integers(end, "UInt64"),
        native.times(ingest_ms),
        native.integers(ones, "UInt8"),
        native.strings(ones - 1, ["ta"]),
        size,
        size,
        native.times(start * 1000),
        native.times(end * 1000),
        native.integers(ones * VERSION, "UInt32"),
    ]
    table = batch[0].table
    payload = np.concatenate([rows.payload for rows in batch])
    own = [_native(name, payload[:, at]) for at, name in enumerate(_PAYLOAD[table])]
    return native.encode_block(dict(zip(COLUMNS[table], [*common, *own], strict=True)), len(end))


def _native(name: str, values: NDArray[np.float64]) -> native.Column:
    if name in _INTEGERS:
        return native.integers(values.astype(np.int64), _INTEGERS[name])
    return native.floats(values) if name in _NEVER_NULL else native.nullable_floats(values)


def _one_numbering(batch: Sequence[TableRows]) -> tuple[Sequence[str], NDArray[np.int64]]:
    """Return names, and every row's index into them; partitions number their symbols apart."""
    names: list[str] = []
    shifts: dict[int, int] = {}
    for rows in batch:
        if id(rows.names) not in shifts:
            shifts[id(rows.names)] = len(names)
            names.extend(rows.names)
    return names, np.concatenate([rows.symbol + shifts[id(rows.names)] for rows in batch])


def to_records(rows: TableRows, feed: str) -> tuple[ByteColumn, ByteColumn]:
    """Return keys (symbols) and envelopes (JSON) of rows."""
    ends, end_of = np.unique(rows.end_seconds, return_inverse=True)
    used, symbol_of = np.unique(rows.symbol, return_inverse=True)
    names = [rows.names[number] for number in used.tolist()]
    before, after = _around(rows, feed, ends)
    own = _PAYLOAD[rows.table]
    records = encode_rows(
        [Pieces(before, end_of), Pieces([orjson.dumps(name) for name in names], symbol_of), Pieces(after, end_of)],
        own,
        rows.payload,
        [name in _INTEGERS for name in own],
        b'},"version":%d}' % VERSION,
    )
    keys = [name.encode() for name in names]
    return ByteColumn.of([keys[number] for number in symbol_of.tolist()]), records


def _around(rows: TableRows, feed: str, ends: NDArray[np.int64]) -> tuple[list[bytes], list[bytes]]:
    """Return what stands before and after the symbol in the envelopes of windows that end at `ends`."""
    texts = (format_ns(rows.ingest_ms * 1_000_000), feed, _CHANNELS[rows.table], rows.window_size)
    ingest_ts, said_feed, channel, size = map(orjson.dumps, texts)
    starts = _times(ends - rows.window_seconds)
    before, after = [], []
    for seconds, start, end in zip(ends.tolist(), starts, _times(ends), strict=True):
        before.append(
            b'{"ingest_ts":%b,"event_ts":"%b","feed":%b,"channel":%b,"symbol":' % (ingest_ts, end, said_feed, channel)
        )
        after.append(
            b',"seq":%d,"is_final":true,"source":"ta","window":{"size":%b,"step":%b,"start":"%b","end":"%b"},"payload":{'
            % (seconds, size, size, start, end)
        )
    return before, after


def _times(seconds: NDArray[np.int64]) -> list[bytes]:
    """Return RFC 3339 in UTC."""
    return [f"{text}Z".encode() for text in np.datetime_as_string(seconds.astype("datetime64[s]")).tolist()]
