"""`run ta`: Kafka in, engine, Kafka and ClickHouse out, checkpoints between, health beside.

A session holds one consumer and a producer per partition number. When Kafka fails, the session ends, and another begins
after a back-off from the last committed offsets: no attempt is the last one. So it does when its transactions were
fenced: the group says whose the partitions are now. Only an embedded log's fence stops a process for good.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from contextlib import AsyncExitStack
from typing import Any

from prometheus_client import CollectorRegistry

from torghut_core import heap
from torghut_core.clock import open_clock
from torghut_core.engines.clickhouse import ClickHouse, open_clickhouse
from torghut_core.engines.kafka import (
    Consumer,
    FencedError,
    Kafka,
    KafkaUnavailableError,
    Producer,
    TopicPartition,
    TransactionFencedError,
)
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.errors import UpstreamError
from torghut_core.feeds import FEEDS
from torghut_core.logs import event
from torghut_core.market_calendar import MarketCalendar
from torghut_core.settings import load
from torghut_core.ta.checkpoint import CheckpointStore
from torghut_core.ta.health import check_ports, serving_health
from torghut_core.ta.job import PartitionJob, open_job
from torghut_core.ta.outputs.clickhouse_sink import Batching, ClickHouseSink, SchemaOptions, TableWriter
from torghut_core.ta.settings import TaSettings
from torghut_core.ta.status import Metrics, Progress, status_record
from torghut_core.ta.wiring import (
    assert_has_kafka_password,
    assert_same_partitions,
    clickhouse_address,
    engine_settings,
    input_topics,
    kafka_address,
    s3_options,
    used_topics,
    warm_up,
)
from torghut_core.ta.worker import RETRY, Outlets, PartitionWorker, answered

_logger = logging.getLogger("torghut.ta")
_POLL_RECORDS = 30_000
_POLL_SECONDS = 0.05
_MUCH = 5_000
"""Records in one poll that are no live feed's: there is a backlog, and what counts is how fast it is read."""
_SENDING_SECONDS = 0.02
"""How long the reading of a live feed waits for turns that send: it would take this thread's time from them."""
_AWAY_SECONDS = 1.0
"""From one poll's end to the next one's, what is more is no listening: the process was stopped, or the machine busy."""
_END_SECONDS = 8.0
"""What a session may take to end by itself when told to stop; then it is cut off, as a kill would do it."""


class TaService:
    """The runtime. `clickhouse` and `kafka` are given by a process that shares them, else opened from the settings."""

    def __init__(
        self, settings: TaSettings, *, kafka: Kafka | None = None, clickhouse: ClickHouse | None = None
    ) -> None:
        self.settings = settings
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.reason: str | None = "starting"
        """Why the service is not ready, None when it is."""
        self._clock = open_clock(settings.clock)
        self._kafka = kafka
        self._has_own_clickhouse = clickhouse is None
        self._sink: ClickHouseSink | None = None
        if clickhouse is not None or settings.clickhouse_url is not None:
            self._sink = ClickHouseSink(
                lambda: clickhouse or open_clickhouse(clickhouse_address(settings)),
                SchemaOptions(cluster=settings.clickhouse_cluster, is_simulated=self._clock.is_simulated),
                batching=Batching(
                    rows=settings.clickhouse_batch_size,
                    flush_seconds=settings.clickhouse_flush_ms / 1000,
                    buffer_rows=settings.clickhouse_buffer_rows,
                ),
                backoff=RETRY,
            )
        self._outlets = Outlets(
            settings=settings,
            clock=self._clock,
            store=CheckpointStore(settings.checkpoint_dir, s3_options(settings)),
            sink=self._sink,
            metrics=self.metrics,
        )
        self._engine_settings = engine_settings(settings)
        self._inputs = input_topics(settings)
        self._workers: dict[int, PartitionWorker] = {}
        self._owned: frozenset[TopicPartition] | None = None
        """What the group gave this session, None before it said."""
        self._lock = asyncio.Lock()
        self._progress = Progress(
            MarketCalendar(settings.market_calendar), settings.status_max_lag_ms, FEEDS[settings.feed]
        )
        self._polled_at = 0.0
        self._observed_at = 0.0
        self._is_behind = True
        """Whether the last poll brought much."""

    @property
    def jobs(self) -> dict[int, PartitionJob]:
        """The state of each partition number that this process owns."""
        return {number: worker.job for number, worker in self._workers.items()}

    # Health

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Return whether rows flow, and `/readyz`'s body."""
        reason = self.reason or (self._sink.trouble if self._sink else None)
        if reason is None and self._is_full:
            reason = "clickhouse_backlog"
        if reason is None and any(worker.is_checkpoint_unwritten for worker in self._workers.values()):
            reason = "checkpoint_store"
        body = {
            "status": "ready" if reason is None else "not_ready",
            "ready": reason is None,
            "reason": reason,
            "group": self.settings.group_id,
            "delivery": self.settings.delivery_guarantee,
            "partitions": sorted(self.jobs),
            "catching_up": sorted(number for number, job in self.jobs.items() if job.is_catching_up),
            "waiting_rows": {table: writer.waiting_rows for table, writer in self._table_writers.items()},
        }
        return reason is None, body

    # Running

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set. Raises FencedError when another process took over an embedded log."""
        await asyncio.to_thread(warm_up)
        kafka = self._kafka or open_kafka(kafka_address(self.settings))
        ended = asyncio.Event()
        writing = asyncio.create_task(self._sink.run(ended) if self._sink else ended.wait())
        work = asyncio.create_task(self._work(kafka, stop))
        try:
            await asyncio.wait([work, writing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.set()
            await asyncio.gather(work, return_exceptions=True)
            ended.set()
            results = await asyncio.gather(work, writing, return_exceptions=True)
            if self._kafka is None:
                await kafka.close()
            if self._sink is not None and self._has_own_clickhouse:
                self._sink.close()
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _work(self, kafka: Kafka, stop: asyncio.Event) -> None:
        attempt = 0
        while not stop.is_set():
            started = time.monotonic()
            try:
                await self._session_until(kafka, stop)
            except (UpstreamError, TransactionFencedError) as error:
                attempt = 1 if time.monotonic() - started > 60 else attempt + 1
                self.reason = _reason(error)
                event(_logger, "session_lost", logging.WARNING, reason=self.reason, error=str(error), attempt=attempt)
                try:
                    await asyncio.wait_for(stop.wait(), RETRY.delay(attempt))
                except TimeoutError:
                    continue

    async def _session_until(self, kafka: Kafka, stop: asyncio.Event) -> None:
        """Run a session; when `stop` is set and it waits for a Kafka that does not answer, cut it off."""
        session = asyncio.create_task(self._session(kafka, stop))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([session, stopped], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([session], timeout=_END_SECONDS)
            if not session.done():
                event(_logger, "session_cut_off", logging.WARNING)
        finally:
            stopped.cancel()
            session.cancel()
            await asyncio.wait([session])
        if not session.cancelled():
            session.result()

    async def _session(self, kafka: Kafka, stop: asyncio.Event) -> None:
        async with AsyncExitStack() as stack:
            assert_same_partitions(self.settings, await kafka.ensure_topics(used_topics(self.settings)))
            status = await kafka.producer()
            stack.push_async_callback(self._close_producers, status)
            heartbeats = asyncio.create_task(self._heartbeats(status))
            stack.callback(heartbeats.cancel)
            self._owned = None
            self._polled_at = time.monotonic()

            async def assigned(partitions: frozenset[TopicPartition]) -> None:
                self._owned = partitions

            async def revoked(partitions: frozenset[TopicPartition]) -> None:
                async with self._lock:
                    self._owned = None
                    leaving = self._pop_workers({at.partition for at in partitions})
                    await _all(worker.hand_over() for worker in leaving)

            consumer = kafka.consumer(
                list(self._inputs.values()),
                group=self.settings.group_id,
                # Where a group without offsets starts is the job's to say. Behind what retention left, it is the earliest.
                reset="none" if self.settings.auto_offset_reset == "none" else "earliest",
                on_assigned=assigned,
                on_revoked=revoked,
            )
            stack.push_async_callback(consumer.close)
            stack.push_async_callback(self._cut_off_turns)  # before the consumer's end waits for them
            await consumer.start()
            event(_logger, "session_started", group=self.settings.group_id, delivery=self.settings.delivery_guarantee)
            try:
                while not stop.is_set():
                    if heartbeats.done():
                        heartbeats.result()
                    await self._step(kafka, consumer)
                async with self._lock:
                    await self._turns_ended()
                    await _all(worker.last_checkpoint() for worker in self._workers.values())
            except (UpstreamError, TransactionFencedError) as error:
                self.reason = _reason(error)  # told before the stack is closed, which takes its time without Kafka
                raise

    @property
    def _unopened(self) -> list[int]:
        return sorted({at.partition for at in self._owned or ()} - self._workers.keys())

    async def _open_job(self, kafka: Kafka, consumer: Consumer, number: int) -> None:
        """Open a partition number. Not inside the client's callback: no heartbeat keeps the membership meanwhile."""
        # Opening the producer fences whoever wrote for this partition number before, so the offsets read next are the
        # last ones.
        is_exact = self.settings.delivery_guarantee == "EXACTLY_ONCE"
        producer = await kafka.producer(f"{self.settings.group_id}-{number}" if is_exact else None)
        try:
            job = await open_job(
                number,
                self._inputs,
                consumer,
                store=self._outlets.store,
                settings=self._engine_settings,
                group=self.settings.group_id,
                reset=self.settings.auto_offset_reset,
            )
        except BaseException:
            await producer.close()
            raise
        self._workers[number] = PartitionWorker(job, consumer, producer, self._outlets)
        event(
            _logger,
            "partition_opened",
            partition=number,
            checkpoint=job.checkpoint_name or None,
            symbols=len(job.engine.names),
            catching_up=job.is_catching_up,
        )

    def _pop_workers(self, numbers: Set[int]) -> list[PartitionWorker]:
        for number in numbers:
            self.metrics.forget(number)
        return [self._workers.pop(number) for number in numbers if number in self._workers]

    async def _close_producers(self, status: Producer) -> None:
        self._owned = None
        await _all([status.close(), *(worker.close() for worker in self._pop_workers(set(self._workers)))])

    async def _cut_off_turns(self) -> None:
        await _all(worker.cut_off() for worker in self._workers.values())

    @property
    def _is_full(self) -> bool:
        return self._sink is not None and self._sink.is_full

    @property
    def _table_writers(self) -> Mapping[str, TableWriter]:
        return self._sink.writers if self._sink is not None else {}

    async def _step(self, kafka: Kafka, consumer: Consumer) -> None:
        while self._unopened:
            async with self._lock:  # taken for each, so that a revocation that waits for it has its turn
                unopened = self._unopened  # a revocation may just have had it
                if unopened:
                    await self._open_job(kafka, consumer, unopened[0])
        held = consumer.assignment()
        foreign = frozenset(at for at in held if at.partition not in self._workers)
        blocked = held if self._is_full else foreign.union(*(job.blocked() for job in self.jobs.values()))
        consumer.pause(blocked)
        consumer.resume(held - blocked)
        await self._let_send()
        batches = await consumer.poll(max_records=_POLL_RECORDS, wait_seconds=_POLL_SECONDS)
        self._is_behind = sum(map(len, batches)) > _MUCH
        since_last = time.monotonic() - self._polled_at
        self._polled_at += since_last
        async with self._lock:
            for batch in batches:
                if batch.partition in self._workers:
                    self._workers[batch.partition].deliver(batch)
            for worker in self._workers.values():
                worker.job.was_deaf(held if since_last > _AWAY_SECONDS else blocked, since_last)
                await worker.go_on()
            if self._owned is not None and not self._unopened:
                self.reason = None if self._workers else "no_partitions"
        if any(worker.has_failed for worker in self._workers.values()):
            await self._turns_ended()
        overdue = [worker.overdue for worker in self._workers.values()]
        if any(overdue):
            await asyncio.wait([turn for turn in overdue if turn is not None])
        if time.monotonic() - self._observed_at >= 1:
            self._observed_at = time.monotonic()
            self.metrics.observe(self.jobs, self._table_writers)

    async def _let_send(self) -> None:
        """Wait for turns that send, unless a number is still to be read that closes the same second."""
        sending = [worker.sending for worker in self._workers.values()]
        is_waited_for = any(worker.is_near_a_close for worker in self._workers.values())
        if any(sending) and not self._is_behind and not is_waited_for:
            await asyncio.wait([turn for turn in sending if turn is not None], timeout=_SENDING_SECONDS)

    async def _turns_ended(self) -> None:
        await _all(worker.ended() for worker in self._workers.values())

    # Status

    async def _heartbeats(self, status: Producer) -> None:
        """Tell the status each checkpoint interval, whatever the rest of the session waits for."""
        while True:
            now_ns = self._clock.now_ns()
            behind = None if self.settings.is_replay else self._progress.trouble(self.jobs, now_ns)
            reason = self.readiness()[1]["reason"] or behind
            feed, word = FEEDS[self.settings.feed], "degraded" if reason else "ok"
            record = status_record(self.jobs, now_ns, feed=feed, status=word, reason=reason)
            await answered(status.send(self.settings.status_topic, [b"ta"], [record]))
            await asyncio.sleep(self.settings.checkpoint_interval_ms / 1000)


async def _all(work: Iterable[Awaitable[None]]) -> None:
    """Wait for all of it. Raises what some of it failed with, a fence before anything else."""
    ended = await asyncio.gather(*work, return_exceptions=True)
    failed = [each for each in ended if isinstance(each, BaseException)]
    if failed:
        raise next((each for each in failed if isinstance(each, FencedError)), failed[0])


def _reason(error: UpstreamError | TransactionFencedError) -> str:
    """Return why a session is lost, in a word."""
    if isinstance(error, TransactionFencedError):
        return "kafka_fenced"
    return error.reason if isinstance(error, KafkaUnavailableError) else "checkpoint_store"


async def run(
    environment: Mapping[str, str],
    *,
    kafka: Kafka | None = None,
    clickhouse: ClickHouse | None = None,
    on_ready: Callable[[int, int], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Run the TA runtime from its environment until `stop` is set; `on_ready` gets the health and metrics ports."""
    settings = load(TaSettings, environment)
    check_ports(settings)
    if kafka is None:
        assert_has_kafka_password(settings)
    heap.share()
    service = TaService(settings, kafka=kafka, clickhouse=clickhouse)
    async with serving_health(settings, service.readiness, service.registry, on_ready):
        await service.run(stop or asyncio.Event())
