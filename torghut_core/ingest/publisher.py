"""Records to Kafka: gathered for a moment, sent as batches, retried without limit, bounded in bytes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from torghut_core.backoff import Backoff
from torghut_core.engines.kafka import Kafka, KafkaUnavailableError, Producer
from torghut_core.ingest.protocol import ErrorClass
from torghut_core.logs import event

_logger = logging.getLogger("torghut.ws.kafka")
_CLOSE_AFTER_FAILURES = 3


class Publisher:
    """One producer and what waits for it. Nothing received is dropped: when the bound is reached, reading pauses."""

    def __init__(self, kafka: Kafka, *, linger_seconds: float, buffer_bytes: int, backoff: Backoff) -> None:
        self._kafka = kafka
        self._linger = linger_seconds
        self._buffer_bytes = buffer_bytes
        self._backoff = backoff
        self._waiting: dict[str, tuple[list[bytes], list[bytes]]] = {}
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._failures = 0
        self._producer: Producer | None = None
        self.error_class: ErrorClass | None = ErrorClass.KAFKA_METADATA
        """Why Kafka's gate is closed, None when it is open. It opens with the first success."""
        self.produced: dict[str, int] = {}
        self.errors = 0
        self.last_success = 0.0

    @property
    def waiting_bytes(self) -> int:
        return self._waiting_bytes

    async def room(self) -> None:
        """Wait until there is room for more."""
        await self._room.wait()

    def put(self, records: Mapping[str, tuple[list[bytes], list[bytes]]]) -> None:
        """Take records, topic → keys and values, to be sent in this order per topic."""
        for topic, (keys, values) in records.items():
            columns = self._waiting.setdefault(topic, ([], []))
            columns[0].extend(keys)
            columns[1].extend(values)
            self._waiting_bytes += sum(map(len, values))
        if self._waiting_bytes >= self._buffer_bytes:
            self._room.clear()
        self._wake.set()

    async def check(self) -> None:
        """Look Kafka's metadata up and set the gate accordingly."""
        try:
            await self._kafka.check()
        except KafkaUnavailableError as error:
            self.error_class = ErrorClass(error.reason)
        else:
            self._succeeded()

    def _succeeded(self) -> None:
        self._failures = 0
        self.error_class = None
        self.last_success = time.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set and nothing waits; after `stop` one failure ends it."""
        while not (stop.is_set() and not self._waiting):
            if not self._waiting:
                self._wake.clear()
                waits = [asyncio.create_task(self._wake.wait()), asyncio.create_task(stop.wait())]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for each in waits:
                    each.cancel()
                await asyncio.sleep(0 if stop.is_set() else self._linger)
                continue
            batches, self._waiting = self._waiting, {}
            size, self._waiting_bytes = self._waiting_bytes, 0
            if not await self._send(batches, stop):
                event(_logger, "records_lost_at_shutdown", logging.ERROR, bytes=size)
                break
            if self._waiting_bytes < self._buffer_bytes:
                self._room.set()
        if self._producer is not None:
            await self._producer.close()

    async def _send(self, batches: Mapping[str, tuple[list[bytes], list[bytes]]], stop: asyncio.Event) -> bool:
        attempt = 0
        for topic, (keys, values) in batches.items():
            while True:
                try:
                    if self._producer is None:
                        self._producer = await self._kafka.producer()
                    await self._producer.send(topic, keys, values)
                except KafkaUnavailableError as error:
                    attempt += 1
                    self.errors += 1
                    self._failures += 1
                    if self._failures >= _CLOSE_AFTER_FAILURES:
                        self.error_class = ErrorClass(error.reason)
                    event(_logger, "kafka_send_failed", logging.WARNING, reason=error.reason, attempt=attempt)
                    if self._producer is not None:
                        await self._producer.close()
                        self._producer = None
                    if stop.is_set():
                        return False
                    await asyncio.sleep(self._backoff.delay(attempt))
                else:
                    self._succeeded()
                    self.produced[topic] = self.produced.get(topic, 0) + len(values)
                    break
        return True
