"""What waits for one topic, and the one task that sends it: another topic's trouble is not this one's.

A batch on its way is never given up, since the client asks for it under the same number until Kafka answers. A batch
that Kafka refuses for one record's sake is halved until that record stands alone, is dropped, and counted.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from torghut_core.backoff import Backoff
from torghut_core.engines.byte_column import ByteColumn
from torghut_core.engines.kafka import Kafka, KafkaUnavailableError, Producer, RecordsRefusedError
from torghut_core.errors import TorghutError
from torghut_core.ingest.intake import Chunk

_LEAST_BATCH_BYTES = 1024
_CLOSE_SECONDS = 2.0


@dataclass
class LaneCounts:
    """What became of a lane's records; by channel where it says so."""

    produced: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    """By reason: records that Kafka will never take."""
    errors: dict[str, int] = field(default_factory=dict)
    """Failed sends by class."""


class Lane:
    """The records of one topic, in the order they came, per partition.

    `on_acked` gets each chunk that is durable, `on_refused` a record that was dropped and why.
    """

    def __init__(
        self,
        topic: str,
        kafka: Kafka,
        *,
        batch_bytes: int,
        backoff: Backoff,
        on_acked: Callable[[Chunk, float], None],
        on_refused: Callable[[Chunk, str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.topic = topic
        self._kafka = kafka
        self._most_bytes = self._batch_bytes = batch_bytes
        self._backoff = backoff
        self._on_acked = on_acked
        self._on_refused = on_refused
        self._monotonic = monotonic
        self._waiting: deque[tuple[float, Chunk]] = deque()
        self._sending: list[tuple[float, Chunk]] = []
        self._wake = asyncio.Event()
        self._producer: Producer | None = None
        self._is_stopping = False
        self.waiting_bytes = 0
        """Bytes of values that wait or are on their way."""
        self.sending_bytes = 0
        self.error: KafkaUnavailableError | None = None
        """The last answer, when it was a refusal; None after a success."""
        self.sent_at: float | None = None
        """When the oldest batch on its way was handed over, monotonic."""
        self.last_success = 0.0
        self.counts = LaneCounts()

    def put(self, chunk: Chunk) -> None:
        """Take a chunk, to be sent after those before."""
        self._waiting.append((self._monotonic(), chunk))
        self.waiting_bytes += chunk.size
        self._wake.set()

    def drop_oldest(self) -> Chunk | None:
        """Give up the chunk that has waited longest and is not on its way; None when there is none."""
        if not self._waiting:
            return None
        _, chunk = self._waiting.popleft()
        self.waiting_bytes -= chunk.size
        return chunk

    def give_up(self) -> list[Chunk]:
        """Take out everything that is not known to be durable."""
        chunks = [chunk for _, chunk in (*self._sending, *self._waiting)]
        self._waiting.clear()
        self._sending = []
        self.waiting_bytes = self.sending_bytes = 0
        return chunks

    @property
    def droppable_bytes(self) -> int:
        return self.waiting_bytes - self.sending_bytes

    @property
    def is_empty(self) -> bool:
        return not self._waiting and not self._sending

    async def run(self) -> None:
        """Send until `stop` was called and nothing waits; however it ends, the producer is closed."""
        try:
            await self._send_all()
        finally:
            await self._close_producer()

    async def _send_all(self) -> None:
        attempt = 0
        while not (self._is_stopping and self.is_empty):
            if not self._waiting and not self._sending:
                self._wake.clear()
                await self._wake.wait()
                continue
            try:
                await self._send()
            except KafkaUnavailableError as error:
                attempt += 1
                self.error = error
                self.counts.errors[error.reason] = self.counts.errors.get(error.reason, 0) + 1
                self.sent_at = None
                await self._close_producer()
                await asyncio.sleep(self._backoff.delay(attempt))
            else:
                attempt = 0

    def stop(self) -> None:
        """End once everything is sent."""
        self._is_stopping = True
        self._wake.set()

    async def _close_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(TorghutError, TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await producer.close()

    async def _send(self) -> None:
        """Send what waits, one batch for each partition at a time; what was not taken stays first in line."""
        self.sent_at = self._monotonic()
        if not self._sending:
            self._gather()
        by_partition: dict[int, list[Chunk]] = {}
        for _, chunk in self._sending:
            by_partition.setdefault(chunk.partition, []).append(chunk)
        await self._opened()
        results = await asyncio.gather(*map(self._deliver, by_partition.values()), return_exceptions=True)
        failed: BaseException | None = None
        for chunks, result in zip(by_partition.values(), results, strict=True):
            if isinstance(result, RecordsRefusedError):
                # Only now, when nothing else is on its way: the refused batch's number is missing, and a producer of
                # its own has to go on.
                try:
                    await self._deliver_halves(chunks, result)
                except KafkaUnavailableError as error:
                    failed = failed or error
            elif isinstance(result, BaseException):
                failed = result if failed is None or not isinstance(result, KafkaUnavailableError) else failed
        if failed is not None:
            raise failed
        self.sent_at = None
        self.error = None

    async def _opened(self) -> Producer:
        if self._producer is None:
            self._producer = await self._kafka.producer()
        return self._producer

    async def _deliver(self, chunks: Sequence[Chunk]) -> None:
        producer = await self._opened()
        keys = ByteColumn.joined([chunk.keys for chunk in chunks])
        values = ByteColumn.joined([chunk.values for chunk in chunks])
        begun = self._monotonic()
        await producer.append(self.topic, chunks[0].partition, keys, values)
        self.last_success = self._monotonic()
        self.sent_at = self.last_success
        self.counts.produced += len(values)
        for chunk in chunks:
            self._settle(chunk)
            self._on_acked(chunk, self.last_success - begun)

    async def _deliver_halves(self, chunks: Sequence[Chunk], refused: RecordsRefusedError) -> bool:
        """Deliver refused records in smaller batches, and drop those refused alone; tell whether there was one."""
        await self._close_producer()
        if len(chunks) == 1 and len(chunks[0]) == 1:
            self._settle(chunks[0])
            self.counts.refused[refused.reason] = self.counts.refused.get(refused.reason, 0) + 1
            self._on_refused(chunks[0], refused.reason)
            return True
        if len(chunks) == 1:
            halves: list[Sequence[Chunk]] = [[part] for part in self._split(chunks[0])]
        else:
            halves = [chunks[: len(chunks) // 2], chunks[len(chunks) // 2 :]]
        found = False
        for half in halves:
            try:
                await self._deliver(half)
            except RecordsRefusedError as error:
                found |= await self._deliver_halves(half, error)
        size = sum(chunk.size for chunk in chunks)
        if not found and refused.reason == "too_large":  # no record was: all of them together were
            self._batch_bytes = max(_LEAST_BATCH_BYTES, min(self._batch_bytes, size // 2))
        return found

    def _gather(self) -> None:
        sizes: dict[int, int] = {}
        while self._waiting:
            chunk = self._waiting[0][1]
            if sizes.get(chunk.partition, 0) and sizes[chunk.partition] + chunk.size > self._batch_bytes:
                break
            sizes[chunk.partition] = sizes.get(chunk.partition, 0) + chunk.size
            self._sending.append(self._waiting.popleft())
            self.sending_bytes += chunk.size

    def _settle(self, chunk: Chunk) -> None:
        place = self._place(chunk)
        if place is not None:  # not after it was given up
            del self._sending[place]
            self.sending_bytes -= chunk.size
            self.waiting_bytes -= chunk.size

    def _place(self, chunk: Chunk) -> int | None:
        return next((place for place, (_, each) in enumerate(self._sending) if each is chunk), None)

    def _split(self, chunk: Chunk) -> tuple[Chunk, Chunk]:
        middle = len(chunk) // 2
        parts = chunk.part(0, middle), chunk.part(middle, len(chunk))
        place = self._place(chunk)
        if place is not None:
            put_at = self._sending[place][0]
            self._sending[place : place + 1] = [(put_at, part) for part in parts]
        return parts
