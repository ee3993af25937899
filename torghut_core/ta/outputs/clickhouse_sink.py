"""Rows to ClickHouse: schema made and verified, one writer per table, batches bounded by rows and age, retried for ever.

At least once: a batch is dropped only when ClickHouse took it, and rows are idempotent by key. What waits is bounded;
when the bound is reached the writer says so, and the input pauses.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from torghut_core.backoff import Backoff
from torghut_core.engines.clickhouse import ClickHouse, ClickHouseError
from torghut_core.errors import UpstreamError
from torghut_core.logs import event
from torghut_core.ta.outputs.rows import COLUMNS, MICROBARS, SIGNALS, TableRows, by_days, to_native

_logger = logging.getLogger("torghut.ta.clickhouse")
_BURST = 0.25
"""Part of the longest wait after which the rows that come together are taken to be there."""
_TTL_DAYS = {MICROBARS: 30, SIGNALS: 14}


@dataclass(frozen=True, kw_only=True)
class SchemaOptions:
    """How the tables are made here."""

    cluster: str | None
    is_simulated: bool
    """Recorded data would vanish in the first merge, so there is no TTL."""


class SchemaError(UpstreamError):
    """A table exists, but is not what it must be. IF NOT EXISTS never repairs: an operator decides."""


def _script() -> str:
    script = files("torghut_core.ta").joinpath("schema.sql").read_text()
    return "\n".join(line for line in script.splitlines() if not line.startswith("--"))


def create_schema(clickhouse: ClickHouse, options: SchemaOptions) -> None:
    """Create database and tables where they are missing."""
    replicated = "ReplicatedReplacingMergeTree('/clickhouse/tables/{cluster}/{shard}/{table}', '{replica}', ingest_ts)"
    script = _script()
    for marker, text in (
        ("{engine}", replicated if options.cluster else "ReplacingMergeTree(ingest_ts)"),
        ("{on_cluster}", f" ON CLUSTER '{options.cluster}'" if options.cluster else ""),
        ("{ttl_microbars}", _ttl(MICROBARS, options)),
        ("{ttl_signals}", _ttl(SIGNALS, options)),
    ):
        script = script.replace(marker, text)
    for statement in filter(str.strip, script.split(";")):
        clickhouse.command(statement)


def _ttl(table: str, options: SchemaOptions) -> str:
    return "" if options.is_simulated else f"\nTTL toDateTime(event_ts) + INTERVAL {_TTL_DAYS[table]} DAY"


def column_types(table: str) -> dict[str, str]:
    """Return the columns of a table with their types, as `schema.sql` makes them."""
    made = re.search(rf"TABLE IF NOT EXISTS {re.escape(table)}\S* \((.*?)\n\) ENGINE", _script(), re.DOTALL)
    if made is None:
        raise ValueError(f"schema.sql makes no table {table}")
    return dict(line.strip().rstrip(",").split(" ", 1) for line in made[1].strip().splitlines())


def verify_schema(clickhouse: ClickHouse, options: SchemaOptions) -> None:
    """Check engine, keys, column types and TTL of both tables, on every replica of a cluster.

    Raises SchemaError that names table and difference, on a cluster the replica as well; ClickHouseError when a replica
    does not answer.
    """
    source = f"clusterAllReplicas('{options.cluster}', system.{{}})" if options.cluster else "system.{}"
    replica = "concat(hostName(), ':', toString(tcpPort())) AS replica"
    # Asked for by themselves: a replica without the tables has no row in what is asked of tables.
    replicas = clickhouse.query(f"SELECT {replica} FROM {source.format('one')}")  # noqa: S608  fixed text
    tables = clickhouse.query(
        f"SELECT {replica}, name, engine, engine_full, sorting_key, partition_key"  # noqa: S608  fixed text
        f" FROM {source.format('tables')} WHERE database = 'torghut' AND name IN ('ta_microbars', 'ta_signals')"
    )
    columns = clickhouse.query(
        f"SELECT {replica}, table, name, type FROM {source.format('columns')}"  # noqa: S608  fixed text
        " WHERE database = 'torghut'"
    )
    found = {(row["replica"], row["name"]): row for row in tables}
    types: dict[tuple[str, str], dict[str, str]] = {}
    for row in columns:
        types.setdefault((row["replica"], row["table"]), {})[row["name"]] = row["type"]
    for name in sorted(row["replica"] for row in replicas):
        for table in (MICROBARS, SIGNALS):
            key = (name, table.partition(".")[2])
            where = f"ClickHouse table {table}" + (f" on {name}" if options.cluster else "")
            if key not in found:
                raise SchemaError(f"{where} is missing")
            for what, is_found, expected in _facts(table, found[key], types.get(key, {}), options):
                if is_found != expected:
                    raise SchemaError(
                        f"{where}: {what} is {is_found!r}, must be {expected!r}",
                        hint="migrate the table; creating it again never repairs it",
                    )


def _facts(
    table: str, row: dict[str, Any], types: dict[str, str], options: SchemaOptions
) -> Iterator[tuple[str, object, object]]:
    """Return what is verified of a table: its name, what was found, what it must be."""
    yield "engine", row["engine"], "ReplicatedReplacingMergeTree" if options.cluster else "ReplacingMergeTree"
    yield "sorting key", row["sorting_key"], "symbol, window_size, event_ts"
    yield "partition key", row["partition_key"], "toDate(event_ts)"
    yield "version column", bool(re.search(r"ReplacingMergeTree\([^)]*\bingest_ts\)", row["engine_full"])), True
    for column, kind in column_types(table).items():
        yield f"column {column}", types.get(column), kind
    if not options.is_simulated:
        days = re.search(r"TTL .*?(?:toIntervalDay\(|INTERVAL )(\d+)", row["engine_full"])
        yield "TTL in days", int(days[1]) if days else None, _TTL_DAYS[table]


@dataclass(frozen=True, kw_only=True)
class Batching:
    """How rows are gathered: a batch has at most `rows`, none older than `flush_seconds`; `buffer_rows` may wait."""

    rows: int
    flush_seconds: float
    buffer_rows: int


class TableWriter:
    """The one writer of one table."""

    def __init__(
        self,
        table: str,
        clickhouse: Callable[[], ClickHouse],
        *,
        batching: Batching,
        backoff: Backoff,
    ) -> None:
        self.table = table
        self.trouble: str | None = None
        """Why the last attempt failed, None when it did not."""
        self.retries = 0
        self.written = 0
        self.accepted = 0
        self._clickhouse = clickhouse
        self._batching = batching
        self._backoff = backoff
        self._waiting: deque[tuple[float, TableRows]] = deque()
        self._last_insert = -math.inf
        self._changed = asyncio.Event()
        self._put = asyncio.Event()

    @property
    def waiting_rows(self) -> int:
        return self.accepted - self.written

    @property
    def is_full(self) -> bool:
        """Whether the input should pause."""
        return self.waiting_rows >= self._batching.buffer_rows

    def put(self, rows: TableRows) -> None:
        """Take rows to be written."""
        self._waiting.append((time.monotonic(), rows))
        self.accepted += len(rows)
        self._changed.set()
        self._put.set()

    async def drained(self, accepted: int) -> None:
        """Wait until the first `accepted` rows are in ClickHouse."""
        while self.written < accepted:
            self._changed.clear()
            await self._changed.wait()

    async def run(self, stop: asyncio.Event) -> None:
        """Write batches until `stop` is set and nothing waits, or ClickHouse refuses after it."""
        attempt = 0
        batch: list[TableRows] = []
        while True:
            if not batch:
                batch = await self._next_batch(stop)
                if not batch:
                    return
            try:
                await asyncio.to_thread(self._insert, batch)
            except ClickHouseError as error:
                attempt += 1
                self.retries += 1
                if self.trouble != error.trouble.value:
                    event(
                        _logger,
                        "clickhouse_write_failed",
                        logging.WARNING,
                        table=self.table,
                        reason=error.trouble.value,
                    )
                self.trouble = error.trouble.value
                if stop.is_set():
                    return  # the rows come again: no checkpoint covers them
                await _wait(stop, self._backoff.delay(attempt))
            else:
                attempt = 0
                self.trouble = None
                self.written += sum(map(len, batch))
                batch = []
                self._changed.set()

    async def _next_batch(self, stop: asyncio.Event) -> list[TableRows]:
        while not stop.is_set():
            self._put.clear()
            due = self._due()
            if due <= time.monotonic():
                break
            await _first_of(stop, self._put, due)
        batch: list[TableRows] = []
        count = 0
        while self._waiting and count < self._batching.rows:
            batch.append(self._waiting.popleft()[1])
            count += len(batch[-1])
        return batch

    def _due(self) -> float:
        """Return when what waits is to be written (monotonic), infinity when nothing waits.

        Windows close together once a second, so rows come in bursts: a batch is written when its burst is over. The last
        one must be as long ago as keeps that place between two bursts: each insert is a little late, and were the whole
        wait counted from it, inserts would move on until they meet the next burst.
        """
        if not self._waiting:
            return math.inf
        if self.waiting_rows >= self._batching.rows:
            return 0.0
        first, flush_seconds = self._waiting[0][0], self._batching.flush_seconds
        burst_seconds = _BURST * flush_seconds
        return min(first + flush_seconds, max(first + burst_seconds, self._last_insert + flush_seconds - burst_seconds))

    def _insert(self, batch: Sequence[TableRows]) -> None:
        self._last_insert = time.monotonic()
        for part in by_days(batch):
            self._clickhouse().insert(self.table, COLUMNS[self.table], to_native(part))


class ClickHouseSink:
    """Both tables: their schema made and verified, then a writer each. `opened` returns the store, when it is there."""

    def __init__(
        self, opened: Callable[[], ClickHouse], options: SchemaOptions, *, batching: Batching, backoff: Backoff
    ) -> None:
        self.writers = {
            table: TableWriter(table, self._verified, batching=batching, backoff=backoff)
            for table in (MICROBARS, SIGNALS)
        }
        self._opened = opened
        self._options = options
        self._backoff = backoff
        self._clickhouse: ClickHouse | None = None
        self._schema_trouble: str | None = "clickhouse_schema_pending"

    @property
    def trouble(self) -> str | None:
        """Why rows do not reach ClickHouse, None when they do."""
        return self._schema_trouble or next((each.trouble for each in self.writers.values() if each.trouble), None)

    @property
    def is_full(self) -> bool:
        """Whether the input should pause."""
        return any(writer.is_full for writer in self.writers.values())

    def put(self, tables: Iterable[TableRows]) -> None:
        """Take rows to be written."""
        for rows in tables:
            self.writers[rows.table].put(rows)

    async def drained(self) -> None:
        """Wait until every row taken so far is in ClickHouse."""
        for writer in self.writers.values():
            await writer.drained(writer.accepted)

    async def run(self, stop: asyncio.Event) -> None:
        """Prepare the schema, then write, until `stop` is set."""
        attempt = 0
        while self._schema_trouble is not None and not stop.is_set():
            try:
                await asyncio.to_thread(self._prepare)
                self._schema_trouble = None
            except (ClickHouseError, SchemaError) as error:
                attempt += 1
                trouble = error.trouble.value if isinstance(error, ClickHouseError) else "clickhouse_schema"
                self._schema_trouble = trouble
                event(_logger, "schema_not_ready", logging.WARNING, reason=trouble, error=str(error), attempt=attempt)
                await _wait(stop, self._backoff.delay(attempt))
        if self._schema_trouble is None:
            await asyncio.gather(*(writer.run(stop) for writer in self.writers.values()))

    def close(self) -> None:
        """Close the store, if it was opened."""
        if self._clickhouse is not None:
            self._clickhouse.close()

    def _prepare(self) -> None:
        if self._clickhouse is None:
            self._clickhouse = self._opened()
        create_schema(self._clickhouse, self._options)
        verify_schema(self._clickhouse, self._options)

    def _verified(self) -> ClickHouse:
        if self._clickhouse is None or self._schema_trouble is not None:
            raise RuntimeError("rows are only written after the schema was verified")
        return self._clickhouse


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), max(0.0, seconds))
    except TimeoutError:
        return


async def _first_of(stop: asyncio.Event, put: asyncio.Event, due: float) -> None:
    """Wait until `stop` or `put` is set or `due` (monotonic) has come."""
    events = [asyncio.ensure_future(event.wait()) for event in (stop, put)]
    timeout = None if due == math.inf else due - time.monotonic()
    try:
        await asyncio.wait(events, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for event in events:
            event.cancel()
