"""One partition number from the log to Kafka, ClickHouse and its checkpoints.

Its turns (emit, publish, checkpoint) run beside the reading and beside the turns of other numbers. What is read meanwhile
waits, so that commits and checkpoints are always of the positions at which the last emission was made.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Mapping, Set
from dataclasses import dataclass

from torghut_core.backoff import Backoff
from torghut_core.clock import Clock
from torghut_core.engines.byte_column import ByteColumn
from torghut_core.engines.kafka import (
    Batch,
    Committed,
    Consumer,
    KafkaUnavailableError,
    Producer,
    TopicPartition,
    TransactionFencedError,
)
from torghut_core.errors import UpstreamError
from torghut_core.logs import event
from torghut_core.ta.checkpoint import CheckpointStore
from torghut_core.ta.engine.engine import SourceName
from torghut_core.ta.job import PartitionJob, cut
from torghut_core.ta.outputs.clickhouse_sink import ClickHouseSink
from torghut_core.ta.outputs.rows import MICROBARS, SIGNALS, TableRows, to_records
from torghut_core.ta.settings import TaSettings
from torghut_core.ta.status import Metrics

_logger = logging.getLogger("torghut.ta")
Commits = Mapping[TopicPartition, Committed]
RETRY = Backoff(base=0.5, cap=30.0)
_MOST_BEHIND = 5
_MOST_WAITING = 10_000
"""Records that may wait for a turn's end before the reading waits for it too."""
_PASSES = 12
"""Passes of the event loop in which the client has a batch on its way to the broker."""
_AHEAD_NS = 250_000_000
"""How far before a second's end its transaction is begun."""
_AFTER_SECONDS = 0.25
"""How long after its rows went out a number takes no checkpoint: the others close the same second about now."""
_LATE_SECONDS = 1.0
"""How much later than its interval a checkpoint may be taken for that; no later than another interval."""
_PREPARED_SECONDS = 5.0
"""How long a transaction that was begun ahead may stay empty; a quarter of its timeout, where that is less."""
_ANSWER_SECONDS = 30.0
"""What Kafka may take over an append. The client's idempotent producer would repeat it for ever."""
_LAST_SECONDS = 5.0
"""What ClickHouse and the checkpoint store may take over the last checkpoint before a clean end."""


@dataclass(frozen=True, kw_only=True)
class Outlets:
    """What the workers of a process share."""

    settings: TaSettings
    clock: Clock
    store: CheckpointStore
    sink: ClickHouseSink | None
    metrics: Metrics


class PartitionWorker:
    """A partition number while this process owns it."""

    def __init__(self, job: PartitionJob, consumer: Consumer, producer: Producer, outlets: Outlets) -> None:
        self.job = job
        self.is_checkpoint_unwritten = False
        """Whether the present checkpoint could not be written yet."""
        self._consumer = consumer
        self._producer = producer
        self._outlets = outlets
        self._silence_seconds = outlets.settings.max_out_of_order_ms / 1000
        self._sources: dict[str, SourceName] = {its.at.topic: source for source, its in job.inputs.items()}
        self._waiting: deque[Batch] = deque()
        self._silent: Set[SourceName] = frozenset()
        self._prepared_for = 0
        """The second for whose close a transaction was last begun ahead."""
        self._prepared_seconds = min(_PREPARED_SECONDS, outlets.settings.transaction_timeout_ms / 4000)
        self._is_publishing = False
        self._published_at = 0.0
        self._turn: asyncio.Task[None] | None = None
        self._storing: asyncio.Task[Commits] | None = None

    # Between polls: whatever may seek, or asks the consumer what there is

    def deliver(self, batch: Batch) -> None:
        """Take what was read; the engine gets it when no turn is under way."""
        self._waiting.append(batch)

    async def go_on(self) -> None:
        """Feed the engine what waits and begin a turn, unless one is under way."""
        if self.has_failed:
            return
        is_busy = self._is_busy
        if not is_busy:
            await self._feed()
        self._silent = await self._heard_nothing()
        if not is_busy:
            self._turn = asyncio.create_task(self._take_turns(), name=f"ta-{self.job.number}")
            await self._on_its_way()

    async def _on_its_way(self) -> None:
        """Let the turn make its rows and send them, before another number's rows keep the event loop busy.

        Numbers close their windows at the same moment. Rows are this thread's time, a request is the broker's.
        """
        for _ in range(_PASSES):
            await asyncio.sleep(0)
            if not self._is_publishing:
                break

    async def _heard_nothing(self) -> Set[SourceName]:
        waiting = {self._sources[batch.topic] for batch in self._waiting}
        return await self.job.silent_sources(self._consumer, self._silence_seconds) - waiting

    async def _feed(self) -> None:
        # At the target, what was committed there is emitted before anything is read that was not.
        while self._waiting and not self.job.is_at_target:
            batch = self._waiting.popleft()
            its = self.job.inputs[self._sources[batch.topic]]
            if batch.offsets[0] < its.position:
                # Read ahead before a seek; or the log was made anew, and the client reset itself to where it begins.
                its.behind += 1
                if its.behind > _MOST_BEHIND:
                    raise KafkaUnavailableError(f"Kafka: {batch.at} is read behind its position", "kafka_metadata")
                await self._seek(batch.at, its.position)
                continue
            if batch.offsets[0] > its.position and its.sought != its.position:
                # The client may lose a seek that meets its own look-up of the group's offsets. A gap that is still there
                # after another seek is the log's own (compaction, retention).
                its.sought = its.position
                await self._seek(batch.at, its.position)
                continue
            part = cut(batch, its.catch_up_to) if self.job.is_catching_up else batch
            if part is not batch:
                # Nothing beyond the target before every source has reached its own.
                await self._seek(batch.at, max(its.position, its.catch_up_to))
            if part is None:
                its.position = max(its.position, its.catch_up_to)
            else:
                self.job.take(self._sources[batch.topic], part)

    async def _seek(self, at: TopicPartition, offset: int) -> None:
        self._waiting = deque(batch for batch in self._waiting if batch.at != at)  # it will be read again
        await self._consumer.seek(at, offset)

    # Turns

    @property
    def _is_busy(self) -> bool:
        return self._turn is not None and not self._turn.done()

    @property
    def has_failed(self) -> bool:
        """Whether the last turn failed."""
        turn = self._turn
        return turn is not None and turn.done() and not turn.cancelled() and turn.exception() is not None

    @property
    def overdue(self) -> asyncio.Task[None] | None:
        """The turn under way, when too much waits for its end."""
        is_too_much = self._is_busy and sum(len(batch.values) for batch in self._waiting) > _MOST_WAITING
        return self._turn if is_too_much else None

    @property
    def sending(self) -> asyncio.Task[None] | None:
        """The turn under way, while its rows are on their way to Kafka."""
        return self._turn if self._is_publishing else None

    @property
    def is_near_a_close(self) -> bool:
        """Whether a second's trades wait for records that must come about now."""
        return self.job.engine.closes_within(_AHEAD_NS) is not None

    async def ended(self) -> None:
        """Wait for the turn under way. Raises what it, or the last one, failed with."""
        if self._turn is not None:
            await self._turn

    async def _take_turns(self) -> None:
        while True:
            await self._emit()
            await self._checkpoint()
            await self._prepare()
            fed = self._feed_next()
            if not fed:
                return
            self._silent -= fed

    def _feed_next(self) -> Set[SourceName]:
        """Feed the engine what waits at its inputs' positions; whatever needs a seek is left for after the poll."""
        fed: set[SourceName] = set()
        while self._waiting and not self.job.is_silent:
            batch = self._waiting[0]
            source = self._sources[batch.topic]
            if batch.offsets[0] != self.job.inputs[source].position:
                break
            self.job.take(source, self._waiting.popleft())
            fed.add(source)
        return fed

    async def _emit(self) -> None:
        job, sink = self.job, self._outlets.sink
        idle = job.idle_sources(self._silent)
        tables = job.tables(job.engine.emit(idle), self._outlets.clock.now_ns() // 1_000_000)
        if tables and not job.is_silent:
            await self._publish(tables)
        if job.is_at_target:
            job.is_silent = False
            event(_logger, "caught_up", partition=job.number)
        if sink is not None:
            sink.put(tables)

    async def _prepare(self) -> None:
        """Begin a transaction where a second is about to close; end one that was begun for a second that did not."""
        if self._outlets.settings.delivery_guarantee != "EXACTLY_ONCE" or self.job.is_silent:
            return
        end = self.job.engine.closes_within(_AHEAD_NS)
        if end is not None and end != self._prepared_for:
            self._prepared_for = end
            self._producer.prepare(self.job.group, self.job.commits())
        else:
            await self._producer.withdraw(self._prepared_seconds)

    async def _publish(self, tables: list[TableRows]) -> None:
        settings = self._outlets.settings
        names = {MICROBARS: settings.microbars_topic, SIGNALS: settings.signals_topic}
        columns: dict[str, tuple[list[ByteColumn], list[ByteColumn]]] = {}
        for rows in tables:
            keys, values = to_records(rows, settings.feed)
            of_topic = columns.setdefault(names[rows.table], ([], []))
            of_topic[0].append(keys)
            of_topic[1].append(values)
        records = {
            topic: (ByteColumn.joined(keys), ByteColumn.joined(values)) for topic, (keys, values) in columns.items()
        }
        self._is_publishing = True
        try:
            if settings.delivery_guarantee == "EXACTLY_ONCE":
                await self._producer.transact(records, self.job.group, self.job.commits())
            else:
                for topic, (topic_keys, topic_values) in records.items():
                    await answered(self._producer.send(topic, topic_keys, topic_values))
        finally:
            self._is_publishing = False
            self._published_at = time.monotonic()

    # Checkpoints

    async def _checkpoint(self) -> None:
        job = self.job
        if job.first_commits is not None:
            commits, job.first_commits = job.first_commits, None
            await self._commit_checkpoint(commits)
        interval = self._outlets.settings.checkpoint_interval_ms / 1000
        since_last = time.monotonic() - job.checkpointed_at
        if not self._is_quiet and since_last < interval + min(interval, _LATE_SECONDS):
            return
        if self._storing is not None:
            if self._storing.done():
                storing, self._storing = self._storing, None
                await self._commit_checkpoint(storing.result())
            return
        if since_last >= interval and not job.is_catching_up and job.work != job.checkpointed_work:
            name, data, commits = job.snapshot()
            job.checkpointed_at = time.monotonic()
            job.checkpointed_work = job.work
            self._storing = asyncio.create_task(self._store(name, data, commits))

    @property
    def _is_quiet(self) -> bool:
        """Whether no second closes about now: packing the state would take this thread's time from its rows."""
        if time.monotonic() - self._published_at < _AFTER_SECONDS:
            return False
        return not self.is_near_a_close

    async def _store(self, name: str, data: bytes, commits: Commits) -> Commits:
        """Write a checkpoint once every row before it is in ClickHouse; then the next commit may name it."""
        job, outlets, started, attempt = self.job, self._outlets, time.monotonic(), 0
        if outlets.sink is not None:
            await outlets.sink.drained()
        while True:
            try:
                await asyncio.to_thread(outlets.store.write, f"{job.group}/{name}", data)
                break
            except UpstreamError as error:
                attempt += 1
                self.is_checkpoint_unwritten = True
                event(_logger, "checkpoint_failed", logging.WARNING, partition=job.number, error=str(error))
                await asyncio.sleep(RETRY.delay(attempt))
        self.is_checkpoint_unwritten = False
        job.superseded.append(job.checkpoint_name)
        job.checkpoint_name = name
        outlets.metrics.checkpointed(job.number, len(data), time.monotonic() - started)
        return commits

    async def _commit_checkpoint(self, commits: Commits) -> None:
        job = self.job
        if self._outlets.settings.delivery_guarantee == "EXACTLY_ONCE":
            await self._producer.transact({}, job.group, job.commits())
            self._prepared_for = 0  # it took what was begun
        else:
            await self._consumer.commit(commits)
        # This commit shows that nobody took over yet: what a successor writes is not among them.
        superseded, job.superseded = job.superseded, []
        for name in superseded:
            try:
                await asyncio.to_thread(self._outlets.store.delete, f"{job.group}/{name}")
            except UpstreamError as error:
                event(_logger, "checkpoint_not_deleted", logging.WARNING, error=str(error))

    async def last_checkpoint(self) -> None:
        """Before a clean end or a hand-over: checkpoint, unless ClickHouse does not take the rows in time. No turn is under way."""
        job = self.job
        storing, self._storing = self._storing, None
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                if storing is not None:
                    await self._commit_checkpoint(await storing)
                if job.is_catching_up or job.work == job.checkpointed_work:
                    return
                commits = await self._store(*job.snapshot())
        except TimeoutError:
            event(_logger, "last_checkpoint_skipped", logging.WARNING, partition=job.number)
            return
        await self._commit_checkpoint(commits)

    # The end

    async def hand_over(self) -> None:
        """Let the turn under way end, for the group takes the partition number away; checkpoint, then close.

        Whoever has the number next reads again what lies behind the checkpoint: of a backlog that could be a minute's work.
        """
        try:
            await self.ended()
            await self.last_checkpoint()
        except (UpstreamError, TransactionFencedError) as error:
            # What it was about is not committed: whoever has the number next does it again.
            event(_logger, "turn_lost", logging.WARNING, partition=self.job.number, error=str(error))
        finally:
            await self.close()

    async def cut_off(self) -> None:
        """End the turn under way as a kill would."""
        if self._turn is not None and self._is_busy:
            self._turn.cancel()
            await asyncio.gather(self._turn, return_exceptions=True)

    async def close(self) -> None:
        """Stop what is under way and give the producer back."""
        if self._storing is not None:
            self._storing.cancel()
        await self.cut_off()
        await self._producer.close()


async def answered(sending: Awaitable[None]) -> None:
    """Wait for an append, but not for ever."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await sending
    except TimeoutError as error:
        raise KafkaUnavailableError(
            f"Kafka: append failed: no answer within {_ANSWER_SECONDS:g} s", "kafka_produce"
        ) from error
