"""One partition number under Flink: the engine's job, rows that wait for ClickHouse, and both as state."""

from __future__ import annotations

import logging
import pickle
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from torghut_core.backoff import Backoff
from torghut_core.clock import Clock
from torghut_core.engines.byte_column import ByteColumn
from torghut_core.engines.clickhouse import ClickHouse, ClickHouseError
from torghut_core.engines.kafka import TopicPartition
from torghut_core.feeds import FEEDS
from torghut_core.logs import event
from torghut_core.ta.engine.engine import SourceName
from torghut_core.ta.flink.blocks import read_records, write_rows
from torghut_core.ta.job import PartitionJob, held_job
from torghut_core.ta.outputs.clickhouse_sink import SchemaError, SchemaOptions, create_schema, verify_schema
from torghut_core.ta.outputs.rows import COLUMNS, MICROBARS, SIGNALS, TableRows, by_days, to_native, to_records
from torghut_core.ta.settings import TaSettings
from torghut_core.ta.status import status_record
from torghut_core.ta.wiring import engine_settings, input_topics

_logger = logging.getLogger("torghut.ta.flink")
_PIECE_ROWS = 10_000
"""Rows in a block at most: some megabytes."""
_PLACES = {MICROBARS: 0, SIGNALS: 1}
_STATUS_PLACE = 2


def output_topics(settings: TaSettings) -> list[str]:
    """Return the topics of the rows and of the status, by the places that row blocks name them by."""
    return [settings.microbars_topic, settings.signals_topic, settings.status_topic]


class Looks(Protocol):
    """Whoever can tell whether a partition has been read to its end."""

    async def is_at_end(self, partition: TopicPartition, position: int) -> bool: ...


class _EndsOfJob:
    """What a job asks of its consumer, answered by somebody who is told the position."""

    def __init__(self, job: PartitionJob, looks: Looks) -> None:
        self._job = job
        self._looks = looks

    async def is_at_end(self, partition: TopicPartition, within: float) -> bool:  # noqa: ARG002  looked at now
        return await self._looks.is_at_end(partition, self._job.positions[partition])


class Partition:
    """Engine and rows of one partition number. `held` is what `packed` returned before a restart."""

    def __init__(
        self, number: int, settings: TaSettings, starts: Mapping[SourceName, int], clock: Clock, held: bytes | None
    ) -> None:
        checkpoint: bytes | None = None
        self.rows: list[TableRows] = []
        """What ClickHouse did not get yet."""
        if held is not None:
            checkpoint, self.rows = pickle.loads(held)  # noqa: S301  Flink's own state
        self._settings = settings
        self._clock = clock
        self.job = held_job(
            number,
            input_topics(settings),
            starts,
            data=checkpoint,
            settings=engine_settings(settings),
            group=settings.group_id,
        )
        self.idle: frozenset[SourceName] = frozenset()
        """Sources that were read to their end and silent at the last look, and of which nothing came since."""

    def packed(self) -> bytes:
        """Return the state."""
        return pickle.dumps((self.job.snapshot()[1], self.rows))

    def take(self, block: bytes) -> None:
        """Feed a block of records."""
        records = read_records(block)
        self.job.take(records.source, records.batch(self.job.inputs[records.source].at.topic))
        self.idle -= {records.source}

    async def look(self, looks: Looks) -> None:
        """Look which sources need not be waited for."""
        silence_seconds = self._settings.max_out_of_order_ms / 1000
        self.idle = await self.job.silent_sources(_EndsOfJob(self.job, looks), silence_seconds)

    def emit(self) -> list[bytes]:
        """Return row blocks of what can be emitted; the same rows wait for ClickHouse, where there is one."""
        tables = self.job.tables(self.job.engine.emit(self.idle), self._clock.now_ns() // 1_000_000)
        if self._settings.clickhouse_url is not None:
            self.rows += tables
        pieces = [piece for rows in tables for piece in rows.pieces(_PIECE_ROWS)]
        return [write_rows([(_PLACES[piece.table], *to_records(piece, self._settings.feed))]) for piece in pieces]

    def status(self) -> bytes:
        """Return a row block with the status record of this partition number, under a key of its own."""
        jobs, now_ns = {self.job.number: self.job}, self._clock.now_ns()
        record = status_record(jobs, now_ns, feed=FEEDS[self._settings.feed], status="ok", reason=None)
        return write_rows([(_STATUS_PLACE, ByteColumn.of([b"ta-%d" % self.job.number]), ByteColumn.of([record]))])


class RowWriter:
    """Writes waiting rows to ClickHouse, and tries for ever: whoever calls waits, and with him the input.

    Rows are deterministic by key, so a batch that is sent again changes nothing.
    """

    def __init__(
        self,
        opened: Callable[[], ClickHouse],
        options: SchemaOptions,
        *,
        most_rows: int,
        flush_seconds: float,
        backoff: Backoff,
        on_failure: Callable[[], None] = lambda: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._opened = opened
        self._options = options
        self._most_rows = most_rows
        self._flush_seconds = flush_seconds
        self._backoff = backoff
        self._on_failure = on_failure
        self._sleep = sleep
        self.written: Counter[str] = Counter()
        """Rows, by table."""
        self.retries: Counter[str] = Counter()
        self._clickhouse: ClickHouse | None = None
        self._written_at: dict[int, float] = {}

    def write_due(self, number: int, rows: list[TableRows], now: float) -> bool:
        """Write what waits of a number, and empty the list, when it is much or old (`now` is monotonic)."""
        last = self._written_at.setdefault(number, now)
        if not rows or (sum(map(len, rows)) < self._most_rows and now - last < self._flush_seconds):
            return False
        for table in (MICROBARS, SIGNALS):
            its = [each for each in rows if each.table == table]
            for part in by_days(its) if its else []:
                self._write(table, part)
        rows.clear()
        self._written_at[number] = now
        return True

    def _write(self, table: str, part: Sequence[TableRows]) -> None:
        block = to_native(part)
        attempt = 0
        while True:
            try:
                self._store().insert(table, COLUMNS[table], block)
            except (ClickHouseError, SchemaError) as error:
                attempt += 1
                self.retries[table] += 1
                event(_logger, "clickhouse_write_failed", logging.WARNING, table=table, error=str(error))
                self._on_failure()
                self._sleep(self._backoff.delay(attempt))
            else:
                self.written[table] += sum(map(len, part))
                return

    def _store(self) -> ClickHouse:
        if self._clickhouse is None:
            opened = self._opened()
            create_schema(opened, self._options)
            verify_schema(opened, self._options)
            self._clickhouse = opened
        return self._clickhouse

    def close(self) -> None:
        """Close the store, if it was opened."""
        if self._clickhouse is not None:
            self._clickhouse.close()
