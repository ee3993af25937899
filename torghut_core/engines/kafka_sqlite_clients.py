"""Producer and consumer of the log on SQLite. What they stand on is in `kafka_sqlite_log`, its guarantees in `kafka_sqlite`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from torghut_core.engines.byte_column import ByteColumn
from torghut_core.engines.kafka import (
    Batch,
    Committed,
    FencedError,
    KafkaUnavailableError,
    OffsetReset,
    Rebalanced,
    TopicPartition,
)
from torghut_core.engines.kafka_sqlite_log import SqliteLog
from torghut_core.errors import ConfigurationError

_OTHER_PROCESS_POLL_SECONDS = 0.05


class SqliteProducer:
    """Appends batches; each call is durable when it returns."""

    def __init__(self, log: SqliteLog, transactional_id: str | None, epoch: int) -> None:
        self._log = log
        self._id = transactional_id
        self._epoch = epoch

    async def send(self, topic: str, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        if not values:
            return

        def append() -> None:
            with self._log.writing() as db:
                self._log.append(db, topic, keys, values)

        await asyncio.to_thread(append)
        self._log.announce()

    async def partitions(self, topic: str) -> int:
        found = await asyncio.to_thread(self._log.read, "SELECT partitions FROM topics WHERE name = ?", (topic,))
        if not found:
            raise KafkaUnavailableError(f"topic {topic!r} does not exist", "kafka_metadata")
        return int(found[0][0])

    async def append(self, topic: str, partition: int, keys: ByteColumn, values: ByteColumn) -> None:  # noqa: ARG002  the keys say it
        await self.send(topic, keys, values)

    async def transact(
        self,
        records: Mapping[str, tuple[Sequence[bytes], Sequence[bytes]]],
        group: str,
        offsets: Mapping[TopicPartition, Committed],
    ) -> None:
        transactional_id = self._id
        if transactional_id is None:
            raise ValueError("a transaction needs a producer that was opened with a transactional id")

        def append() -> None:
            with self._log.writing() as db:
                self._log.assert_epoch(db, "producer", transactional_id, self._epoch)
                for topic, (keys, values) in records.items():
                    self._log.append(db, topic, keys, values)
                self._log.commit(db, group, offsets)

        await asyncio.to_thread(append)
        self._log.announce()

    def prepare(self, group: str, offsets: Mapping[TopicPartition, Committed]) -> None:
        """A transaction is one step here."""

    async def withdraw(self, older_than: float) -> None:
        """Nothing is ever prepared."""

    async def close(self) -> None:
        """Nothing is buffered."""


class SqliteConsumer:
    """The one active member of its group; holds every partition of its topics.

    Behind what retention left, it goes on at the earliest record (Kafka would skip to the end under `latest`); under
    `none` it refuses.
    """

    def __init__(
        self,
        log: SqliteLog,
        topics: Sequence[str],
        *,
        group: str,
        reset: OffsetReset,
        on_assigned: Rebalanced | None,
        on_revoked: Rebalanced | None,
    ) -> None:
        self._log = log
        self._topics = tuple(topics)
        self._group = group
        self._reset = reset
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._epoch = 0
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._ended: dict[TopicPartition, float] = {}
        """When there was nothing to be read, monotonic, and nothing has been since."""
        self._next = 0
        self._wake = asyncio.Event()

    async def start(self) -> None:
        self._epoch = await asyncio.to_thread(self._log.take_over, "group", self._group)
        self._log.listen(self._wake)
        rows = [
            row
            for topic in self._topics
            for row in await asyncio.to_thread(
                self._log.read, "SELECT topic, partition FROM partitions WHERE topic = ?", (topic,)
            )
        ]
        missing = set(self._topics) - {topic for topic, _ in rows}
        if missing:
            raise KafkaUnavailableError(f"topics do not exist: {', '.join(sorted(missing))}", "kafka_metadata")
        partitions = [TopicPartition(*row) for row in sorted(rows)]
        bounds = await self.bounds(partitions)
        for at in partitions:
            said = await self.committed(at)
            if said is None and self._reset == "none":
                raise self._without_offset(at)
            earliest, end = bounds[at]
            self._positions[at] = said.offset if said is not None else (earliest if self._reset == "earliest" else end)
        if self._on_assigned is not None:
            await self._on_assigned(self.assignment())

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._positions)

    async def poll(self, *, max_records: int, wait_seconds: float) -> list[Batch]:
        deadline = time.monotonic() + wait_seconds
        while True:
            self._wake.clear()
            batches = await asyncio.to_thread(self._read, max_records)
            remaining = deadline - time.monotonic()
            if batches or remaining <= 0:
                return batches
            with suppress(TimeoutError):
                async with asyncio.timeout(min(remaining, _OTHER_PROCESS_POLL_SECONDS)):
                    await self._wake.wait()  # not `wait_for`, which up to Python 3.11 may swallow a cancellation

    def _read(self, max_records: int) -> list[Batch]:
        epoch = self._log.read("SELECT epoch FROM fences WHERE kind = 'group' AND name = ?", (self._group,))
        if epoch != [(self._epoch,)]:
            raise FencedError(f"group {self._group!r} was taken over by another process; this one stops reading")
        open_partitions = [at for at in self._positions if at not in self._paused]
        batches: list[Batch] = []
        for step in range(len(open_partitions)):
            at = open_partitions[(self._next + step) % len(open_partitions)]
            share = max(1, max_records // len(open_partitions))
            while share > 0:
                rows = self._log.read(
                    "SELECT first_offset, last_offset, timestamp_ms, payload FROM batches"
                    " WHERE topic = ? AND partition = ? AND last_offset >= ? ORDER BY last_offset LIMIT 1",
                    (at.topic, at.partition, self._positions[at]),
                )
                if not rows:
                    if self._is_beyond_the_end(at):
                        continue
                    self._ended[at] = time.monotonic()
                    break
                if self._reset == "none" and rows[0][0] > self._positions[at] and not self._is_compacted(at.topic):
                    raise self._without_offset(at)
                self._ended.pop(at, None)
                batch = self._log.batch(at, rows[0], self._positions[at], share)
                if not batch.values:  # compaction emptied the rest of this row
                    self._positions[at] = rows[0][1] + 1
                    continue
                batches.append(batch)
                self._positions[at] = batch.next_offset
                share -= len(batch.values)
        self._next += 1
        return batches

    def _is_beyond_the_end(self, at: TopicPartition) -> bool:
        """Go by the reset policy from a position that was never written, as after the log was made anew."""
        ((end,),) = self._log.read("SELECT next_offset FROM partitions WHERE topic = ? AND partition = ?", at)
        if self._positions[at] <= end:
            return False
        if self._reset == "none":
            raise self._without_offset(at)
        self._positions[at] = 0 if self._reset == "earliest" else end
        return True

    def _is_compacted(self, topic: str) -> bool:
        return self._log.read("SELECT is_compacted FROM topics WHERE name = ?", (topic,)) == [(1,)]

    def _without_offset(self, at: TopicPartition) -> ConfigurationError:
        return ConfigurationError(
            f"group {self._group!r} has no offset for {at.topic}-{at.partition}",
            hint="what it was to read next is gone; start with the reset policy earliest or latest",
        )

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        self._paused.update(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self._paused.difference_update(partitions)

    async def seek(self, partition: TopicPartition, offset: int) -> None:
        self._positions[partition] = offset
        self._ended.pop(partition, None)

    async def position(self, partition: TopicPartition) -> int:
        return self._positions[partition]

    async def is_at_end(self, partition: TopicPartition, within: float) -> bool:
        return partition in self._ended and time.monotonic() - self._ended[partition] <= within

    async def committed(self, partition: TopicPartition) -> Committed | None:
        rows = await asyncio.to_thread(
            self._log.read,
            "SELECT next_offset, metadata FROM commits WHERE grp = ? AND topic = ? AND partition = ?",
            (self._group, partition.topic, partition.partition),
        )
        return Committed(*rows[0]) if rows else None

    async def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        def store() -> None:
            with self._log.writing() as db:
                self._log.assert_epoch(db, "group", self._group, self._epoch)
                self._log.commit(db, self._group, offsets)

        await asyncio.to_thread(store)

    async def bounds(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        def look() -> dict[TopicPartition, tuple[int, int]]:
            found = {}
            for at in partitions:
                ((end,),) = self._log.read("SELECT next_offset FROM partitions WHERE topic = ? AND partition = ?", at)
                ((first,),) = self._log.read(
                    "SELECT first_offset FROM batches WHERE topic = ? AND partition = ? ORDER BY last_offset LIMIT 1",
                    at,
                ) or [(end,)]
                found[at] = (first, end)
            return found

        return await asyncio.to_thread(look)

    async def close(self) -> None:
        self._log.unlisten(self._wake)
        if self._on_revoked is not None and self._positions:
            await self._on_revoked(self.assignment())
        self._positions.clear()
