"""Records to Kafka: a lane for each topic, a bound on what waits, and a watch on whether Kafka answers.

Reading never waits for Kafka. What does not fit the bound is dropped, the oldest first, and counted by channel; the
stretch it leaves is told as a gap. A topic is in trouble when Kafka refused its last send, or has not answered one for
some seconds; only an acknowledgement of that very topic ends it, never a lookup that happens to work.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from torghut_core.backoff import Backoff
from torghut_core.engines.kafka import Kafka, KafkaUnavailableError
from torghut_core.ingest.intake import Chunk
from torghut_core.ingest.lane import Lane
from torghut_core.ingest.protocol import ErrorClass
from torghut_core.logs import event

_logger = logging.getLogger("torghut.ws.kafka")
_UNANSWERED_SECONDS = 2.5
"""After this a send that was not answered is looked into; the look takes as long at most: five seconds together."""
_PROBE_SECONDS = 2.0
_WATCH_SECONDS = 0.25


@dataclass(frozen=True)
class Trouble:
    """Why a topic's records are not durable."""

    error_class: ErrorClass
    detail: str


class Publisher:
    """The lanes. `on_acked` and `on_dropped` get chunks, for whoever keeps account of what arrived and what did not."""

    def __init__(
        self,
        kafka: Kafka,
        topics: Mapping[str, str],
        *,
        buffer_bytes: int,
        batch_bytes: int,
        record_bytes: int,
        backoff: Backoff,
        on_acked: Callable[[Chunk, float], None] = lambda _chunk, _seconds: None,
        on_dropped: Callable[[Chunk, str], None] = lambda _chunk, _reason: None,
        ensure: Callable[[], Awaitable[object]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kafka = kafka
        self._topics = dict(topics)
        self._buffer_bytes = buffer_bytes
        self._record_bytes = record_bytes
        self._on_acked = on_acked
        self._on_dropped = on_dropped
        self._ensure = ensure
        self._monotonic = monotonic
        self.lanes = {
            topic: Lane(
                topic,
                kafka,
                batch_bytes=batch_bytes,
                backoff=backoff,
                on_acked=on_acked,
                on_refused=self._refused,
                monotonic=monotonic,
            )
            for topic in dict.fromkeys(topics.values())
        }
        self._troubles: dict[str, Trouble] = {}
        self.dropped: dict[tuple[str, str], int] = {}
        """Records by channel and reason: `buffer_full`, `too_large`, `refused`, `shutdown`."""
        self._unanswered_since: dict[str, float] = {}
        self._is_wedged = False

    # Records.

    @property
    def waiting_bytes(self) -> int:
        return sum(lane.waiting_bytes for lane in self.lanes.values())

    def put(self, chunks: Iterable[Chunk]) -> None:
        """Take chunks, to be sent in this order per topic and partition; past the bound the oldest are dropped."""
        for chunk in chunks:
            for part in self._without_giants(chunk):
                self.lanes[self._topics[chunk.channel]].put(part)
        while self.waiting_bytes > self._buffer_bytes:
            fullest = max(self.lanes.values(), key=lambda lane: lane.droppable_bytes)
            oldest = fullest.drop_oldest()
            if oldest is None:
                return
            self._drop(oldest, "buffer_full")

    def _without_giants(self, chunk: Chunk) -> Iterable[Chunk]:
        sizes = chunk.values.ends - chunk.values.starts
        if int(sizes.max()) <= self._record_bytes:
            return [chunk]
        kept, start = [], 0
        for row in (sizes > self._record_bytes).nonzero()[0].tolist():
            kept.append(chunk.part(start, row))
            self._drop(chunk.part(row, row + 1), "too_large")
            start = row + 1
        kept.append(chunk.part(start, len(chunk)))
        return [part for part in kept if len(part)]

    def _refused(self, chunk: Chunk, reason: str) -> None:
        self._drop(chunk, reason)

    def _drop(self, chunk: Chunk, reason: str) -> None:
        key = (chunk.channel, reason)
        self.dropped[key] = self.dropped.get(key, 0) + len(chunk)
        self._on_dropped(chunk, reason)

    # Kafka.

    @property
    def trouble(self) -> Trouble | None:
        """Return why not everything is acknowledged in time, None when it is. Rights come before leaders."""
        for wanted in (ErrorClass.KAFKA_AUTH, ErrorClass.KAFKA_METADATA, ErrorClass.KAFKA_PRODUCE):
            for trouble in self._troubles.values():
                if trouble.error_class is wanted:
                    return trouble
        return None

    def set_trouble(self, error: KafkaUnavailableError) -> None:
        """Say that Kafka failed before there was anything to send."""
        self._troubles[""] = Trouble(ErrorClass(error.reason), str(error))

    def await_first_answer(self) -> None:
        """Take back what `set_trouble` said as soon as any record is acknowledged."""
        self._troubles[""] = Trouble(ErrorClass.KAFKA_PRODUCE, "no record was acknowledged yet")

    def wedged_seconds(self) -> float:
        """Return for how long a batch has had no answer although Kafka answers otherwise: what only a restart cures."""
        if not self._is_wedged:
            return 0.0
        return max((self._monotonic() - since for since in self._unanswered_since.values()), default=0.0)

    async def run(self, stop: asyncio.Event, *, flush_seconds: float = 10.0) -> None:
        """Send until `stop`; then for `flush_seconds` at most what still waits. The rest is counted and told."""
        running = [asyncio.create_task(lane.run(), name=f"lane:{name}") for name, lane in self.lanes.items()]
        watching = asyncio.create_task(self._watch(), name="kafka-watch")
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([*running, watching, stopping], return_when=asyncio.FIRST_COMPLETED)
            for lane in self.lanes.values():
                lane.stop()
            if stop.is_set():
                await asyncio.wait(running, timeout=flush_seconds)
        finally:
            for task in (*running, watching, stopping):
                if not task.done():
                    task.cancel()
            results = await asyncio.gather(*running, watching, stopping, return_exceptions=True)
            self._tell_lost()
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _tell_lost(self) -> None:
        lost: dict[str, int] = {}
        for lane in self.lanes.values():
            for chunk in lane.give_up():
                lost[chunk.channel] = lost.get(chunk.channel, 0) + len(chunk)
                self._drop(chunk, "shutdown")
        if lost:
            event(_logger, "records_lost_at_shutdown", logging.ERROR, **lost)

    async def _watch(self) -> None:
        """Notice sends without an answer, and find out why."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            now = self._monotonic()
            if any(lane.last_success for lane in self.lanes.values()):
                self._troubles.pop("", None)
            overdue = []
            for topic, lane in self.lanes.items():
                if lane.error is not None:
                    self._set(topic, Trouble(ErrorClass(lane.error.reason), str(lane.error)))
                    continue
                is_overdue = lane.sent_at is not None and now - lane.sent_at >= _UNANSWERED_SECONDS
                if is_overdue:
                    self._unanswered_since.setdefault(topic, now - _UNANSWERED_SECONDS)
                    overdue.append(topic)
                else:
                    self._unanswered_since.pop(topic, None)
                    self._end(topic)
            if overdue:
                await self._look_into(overdue)
            else:
                self._is_wedged = False

    async def _look_into(self, topics: list[str]) -> None:
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await self._kafka.check()
        except TimeoutError:
            found = Trouble(ErrorClass.KAFKA_METADATA, "Kafka does not answer: no metadata within 2 s")
            self._is_wedged = False
        except KafkaUnavailableError as error:
            found = Trouble(ErrorClass(error.reason), str(error))
            self._is_wedged = False
        else:
            found = Trouble(ErrorClass.KAFKA_PRODUCE, "Kafka answers, but has not acknowledged a batch for seconds")
            self._is_wedged = True
        for topic in topics:
            lane = self.lanes[topic]
            if lane.error is not None or lane.sent_at is None:
                continue
            trouble = found
            if found.error_class is ErrorClass.KAFKA_PRODUCE:
                trouble = await self._missing(topic) or found
            self._set(topic, trouble)

    async def _missing(self, topic: str) -> Trouble | None:
        """Make a topic anew that is gone, and say so; None when it is there."""
        if self._ensure is None:
            return None
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                if not await self._kafka.has_topic(topic):
                    await self._ensure()
                    return Trouble(ErrorClass.KAFKA_METADATA, f"topic {topic} is missing")
        except TimeoutError:
            return None
        except KafkaUnavailableError as error:
            return Trouble(ErrorClass(error.reason), f"topic {topic}: {error}")
        return None

    def _set(self, topic: str, trouble: Trouble) -> None:
        before = self._troubles.get(topic)
        self._troubles[topic] = trouble
        if before is None or before.error_class is not trouble.error_class:
            event(
                _logger,
                "kafka_trouble",
                logging.WARNING,
                topic=topic,
                error_class=trouble.error_class.value,
                detail=trouble.detail,
            )

    def _end(self, topic: str) -> None:
        if self._troubles.pop(topic, None) is not None:
            event(_logger, "kafka_recovered", topic=topic)
