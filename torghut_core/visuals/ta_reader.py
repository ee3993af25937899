"""Reads bars and signals from ClickHouse: newest first by primary key, duplicates resolved by the newest `ingest_ts`."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from torghut_core.engines.clickhouse import ClickHouseError, Queries, Trouble

Kind = Literal["bars", "signals"]
_TABLES = {"bars": "torghut.ta_microbars", "signals": "torghut.ta_signals"}


class TaReader:
    """Queries of the TA API. Calls block; asynchronous callers use threads."""

    def __init__(self, clickhouse: Queries) -> None:
        self._clickhouse = clickhouse

    def latest(self, symbol: str, kind: Kind) -> dict[str, Any] | None:
        """Return the newest row of a symbol, None when it has none yet."""
        rows = self._query(
            f"SELECT * FROM {_TABLES[kind]} WHERE symbol = {{symbol:String}}"  # noqa: S608  fixed table names
            " ORDER BY event_ts DESC, ingest_ts DESC LIMIT 1",
            {"symbol": symbol},
        )
        return _json_row(rows[0]) if rows else None

    def between(self, symbol: str, kind: Kind, start: datetime, end: datetime, limit: int) -> list[dict[str, Any]]:
        """Return the newest `limit` rows in [start, end], ascending, one per key."""
        rows = self._query(
            f"SELECT * FROM {_TABLES[kind]} WHERE symbol = {{symbol:String}}"  # noqa: S608  fixed table names
            " AND event_ts >= fromUnixTimestamp64Milli({start:Int64}) AND event_ts <= fromUnixTimestamp64Milli({end:Int64})"
            " ORDER BY event_ts DESC, ingest_ts DESC LIMIT 1 BY symbol, window_size, event_ts LIMIT {limit:UInt32}",
            {"symbol": symbol, "start": _millis(start), "end": _millis(end), "limit": limit},
        )
        return [_json_row(row) for row in reversed(rows)]

    def window(
        self, symbol: str, kind: Kind, start: datetime, end: datetime, limit: int
    ) -> tuple[list[dict[str, Any]], tuple[datetime, datetime], bool]:
        """Return rows, the window they are from, and whether that is a fallback.

        An empty window that misses the symbol's newest row is replaced by an equally long one that ends at that row.
        """
        rows = self.between(symbol, kind, start, end, limit)
        newest = None if rows else self.latest(symbol, kind)
        if newest is None:
            return rows, (start, end), False
        at = datetime.fromisoformat(newest["event_ts"].replace("Z", "+00:00"))
        if start <= at <= end:
            return rows, (start, end), False
        shifted = (at - (end - start), at)
        return self.between(symbol, kind, *shifted, limit), shifted, True

    def _query(self, statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        try:
            return self._clickhouse.query(statement, parameters)
        except ClickHouseError as error:
            if error.trouble is Trouble.MISSING:  # the TA has not made its tables yet
                return []
            raise


def _millis(value: datetime) -> int:
    return (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _json_row(row: dict[str, Any]) -> dict[str, Any]:
    return {key: _json_value(value) for key, value in row.items()}


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        text = value.replace(tzinfo=None).isoformat(timespec="milliseconds")
        return f"{text}Z"
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
