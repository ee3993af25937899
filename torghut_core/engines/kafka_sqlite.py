"""A durable log on SQLite: Kafka's small interface for one machine, without a broker.

One row holds one appended batch, LZ4-compressed, so a hundred thousand records a second cost a few dozen inserts. An
append is durable when it returns (`synchronous=FULL`). A transaction is a SQLite transaction. A group has one active
member: the newest; whoever it replaced is fenced. Offsets never repeat, also after retention removed everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from torghut_core.engines.kafka import Batch, OffsetReset, Rebalanced, TopicPartition
from torghut_core.engines.kafka_sqlite_clients import SqliteConsumer, SqliteProducer
from torghut_core.engines.kafka_sqlite_log import SqliteLog
from torghut_core.topics import Topic


class SqliteKafka(SqliteLog):
    """The log in one folder. Several processes may open it; each sees what the others appended."""

    async def ensure_topics(self, topics: Iterable[Topic]) -> dict[str, int]:
        wanted = list(topics)

        def create() -> dict[str, int]:
            with self.writing() as db:
                for topic in wanted:
                    db.execute(
                        "INSERT OR IGNORE INTO topics VALUES (?, ?, ?, ?)",
                        (topic.name, topic.partitions, topic.retention_ms, int(topic.is_compacted)),
                    )
                    db.executemany(
                        "INSERT OR IGNORE INTO partitions VALUES (?, ?, 0)",
                        [(topic.name, number) for number in range(topic.partitions)],
                    )
                counts: dict[str, int] = dict(db.execute("SELECT name, partitions FROM topics").fetchall())
            return {topic.name: counts[topic.name] for topic in wanted}

        return await asyncio.to_thread(create)

    async def check(self) -> None:
        await asyncio.to_thread(self.read, "SELECT 1")

    async def has_topic(self, topic: str) -> bool:
        return bool(await asyncio.to_thread(self.read, "SELECT 1 FROM topics WHERE name = ?", (topic,)))

    async def producer(self, transactional_id: str | None = None) -> SqliteProducer:
        epoch = await asyncio.to_thread(self.take_over, "producer", transactional_id) if transactional_id else 0
        return SqliteProducer(self, transactional_id, epoch)

    def consumer(
        self,
        topics: Sequence[str],
        *,
        group: str,
        reset: OffsetReset,
        on_assigned: Rebalanced | None = None,
        on_revoked: Rebalanced | None = None,
    ) -> SqliteConsumer:
        return SqliteConsumer(self, topics, group=group, reset=reset, on_assigned=on_assigned, on_revoked=on_revoked)

    async def last_record(self, topic: str, partition: int, count: int = 1) -> Batch | None:
        rows = await asyncio.to_thread(
            self.read,
            "SELECT first_offset, last_offset, timestamp_ms, payload FROM batches WHERE topic = ? AND partition = ?"
            " ORDER BY last_offset DESC LIMIT ?",
            (topic, partition, count),
        )
        if not rows:
            return None
        at = TopicPartition(topic, partition)
        found: list[Batch] = []
        missing = count
        for row in rows:
            batch = self.batch(at, row, row[0], row[1] - row[0] + 1)
            found.insert(0, batch.part(max(0, len(batch) - missing), len(batch)))
            missing -= len(found[0])
            if missing <= 0:
                break
        joined = Batch(
            topic,
            partition,
            [offset for batch in found for offset in batch.offsets],
            [stamp for batch in found for stamp in batch.timestamps_ms],
            [key for batch in found for key in batch.keys],
            [value for batch in found for value in batch.values],
        )
        return joined if joined.values else None
