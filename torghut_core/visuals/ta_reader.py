"""Reads bars and signals of one window from ClickHouse by primary key, duplicates resolved by the newest `ingest_ts`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from torghut_core.engines.clickhouse import ClickHouseError, Queries, Trouble
from torghut_core.visuals.rows import Kind, Row, Series, json_row

TABLES: dict[Kind, str] = {"bars": "torghut.ta_microbars", "signals": "torghut.ta_signals"}
_TEXT_TIMES = ", ".join(
    f"concat(replaceOne(toString({name}), ' ', 'T'), 'Z') AS {name}"
    for name in ("event_ts", "ingest_ts", "window_start", "window_end")
)
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


class TaReader:
    """Queries of the TA API. Calls block; asynchronous callers use threads."""

    def __init__(self, clickhouse: Queries) -> None:
        self._clickhouse = clickhouse

    def latest(self, series: Series) -> Row | None:
        """Return the newest row, None when there is none yet."""
        rows = self.query(
            f"SELECT * FROM {TABLES[series.kind]} WHERE symbol = {{symbol:String}} AND window_size = {{window:String}}"  # noqa: S608  fixed table names
            " ORDER BY event_ts DESC, ingest_ts DESC LIMIT 1",
            {"symbol": series.symbol, "window": series.window},
        )
        return json_row(rows[0]) if rows else None

    def between(self, series: Series, start: datetime, end: datetime, limit: int) -> list[Row]:
        """Return the newest `limit` rows in [start, end], ascending, one per key, times as text by ClickHouse itself.

        Turning the times of 5,000 rows into text here would hold every other answer up for a tenth of a second.
        """
        rows = self.query(
            f"SELECT * REPLACE ({_TEXT_TIMES}) FROM (SELECT * FROM {TABLES[series.kind]}"  # noqa: S608  fixed table names
            " WHERE symbol = {symbol:String} AND window_size = {window:String}"
            " AND event_ts >= fromUnixTimestamp64Milli({start:Int64}) AND event_ts <= fromUnixTimestamp64Milli({end:Int64})"
            " ORDER BY event_ts DESC, ingest_ts DESC LIMIT 1 BY event_ts LIMIT {limit:UInt32})",
            {
                "symbol": series.symbol,
                "window": series.window,
                "start": _millis(start),
                "end": _millis(end),
                "limit": limit,
            },
        )
        return rows[::-1]

    def within(
        self, series: Series, start: datetime, end: datetime, limit: int
    ) -> tuple[list[Row], tuple[datetime, datetime], bool]:
        """Return rows, the range they are from, and whether that is a fallback.

        An empty range that misses the symbol's newest row is replaced by an equally long one that ends at that row.
        """
        rows = self.between(series, start, end, limit)
        newest = None if rows else self.latest(series)
        if newest is None:
            return rows, (start, end), False
        at = datetime.fromisoformat(newest["event_ts"].replace("Z", "+00:00"))
        if start <= at <= end:
            return rows, (start, end), False
        shifted = (max(_EARLIEST, at - (end - start)), at)
        return self.between(series, *shifted, limit), shifted, True

    def query(self, statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        """Return rows, none where the TA has not made its tables yet. Raises ClickHouseError."""
        try:
            return self._clickhouse.query(statement, parameters)
        except ClickHouseError as error:
            if error.trouble is Trouble.MISSING:
                return []
            raise


def _millis(value: datetime) -> int:
    return (value - _EARLIEST) // timedelta(milliseconds=1)
