"""Reads signals and prices from ClickHouse, tolerant of duplicates, revisions, late rows and missing tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeGuard

from torghut_core.engines.clickhouse import ClickHouseError, Queries, Trouble
from torghut_core.trading.model import TIMEFRAMES, WINDOW_SIZES, Signal

_MS = 1_000_000
_BUCKET_MS = 10_000
_MAX_BUCKET_ROWS = 200_000
_MOST = 1e9
"""No price, and no indicator of one, is larger; what PostgreSQL and decimal arithmetic take easily."""
_LAST_MS = 253_402_300_800_000
"""The year 10000, beyond which no timestamp goes."""
_Version = tuple[str, str, int, int]
_COLUMNS = (
    "symbol, window_size, toUnixTimestamp64Milli(event_ts) AS event_ms, toUnixTimestamp64Milli(ingest_ts) AS ingest_ms,"
    " seq, close, macd, macd_signal, macd_hist, ema12, ema26, rsi14, boll_mid, boll_upper, boll_lower, vwap_session,"
    " vwap_w5m, vol_realized_w60s, warm, imbalance_spread, imbalance_bid_px, imbalance_ask_px, imbalance_bid_sz,"
    " imbalance_ask_sz, imbalance_ratio"
)
"""Every column of a signal that a rule may see."""
_MORE = (
    "macd_hist",
    "ema12",
    "ema26",
    "boll_mid",
    "boll_upper",
    "boll_lower",
    "vwap_session",
    "vwap_w5m",
    "imbalance_spread",
    "imbalance_bid_sz",
    "imbalance_ask_sz",
    "imbalance_ratio",
)
"""Columns that are a signal's fields under their own names."""
_NEW = """
SELECT COLUMNS
FROM {database:Identifier}.{table:Identifier}
WHERE symbol IN {symbols:Array(String)} AND window_size IN {sizes:Array(String)} AND is_final = 1
  AND event_ts >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
  AND ingest_ts >= fromUnixTimestamp64Milli({lower:Int64}, 'UTC')
ORDER BY ingest_ts, event_ts, seq, symbol, window_size LIMIT {limit:UInt64}
""".replace("COLUMNS", _COLUMNS)
_HISTORY = """
SELECT * FROM (
  SELECT COLUMNS
  FROM {database:Identifier}.{table:Identifier}
  WHERE symbol IN {symbols:Array(String)} AND window_size IN {sizes:Array(String)} AND is_final = 1
    AND event_ts >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
    AND ingest_ts <= fromUnixTimestamp64Milli({upper:Int64}, 'UTC')
    AND toUnixTimestamp64Milli(event_ts) <= {until:Int64}
  ORDER BY event_ts DESC, ingest_ts DESC LIMIT 1 BY symbol, window_size, event_ts)
ORDER BY event_ms DESC LIMIT {bars:UInt64} BY symbol, window_size
""".replace("COLUMNS", _COLUMNS)
_BUCKETS = """
SELECT intDiv(toUnixTimestamp64Milli(ingest_ts), {bucket:Int64}) AS bucket,
       uniqExact(symbol, window_size, event_ts, ingest_ts) AS versions
FROM {database:Identifier}.{table:Identifier}
WHERE symbol IN {symbols:Array(String)} AND window_size IN {sizes:Array(String)} AND is_final = 1
  AND event_ts >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
  AND ingest_ts >= fromUnixTimestamp64Milli({lower:Int64}, 'UTC')
  AND ingest_ts < fromUnixTimestamp64Milli({upper:Int64}, 'UTC')
GROUP BY bucket
"""
_BUCKET = """
SELECT COLUMNS
FROM {database:Identifier}.{table:Identifier}
WHERE symbol IN {symbols:Array(String)} AND window_size IN {sizes:Array(String)} AND is_final = 1
  AND event_ts >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
  AND ingest_ts >= fromUnixTimestamp64Milli({lower:Int64}, 'UTC')
  AND ingest_ts < fromUnixTimestamp64Milli({upper:Int64}, 'UTC')
ORDER BY ingest_ts, event_ts, seq, symbol, window_size LIMIT {limit:UInt64}
""".replace("COLUMNS", _COLUMNS)
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
    so that a row committed after a later-stamped one is still seen. `read_late` looks further back, over the whole
    lookback, by counts alone, and reads only where there are more rows than were given out. A row that was revised (same
    key, later `ingest_ts`) is given again. Within one read only the newest version of a key is given. A row that holds
    what no signal can is left out alone, and counted by `on_bad_row` with its reason.
    """

    def __init__(
        self,
        clickhouse: Queries,
        *,
        table: str,
        overlap_ms: int,
        lookback_ms: int,
        batch_size: int,
        on_bad_row: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._clickhouse = clickhouse
        self._table = table
        self._overlap_ms = overlap_ms
        self._lookback_ms = max(lookback_ms, overlap_ms)
        self._batch_size = batch_size
        self._on_bad_row = on_bad_row
        self._given: dict[int, set[_Version]] = {}
        """Versions given out, by bucket of ingest time."""

    def read(self, cursor: Cursor, *, symbols: Sequence[str], timeframes: Iterable[str], since_ns: int) -> Batch:
        """Return signals of `symbols` and `timeframes` with an event at or after `since_ns` that were not given yet.

        A missing table means no signals yet. Raises ClickHouseError for anything else. Without rows the cursor stays.
        """
        lower_ms = max(0, cursor.ingest_ms - self._overlap_ms)
        recent = sum(len(given) for bucket, given in self._given.items() if (bucket + 1) * _BUCKET_MS > lower_ms)
        limit = self._batch_size + recent
        rows = self._rows(_NEW, self._parameters(symbols, timeframes, since_ns) | {"lower": lower_ms, "limit": limit})
        batch = self._take(rows, cursor, is_full=len(rows) >= limit)
        self._forget(batch.cursor.ingest_ms - self._lookback_ms)
        return batch

    def read_late(self, cursor: Cursor, *, symbols: Sequence[str], timeframes: Iterable[str], since_ns: int) -> Batch:
        """Return signals that were written into the past, further back than `read` looks; the cursor stays.

        Raises ClickHouseError.
        """
        upper = cursor.ingest_ms - self._overlap_ms
        lower = max(0, cursor.ingest_ms - self._lookback_ms) // _BUCKET_MS * _BUCKET_MS
        given = self._parameters(symbols, timeframes, since_ns)
        if upper <= lower:
            return Batch(signals=(), cursor=cursor, is_full=False)
        counts = self._rows(_BUCKETS, given | {"lower": lower, "upper": upper, "bucket": _BUCKET_MS})
        rows: list[dict[str, Any]] = []
        is_full = False
        for bucket in sorted(int(row["bucket"]) for row in counts if self._has_more(row)):
            if len(rows) >= self._batch_size:
                is_full = True
                break
            start = bucket * _BUCKET_MS
            # The whole bucket, so that what is given out is counted whole.
            rows += self._rows(
                _BUCKET, given | {"lower": start, "upper": start + _BUCKET_MS, "limit": _MAX_BUCKET_ROWS}
            )
        batch = self._take(rows, cursor, is_full=is_full)
        return Batch(signals=batch.signals, cursor=cursor, is_full=is_full)

    def _has_more(self, row: dict[str, Any]) -> bool:
        return int(row["versions"]) > len(self._given.get(int(row["bucket"]), ()))

    def _parameters(self, symbols: Sequence[str], timeframes: Iterable[str], since_ns: int) -> dict[str, Any]:
        return {
            "symbols": list(symbols),
            "sizes": [WINDOW_SIZES[timeframe] for timeframe in dict.fromkeys(timeframes)],
            "since": since_ns // _MS,
        }

    def _take(self, rows: Iterable[dict[str, Any]], cursor: Cursor, *, is_full: bool) -> Batch:
        newest: dict[tuple[str, str, int], Signal] = {}
        last = cursor
        for row in rows:
            try:
                version = _version(row)
            except RowError as error:
                self._on_bad_row(error.reason)
                continue
            symbol, _, _, ingest_ms = version
            given = self._given.setdefault(ingest_ms // _BUCKET_MS, set())
            if version in given:
                continue
            given.add(version)
            if ingest_ms >= last.ingest_ms:
                last = Cursor(ingest_ms=ingest_ms, seq=_seq(row.get("seq")), symbol=symbol)
            try:
                signal = parse_signal(row)
            except RowError as error:
                self._on_bad_row(error.reason)
                continue
            newest.pop(signal.key, None)
            newest[signal.key] = signal
        return Batch(signals=tuple(newest.values()), cursor=last, is_full=is_full)

    def history(
        self, cursor: Cursor, *, symbols: Sequence[str], timeframes: Iterable[str], since_ns: int, bars: int
    ) -> tuple[Signal, ...]:
        """Return up to `bars` newest signals per symbol and timeframe that were written at or before the cursor."""
        rows = self._rows(
            _HISTORY,
            self._parameters(symbols, timeframes, since_ns)
            | {"upper": cursor.ingest_ms, "until": _LAST_MS, "bars": bars},
        )
        return self._parsed(rows)

    def window(self, signal: Signal, *, since_ns: int, bars: int) -> tuple[Signal, ...]:
        """Return up to `bars` signals of the signal's series that end with it, in time order.

        For a row so late that its bars are kept no more. Raises ClickHouseError.
        """
        rows = self._rows(
            _HISTORY,
            self._parameters([signal.symbol], [signal.timeframe], since_ns)
            | {"upper": signal.ingest_ms, "until": signal.event_ns // _MS, "bars": bars},
        )
        found = self._parsed(rows)
        return found if found and found[-1].event_ns == signal.event_ns else ()

    def _parsed(self, rows: Sequence[dict[str, Any]]) -> tuple[Signal, ...]:
        found: list[Signal] = []
        for row in reversed(rows):
            try:
                found.append(parse_signal(row))
            except RowError as error:
                self._on_bad_row(error.reason)
        return tuple(found)

    def forget_all(self) -> None:
        """Give everything at or after the cursor's overlap out again: what was given was not dealt with."""
        self._given.clear()

    def _forget(self, before_ms: int) -> None:
        self._given = {bucket: given for bucket, given in self._given.items() if (bucket + 1) * _BUCKET_MS > before_ms}

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


class RowError(ValueError):
    """A row holds what no signal can; `reason` names the column."""

    def __init__(self, column: str) -> None:
        super().__init__(f"{column} cannot be used")
        self.reason = f"bad_{column}"


def parse_signal(row: dict[str, Any]) -> Signal:
    """Return a row of `ta_signals` as a signal.

    A quote that is no price is no quote; anything else that is not what its column promises raises RowError.
    """
    close = _number(row, "close")
    if close is None or close <= 0:
        raise RowError("close")
    symbol, window_size, event_ms, ingest_ms = _version(row)
    seq = _seq(row.get("seq"))
    if seq is None:
        raise RowError("seq")
    warm = row.get("warm")
    if not isinstance(warm, int) or isinstance(warm, bool) or warm not in (0, 1):
        raise RowError("warm")
    volatility = _number(row, "vol_realized_w60s")
    if volatility is not None and volatility < 0:
        raise RowError("vol_realized_w60s")
    return Signal(
        symbol=symbol,
        timeframe=TIMEFRAMES.get(window_size, window_size),
        event_ns=event_ms * _MS,
        ingest_ms=ingest_ms,
        seq=seq,
        close=close,
        macd=_number(row, "macd"),
        macd_signal=_number(row, "macd_signal"),
        rsi14=_number(row, "rsi14"),
        volatility=volatility,
        is_warm=warm == 1,
        bid=_quoted(row.get("imbalance_bid_px")),
        ask=_quoted(row.get("imbalance_ask_px")),
        **{column: _number(row, column) for column in _MORE},
    )


def _version(row: dict[str, Any]) -> tuple[str, str, int, int]:
    """Return what tells a row, and its revision, from all others. Raises RowError."""
    symbol, window_size = row.get("symbol"), row.get("window_size")
    if not isinstance(symbol, str) or not 0 < len(symbol) <= 64 or not symbol.isprintable():
        raise RowError("symbol")
    if not isinstance(window_size, str):
        raise RowError("window_size")
    event_ms, ingest_ms = row.get("event_ms"), row.get("ingest_ms")
    if not _is_instant(event_ms):
        raise RowError("event_ts")
    if not _is_instant(ingest_ms):
        raise RowError("ingest_ts")
    return symbol, window_size, event_ms, ingest_ms


def _is_instant(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LAST_MS


def _number(row: dict[str, Any], column: str) -> float | None:
    value = row.get(column)
    if value is None:
        return None
    # Compared first: a whole number may be too long for a float.
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_MOST <= value <= _MOST:
        raise RowError(column)
    return float(value)


def _seq(value: Any) -> int | None:
    is_whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
    return value if is_whole else None


def _quoted(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value <= _MOST else None
