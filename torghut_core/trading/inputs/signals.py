"""Reads signals and prices from ClickHouse, tolerant of duplicates, revisions, late rows and missing tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from torghut_core.engines.clickhouse import ClickHouseError, Queries, Trouble
from torghut_core.trading.model import TIMEFRAMES, WINDOW_SIZES, Signal

_MS = 1_000_000
_NEW = """
SELECT symbol, window_size, toUnixTimestamp64Milli(event_ts) AS event_ms, toUnixTimestamp64Milli(ingest_ts) AS ingest_ms,
       seq, close, macd, macd_signal, rsi14, vol_realized_w60s, warm
FROM {database:Identifier}.{table:Identifier}
WHERE symbol IN {symbols:Array(String)} AND window_size IN {sizes:Array(String)} AND is_final = 1
  AND event_ts >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
  AND ingest_ts >= fromUnixTimestamp64Milli({lower:Int64}, 'UTC')
ORDER BY ingest_ts, event_ts, seq, symbol, window_size LIMIT {limit:UInt64}
"""
_HISTORY = """
SELECT * FROM (
  SELECT symbol, window_size, toUnixTimestamp64Milli(event_ts) AS event_ms,
         toUnixTimestamp64Milli(ingest_ts) AS ingest_ms,
         seq, close, macd, macd_signal, rsi14, vol_realized_w60s, warm
  FROM {database:Identifier}.{table:Identifier}
  WHERE symbol IN {symbols:Array(String)} AND window_size IN {sizes:Array(String)} AND is_final = 1
    AND event_ts >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
    AND ingest_ts <= fromUnixTimestamp64Milli({upper:Int64}, 'UTC')
  ORDER BY event_ts DESC, ingest_ts DESC LIMIT 1 BY symbol, window_size, event_ts)
ORDER BY event_ms DESC LIMIT {bars:UInt64} BY symbol, window_size
"""
_PRICES = """
SELECT symbol, c, vwap FROM {database:Identifier}.{table:Identifier}
WHERE symbol IN {symbols:Array(String)}
  AND event_ts >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
  AND event_ts <= fromUnixTimestamp64Milli({until:Int64}, 'UTC')
ORDER BY event_ts DESC, ingest_ts DESC LIMIT 1 BY symbol
"""


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """How far signals were read: the ingest watermark, and the last row's seq and symbol beside it."""

    ingest_ms: int = 0
    seq: int | None = None
    symbol: str | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """New signals in the order they were written, and the cursor to store once they are dealt with."""

    signals: tuple[Signal, ...]
    cursor: Cursor
    is_full: bool
    """Whether more may be waiting."""


class SignalReader:
    """Follows `ta_signals` by ingest time.

    Each read goes back `overlap_ms` before the watermark and leaves out the versions of rows it has already given out,
    so that a row committed after a later-stamped one is still seen. A row that was revised (same key, later `ingest_ts`)
    is given again. Within one read only the newest version of a key is given.
    """

    def __init__(self, clickhouse: Queries, *, table: str, overlap_ms: int, batch_size: int) -> None:
        self._clickhouse = clickhouse
        self._table = table
        self._overlap_ms = overlap_ms
        self._batch_size = batch_size
        self._seen: dict[tuple[str, str, int, int], None] = {}

    def read(self, cursor: Cursor, *, symbols: Sequence[str], timeframes: Iterable[str], since_ns: int) -> Batch:
        """Return signals of `symbols` and `timeframes` with an event at or after `since_ns` that were not given yet.

        A missing table means no signals yet. Raises ClickHouseError for anything else. Without rows the cursor stays.
        """
        lower_ms = max(0, cursor.ingest_ms - self._overlap_ms)
        limit = self._batch_size + len(self._seen)
        rows = self._rows(
            _NEW,
            {
                "symbols": list(symbols),
                "sizes": [WINDOW_SIZES[timeframe] for timeframe in dict.fromkeys(timeframes)],
                "since": since_ns // _MS,
                "lower": lower_ms,
                "limit": limit,
            },
        )
        newest: dict[tuple[str, str, int], Signal] = {}
        last = cursor
        for row in rows:
            version = (row["symbol"], row["window_size"], row["event_ms"], row["ingest_ms"])
            if version in self._seen:
                continue
            self._seen[version] = None
            signal = parse_signal(row)
            newest.pop(signal.key, None)
            newest[signal.key] = signal
            if row["ingest_ms"] >= last.ingest_ms:
                last = Cursor(ingest_ms=row["ingest_ms"], seq=signal.seq, symbol=signal.symbol)
        self._forget(last.ingest_ms - self._overlap_ms)
        return Batch(signals=tuple(newest.values()), cursor=last, is_full=len(rows) >= limit)

    def history(
        self, cursor: Cursor, *, symbols: Sequence[str], timeframes: Iterable[str], since_ns: int, bars: int
    ) -> tuple[Signal, ...]:
        """Return up to `bars` newest signals per symbol and timeframe that were written at or before the cursor."""
        rows = self._rows(
            _HISTORY,
            {
                "symbols": list(symbols),
                "sizes": [WINDOW_SIZES[timeframe] for timeframe in dict.fromkeys(timeframes)],
                "since": since_ns // _MS,
                "upper": cursor.ingest_ms,
                "bars": bars,
            },
        )
        return tuple(parse_signal(row) for row in reversed(rows))

    def forget_all(self) -> None:
        """Give everything at or after the cursor's overlap out again: what was given was not dealt with."""
        self._seen.clear()

    def _forget(self, before_ms: int) -> None:
        self._seen = {version: None for version in self._seen if version[3] >= before_ms}

    def _rows(self, statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        if not parameters["symbols"] or not parameters["sizes"]:
            return []
        return query_or_nothing(self._clickhouse, statement, table_parameters(self._table) | parameters)


class PriceReader:
    """Reads the newest micro-bar's close per symbol."""

    def __init__(self, clickhouse: Queries, *, table: str) -> None:
        self._clickhouse = clickhouse
        self._table = table

    def prices(self, symbols: Sequence[str], *, since_ns: int, until_ns: int) -> dict[str, Decimal]:
        """Return the close (else the vwap) of each symbol's newest bar with an event in [since, until].

        Symbols without one, or with a price that is not a positive number, are left out.
        """
        if not symbols:
            return {}
        rows = query_or_nothing(
            self._clickhouse,
            _PRICES,
            table_parameters(self._table)
            | {"symbols": list(symbols), "since": since_ns // _MS, "until": -(-until_ns // _MS)},
        )
        found: dict[str, Decimal] = {}
        for row in rows:
            price = next((value for value in (row["c"], row["vwap"]) if is_price(value)), None)
            if price is not None:
                found[row["symbol"]] = Decimal(str(price))
        return found


def table_parameters(name: str) -> dict[str, Any]:
    """Return the parameters that name a table `DATABASE.TABLE` in a statement."""
    database, _, table = name.partition(".")
    return {"database": database, "table": table}


def query_or_nothing(clickhouse: Queries, statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows, or none when the table does not exist yet. Raises ClickHouseError for anything else."""
    try:
        return clickhouse.query(statement, parameters)
    except ClickHouseError as error:
        if error.trouble is Trouble.MISSING:
            return []
        raise


def is_price(value: float | None) -> bool:
    """Tell whether `value` is a positive finite number; a legitimate zero is not a price, and null is not zero."""
    return value is not None and math.isfinite(value) and value > 0


def parse_signal(row: dict[str, Any]) -> Signal:
    """Return a row of `ta_signals` as a signal."""
    return Signal(
        symbol=row["symbol"],
        timeframe=TIMEFRAMES.get(row["window_size"], row["window_size"]),
        event_ns=int(row["event_ms"]) * _MS,
        ingest_ms=int(row["ingest_ms"]),
        seq=int(row["seq"]),
        close=float(row["close"]),
        macd=row["macd"],
        macd_signal=row["macd_signal"],
        rsi14=row["rsi14"],
        volatility=row["vol_realized_w60s"],
        is_warm=bool(row["warm"]),
    )
