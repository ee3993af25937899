"""The newest rows of every symbol, kept by one small query a second whoever looks.

A page that asks every second, and twenty of them, then cost ClickHouse the same as none. Where it does not answer, the
rows are not served as if they were new: the reader's error is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from torghut_core.engines.clickhouse import ClickHouseError, Trouble
from torghut_core.visuals.rows import KINDS, Kind, Row, Series, Window, event_millis, json_row
from torghut_core.visuals.ta_reader import TABLES, TaReader

_OVERLAP_MILLIS = 5_000
"""How far back of the newest `ingest_ts` a look reaches: several writers' clocks and batches differ by seconds."""
_REACH_MILLIS = 10 * 60_000
"""How far back of the newest event a look reaches. What is rewritten before that is no news."""
_HEAL_SECONDS = 60.0
"""Every so often everything is read again, so that a row that a look missed is not missed for ever."""
_SILENT_SECONDS = 10.0
_ABSENT_SECONDS = 5.0
_MOST_ROWS = 20_000
"""Of one look; a backlog of more is met by the next reading of everything."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A row that is new, or says something new."""

    kind: Kind
    row: Row


@dataclass
class _Newest:
    rows: dict[Series, Row] = field(default_factory=dict)
    seen: dict[tuple[str, str, datetime], datetime] = field(default_factory=dict)
    """The `ingest_ts` last told of, by symbol, window and `event_ts`; the oldest half is forgotten when they are many."""
    ingest: int = 0
    event: int = 0
    filled_at: float | None = None


class NewestRows:
    """The newest row by kind, symbol and window. `refresh` is called from one thread at a time."""

    def __init__(self, reader: TaReader, monotonic: Callable[[], float]) -> None:
        self._reader = reader
        self._monotonic = monotonic
        self._kept: dict[Kind, _Newest] = {kind: _Newest() for kind in KINDS}
        self._absent: dict[Series, float] = {}
        self._error: ClickHouseError | None = None
        self._refreshed_at: float | None = None

    @property
    def trouble(self) -> str | None:
        """Why the rows are not current, None while they are."""
        if self._error is not None:
            return self._error.trouble.value
        return Trouble.REFUSED.value if self._is_silent() else None

    def latest(self, series: Series) -> Row | None:
        """Return the newest row, None where there is none. Blocks only for a symbol that was never seen.

        Raises ClickHouseError when ClickHouse did not answer lately.
        """
        if self._refreshed_at is None and self._error is None:
            return self._reader.latest(series)
        self._raise_if_silent()
        row = self._kept[series.kind].rows.get(series)
        if row is not None or self._absent.get(series, 0.0) > self._monotonic():
            return row
        row = self._reader.latest(series)
        if row is None:
            if len(self._absent) > 10_000:  # names are the asker's to choose
                self._absent.clear()
            self._absent[series] = self._monotonic() + _ABSENT_SECONDS
        return row

    def is_kept(self, series: Series) -> bool:
        """Return whether `latest` needs no query for it."""
        if self._refreshed_at is None:
            return self._error is not None
        return series in self._kept[series.kind].rows or self._absent.get(series, 0.0) > self._monotonic()

    def all_of(self, kind: Kind, window: Window) -> list[Row]:
        """Return the newest row of each symbol, by symbol. Raises ClickHouseError when it did not answer lately."""
        self._raise_if_silent()
        kept = dict(self._kept[kind].rows)
        found = {series.symbol: row for series, row in kept.items() if series.window == window}
        return [found[symbol] for symbol in sorted(found)]

    def refresh(self) -> list[Change]:
        """Look once and return what changed, oldest first. Blocks; a failure is kept and told by `latest`."""
        changes: list[Change] = []
        try:
            for kind in KINDS:
                changes += self._look(kind)
        except ClickHouseError as error:
            self._error = error
            return changes
        self._error = None
        self._refreshed_at = self._monotonic()
        return changes

    def _look(self, kind: Kind) -> list[Change]:
        kept = self._kept[kind]
        now = self._monotonic()
        if kept.filled_at is None or now - kept.filled_at > _HEAL_SECONDS:
            is_first = kept.filled_at is None
            changes = self._take(kind, self._everything(kind))
            kept.filled_at = now if kept.rows else None
            if is_first:  # where one begins is no news, nor what lies within the first look's reach
                self._take(kind, self._recent(kind) if kept.rows else [])
                return []
            return changes
        return self._take(kind, self._recent(kind))

    def _everything(self, kind: Kind) -> list[dict[str, Any]]:
        table = TABLES[kind]
        return self._reader.query(
            f"SELECT * FROM {table} WHERE (symbol, window_size, event_ts) IN"  # noqa: S608  fixed table names
            f" (SELECT symbol, window_size, max(event_ts) FROM {table}"
            f" WHERE toDate(event_ts) >= (SELECT max(toDate(event_ts)) FROM {table}) - 7 GROUP BY symbol, window_size)"
            f" AND toDate(event_ts) >= (SELECT max(toDate(event_ts)) FROM {table}) - 7 ORDER BY event_ts, ingest_ts",
            {},
        )

    def _recent(self, kind: Kind) -> list[dict[str, Any]]:
        kept = self._kept[kind]
        return self._reader.query(
            f"SELECT * FROM {TABLES[kind]} WHERE event_ts >= fromUnixTimestamp64Milli({{event:Int64}})"  # noqa: S608  fixed table names
            " AND ingest_ts >= fromUnixTimestamp64Milli({ingest:Int64}) ORDER BY event_ts, ingest_ts LIMIT {most:UInt32}",
            {
                "event": max(0, kept.event - _REACH_MILLIS),
                "ingest": max(0, kept.ingest - _OVERLAP_MILLIS),
                "most": _MOST_ROWS,
            },
        )

    def _take(self, kind: Kind, rows: list[dict[str, Any]]) -> list[Change]:
        kept = self._kept[kind]
        changes = []
        for raw in rows:
            # Most of a look was told of before: it is passed by as it came, and costs next to nothing.
            mark = (raw["symbol"], raw["window_size"], raw["event_ts"])
            told = kept.seen.get(mark)
            if told is not None and told >= raw["ingest_ts"]:
                continue
            kept.seen[mark] = raw["ingest_ts"]
            row = json_row(raw)
            series, at = Series(kind, row["symbol"], row["window_size"]), row["event_ts"]
            held = kept.rows.get(series)
            if held is None or (at, row["ingest_ts"]) >= (held["event_ts"], held["ingest_ts"]):
                kept.rows[series] = row
                kept.event = max(kept.event, event_millis(row))
            kept.ingest = max(kept.ingest, event_millis({"event_ts": row["ingest_ts"]}))
            changes.append(Change(kind=kind, row=row))
        if len(kept.seen) > 5 * _MOST_ROWS:
            self._forget(kept)
        return changes

    def _forget(self, kept: _Newest) -> None:
        ordered = sorted(kept.seen, key=lambda key: kept.seen[key])
        for key in ordered[: len(ordered) // 2]:
            del kept.seen[key]

    def _is_silent(self) -> bool:
        return self._refreshed_at is None or self._monotonic() - self._refreshed_at > _SILENT_SECONDS

    def _raise_if_silent(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)
        if self._is_silent():
            raise ClickHouseError(Trouble.REFUSED, "a query")
