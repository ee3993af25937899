"""Records to Kafka across an outage."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from torghut_core.backoff import Backoff
from torghut_core.engines.kafka import KafkaUnavailableError
from torghut_core.ingest.protocol import ErrorClass
from torghut_core.ingest.publisher import Publisher


class FailingKafka:
    """A Kafka whose next `failures` sends fail; what was taken is in `sent`."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.sent: list[bytes] = []

    async def producer(self, transactional_id: str | None = None) -> FailingKafka:
        return self

    async def send(self, topic: str, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        if self.failures:
            self.failures -= 1
            raise KafkaUnavailableError("refused", "kafka_produce")
        self.sent += values

    async def check(self) -> None:
        return

    async def close(self) -> None:
        return


def _publisher(kafka: FailingKafka, buffer_bytes: int = 1 << 20) -> Publisher:
    return Publisher(kafka, linger_seconds=0, buffer_bytes=buffer_bytes, backoff=Backoff(base=0.001, cap=0.002))  # type: ignore[arg-type]


async def test_publisher_when_kafka_fails_then_everything_arrives_in_order() -> None:
    """An outage delays, it does not lose or reorder."""
    kafka = FailingKafka(failures=7)
    publisher, stop = _publisher(kafka), asyncio.Event()
    running = asyncio.create_task(publisher.run(stop))
    values = [b"%d" % number for number in range(50)]
    for value in values:
        publisher.put({"t": ([b"k"], [value])})
        await asyncio.sleep(0)
    while len(kafka.sent) < 50:
        await asyncio.sleep(0.001)
    stop.set()
    await running
    assert (kafka.sent, publisher.error_class) == (values, None)


async def test_publisher_when_three_sends_fail_then_the_gate_closes_and_one_success_opens_it() -> None:
    """Two failures are noise, three are an outage."""
    kafka = FailingKafka(failures=1_000_000)
    publisher, stop = _publisher(kafka), asyncio.Event()
    await publisher.check()
    assert publisher.error_class is None
    running = asyncio.create_task(publisher.run(stop))
    publisher.put({"t": ([b"k"], [b"v"])})
    while publisher.errors < 3:
        await asyncio.sleep(0.001)
    assert publisher.error_class is ErrorClass.KAFKA_PRODUCE
    kafka.failures = 0
    while not kafka.sent:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0)
    assert publisher.error_class is None
    stop.set()
    await running


async def test_publisher_when_its_buffer_is_full_then_reading_waits_for_room() -> None:
    """Bounded memory: the socket is not read while Kafka is behind."""
    kafka = FailingKafka(failures=1_000_000)
    publisher, stop = _publisher(kafka, buffer_bytes=100), asyncio.Event()
    publisher.put({"t": ([b"k"], [b"x" * 200])})
    waiting = asyncio.create_task(publisher.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    running = asyncio.create_task(publisher.run(stop))
    kafka.failures = 0
    await asyncio.wait_for(waiting, 5)
    stop.set()
    await running
    assert kafka.sent == [b"x" * 200]
