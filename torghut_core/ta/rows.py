"""Rows as they leave: ClickHouse columns, and envelopes for Kafka. Non-finite numbers leave as null."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from torghut_core.rfc3339 import format_ns
from torghut_core.ta.engine import RowBlock
from torghut_core.ta.indicators import OUTPUTS
from torghut_core.ta.quotes import FIELDS

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


@dataclass(frozen=True)
class TableRows:
    """Rows of one table, all written with one `ingest_ts`."""

    table: str
    symbols: list[str]
    end_seconds: list[int]
    window_size: str
    window_seconds: int
    ingest_ms: int
    payload: dict[str, list[Any]]
    """Column name to values, in table order, without the common columns."""

    def __len__(self) -> int:
        return len(self.symbols)

    def clickhouse_columns(self) -> dict[str, list[Any]]:
        """Return every column of the table; times as milliseconds since the epoch."""
        count = len(self.symbols)
        end = [second * 1000 for second in self.end_seconds]
        start = [each - self.window_seconds * 1000 for each in end]
        return {
            "symbol": self.symbols,
            "event_ts": end,
            "seq": self.end_seconds,
            "ingest_ts": [self.ingest_ms] * count,
            "is_final": [1] * count,
            "source": ["ta"] * count,
            "window_size": [self.window_size] * count,
            "window_step": [self.window_size] * count,
            "window_start": start,
            "window_end": end,
            "version": [VERSION] * count,
            **self.payload,
        }


def to_tables(block: RowBlock, ingest_ms: int) -> list[TableRows]:
    """Return the micro-bar rows and the signal rows of a block."""
    tables = []
    if block.has_bar.any():
        bars = block.bars.where(block.has_bar)
        payload = {
            "o": bars.open.tolist(),
            "h": bars.high.tolist(),
            "l": bars.low.tolist(),
            "c": bars.close.tolist(),
            "v": bars.volume.tolist(),
            "vwap": _nullable(bars.vwap),
            "count": bars.trades.tolist(),
        }
        tables.append(_table(MICROBARS, block, block.has_bar, ingest_ms, payload))
    if block.has_signal.any():
        values, quotes = block.indicators[block.has_signal], block.quotes[block.has_signal]
        columns = dict(zip(OUTPUTS, values.T, strict=False)) | dict(zip(FIELDS, quotes.T, strict=True))
        nullable = {name: _nullable(columns[name]) for name in SIGNAL_COLUMNS[:-2]}
        payload = nullable | {
            "close": block.bars.close[block.has_signal].tolist(),
            "warm": values[:, -1].astype(np.int64).tolist(),
        }
        tables.append(_table(SIGNALS, block, block.has_signal, ingest_ms, payload))
    return tables


def _table(
    table: str, block: RowBlock, which: NDArray[np.bool_], ingest_ms: int, payload: dict[str, list[Any]]
) -> TableRows:
    symbols = [block.symbols[index] for index in np.flatnonzero(which).tolist()]
    return TableRows(
        table,
        symbols,
        block.bars.end[which].tolist(),
        block.window_size,
        block.window_seconds,
        ingest_ms,
        payload,
    )


def _nullable(values: NDArray[np.float64]) -> list[float | None]:
    finite = np.isfinite(values)
    out: list[float | None] = values.tolist()
    if not finite.all():
        for index in np.flatnonzero(~finite).tolist():
            out[index] = None
    return out


class _Window(msgspec.Struct, frozen=True, gc=False):
    size: str
    step: str
    start: str
    end: str


_ENCODER = msgspec.json.Encoder()
_CHANNELS = {MICROBARS: "microbars", SIGNALS: "signals"}
_PAYLOADS: dict[str, Any] = {
    MICROBARS: msgspec.defstruct("MicrobarPayload", [(name, float | None) for name in MICROBAR_COLUMNS], gc=False),
    SIGNALS: msgspec.defstruct("SignalPayload", [(name, float | None) for name in SIGNAL_COLUMNS], gc=False),
}


class _Record(msgspec.Struct, gc=False):
    ingest_ts: str
    event_ts: str
    feed: str
    channel: str
    symbol: str
    seq: int
    is_final: bool
    source: str
    window: _Window
    payload: Any
    version: int


def to_records(rows: TableRows, feed: str) -> tuple[list[bytes], list[bytes]]:
    """Return keys (symbols) and envelopes (JSON) of rows."""
    ingest_ts = format_ns(rows.ingest_ms * 1_000_000)
    channel = _CHANNELS[rows.table]
    make = _PAYLOADS[rows.table]
    windows = _windows(rows.end_seconds, rows.window_size, rows.window_seconds)
    records = [
        _ENCODER.encode(
            _Record(
                ingest_ts,
                windows[end].end,
                feed,
                channel,
                symbol,
                end,
                True,
                "ta",
                windows[end],
                make(*values),
                VERSION,
            )
        )
        for symbol, end, values in zip(
            rows.symbols, rows.end_seconds, zip(*rows.payload.values(), strict=True), strict=True
        )
    ]
    return [symbol.encode() for symbol in rows.symbols], records


def _windows(ends: Sequence[int], size: str, seconds: int) -> dict[int, _Window]:
    return {
        end: _Window(size, size, format_ns((end - seconds) * 1_000_000_000), format_ns(end * 1_000_000_000))
        for end in set(ends)
    }
