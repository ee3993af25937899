"""Records to Kafka across outages, refusals and bounds, against a Kafka that fails on request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from torghut_core.backoff import Backoff
from torghut_core.engines.byte_column import ByteColumn
from torghut_core.engines.kafka import KafkaUnavailableError, RecordsRefusedError
from torghut_core.ingest.intake import Chunk
from torghut_core.ingest.protocol import ErrorClass
from torghut_core.ingest.publisher import Publisher
from torghut_core.ingest.status import chunk_of

TOPICS = {"trades": "t", "quotes": "q", "status": "s"}


class ScriptedKafka:
    """A small real log: it refuses what is over `limit` or holds a poison byte, and fails topics that are told to."""

    def __init__(self) -> None:
        self.log: dict[str, list[bytes]] = {}
        self.limit = 1 << 30
        self.failing: dict[str, str] = {}
        self.hanging: set[str] = set()
        self.released = asyncio.Event()
        self.opened = 0
        self.largest = 0

    async def producer(self, transactional_id: str | None = None) -> ScriptedKafka:
        self.opened += 1
        return self

    async def append(self, topic: str, partition: int, keys: ByteColumn, values: ByteColumn) -> None:
        await asyncio.sleep(0)
        if topic in self.hanging:
            await self.released.wait()
        if topic in self.failing:
            raise KafkaUnavailableError(f"Kafka: append failed: {self.failing[topic]}", self.failing[topic])
        size = sum(map(len, values))
        self.largest = max(self.largest, size)
        if size > self.limit:
            raise RecordsRefusedError("too large", "too_large")
        if any(b"poison" in value for value in values):
            raise RecordsRefusedError("refused", "refused")
        self.log.setdefault(topic, []).extend(values)

    async def check(self) -> None:
        if "*" in self.failing:
            raise KafkaUnavailableError("Kafka: no broker", self.failing["*"])

    async def has_topic(self, topic: str) -> bool:
        return True

    async def close(self) -> None:
        return


def _publisher(kafka: ScriptedKafka, **changes: Any) -> Publisher:
    options: dict[str, Any] = {
        "buffer_bytes": 1 << 20, "batch_bytes": 1 << 16, "record_bytes": 1 << 19,
        "backoff": Backoff(base=0.001, cap=0.002),
    }  # fmt: skip
    return Publisher(kafka, TOPICS, **options | changes)  # type: ignore[arg-type]


def _chunk(channel: str, *values: bytes, at_ns: int = 0) -> Chunk:
    one = chunk_of(channel, 0, "AAPL", b"", at_ns)
    import numpy as np

    return Chunk(
        channel, 0, ByteColumn.of([b"AAPL"] * len(values)), ByteColumn.of(values), np.zeros(len(values), np.int64),
        np.full(len(values), at_ns), sum(map(len, values)),
    ) if values else one  # fmt: skip


async def _until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


class _Running:
    def __init__(self, publisher: Publisher, flush_seconds: float = 5.0) -> None:
        self._publisher = publisher
        self._stop = asyncio.Event()
        self._flush_seconds = flush_seconds

    async def __aenter__(self) -> Publisher:
        self._task = asyncio.create_task(self._publisher.run(self._stop, flush_seconds=self._flush_seconds))
        return self._publisher

    async def __aexit__(self, *_exc: object) -> None:
        self._stop.set()
        await self._task


VALUES = [b"value %d" % number for number in range(50)]


async def test_publisher_when_kafka_fails_for_a_while_then_everything_arrives_in_order_once() -> None:
    """An outage delays, it does not lose, repeat or reorder; its class is told and taken back."""
    kafka = ScriptedKafka()
    kafka.failing["t"] = "kafka_auth"
    async with _Running(_publisher(kafka)) as publisher:
        for value in VALUES:
            publisher.put([_chunk("trades", value)])
        await _until(lambda: publisher.trouble is not None)
        assert publisher.trouble is not None
        assert publisher.trouble.error_class is ErrorClass.KAFKA_AUTH
        kafka.failing.clear()
        await _until(lambda: publisher.trouble is None)
    assert kafka.log["t"] == VALUES


async def test_publisher_when_one_topic_fails_then_the_others_go_on_and_do_not_open_its_gate() -> None:
    """An acknowledgement of another topic, or a lookup that works, proves nothing."""
    kafka = ScriptedKafka()
    kafka.failing["t"] = "kafka_produce"
    async with _Running(_publisher(kafka)) as publisher:
        publisher.put([_chunk("trades", b"stuck")])
        await _until(lambda: publisher.trouble is not None)
        for value in VALUES:
            publisher.put([_chunk("quotes", value)])
        await _until(lambda: len(kafka.log.get("q", [])) == 50)
        await asyncio.sleep(0.6)  # longer than the watch takes to look again
        assert publisher.trouble is not None
        kafka.failing.clear()
    assert (kafka.log["t"], kafka.log["q"]) == ([b"stuck"], VALUES)


@pytest.mark.parametrize("place", [0, 17, 49])
async def test_publisher_when_one_record_is_refused_then_it_alone_is_dropped_and_nothing_is_appended_twice(
    place: int,
) -> None:
    """The batch is halved until that record stands alone."""
    kafka = ScriptedKafka()
    values = [*VALUES[:place], b"poison", *VALUES[place:]]
    async with _Running(_publisher(kafka)) as publisher:
        publisher.put([_chunk("trades", *values), _chunk("quotes", *VALUES)])
    assert kafka.log == {"t": VALUES, "q": VALUES}
    assert publisher.dropped == {("trades", "refused"): 1}
    assert publisher.trouble is None


async def test_publisher_when_the_topics_limit_is_below_the_batch_then_batches_shrink_and_stay_small() -> None:
    """All of them together were too large, none alone: nothing is dropped, and later batches are not refused again."""
    kafka = ScriptedKafka()
    kafka.limit = 300
    async with _Running(_publisher(kafka)) as publisher:
        publisher.put([_chunk("trades", *VALUES)])
        await _until(lambda: len(kafka.log.get("t", [])) == 50)
        for value in VALUES:
            publisher.put([_chunk("trades", value * 20)])
    assert kafka.log["t"] == VALUES + [value * 20 for value in VALUES]
    assert publisher.dropped == {}


async def test_publisher_when_a_record_is_longer_than_any_may_be_then_dropped_before_it_is_sent() -> None:
    """Three megabytes of one trade cost that trade."""
    kafka = ScriptedKafka()
    async with _Running(_publisher(kafka, buffer_bytes=8 << 20)) as publisher:
        publisher.put([_chunk("trades", b"before", bytes(3_000_000), b"after")])
    assert (kafka.log["t"], publisher.dropped) == ([b"before", b"after"], {("trades", "too_large"): 1})


async def test_publisher_when_its_buffer_is_full_then_the_oldest_go_and_each_is_counted() -> None:
    """Memory is bounded, taking never waits, and what is in the topic and what was dropped make up the whole."""
    kafka = ScriptedKafka()
    kafka.failing["t"] = "kafka_metadata"
    dropped: list[bytes] = []
    publisher = _publisher(
        kafka, buffer_bytes=1000, record_bytes=500, batch_bytes=64,
        on_dropped=lambda chunk, _reason: dropped.extend(chunk.values),
    )  # fmt: skip
    async with _Running(publisher):
        for number in range(100):
            publisher.put([_chunk("trades", b"%05d" % number * 10)])
            await asyncio.sleep(0)
            assert publisher.waiting_bytes <= 1000
        kafka.failing.clear()
    whole = [b"%05d" % number * 10 for number in range(100)]
    assert sorted(dropped + kafka.log["t"]) == whole
    assert kafka.log["t"][-1] == whole[-1]
    assert publisher.dropped == {("trades", "buffer_full"): len(dropped)}
    assert len(dropped) >= 80


@pytest.mark.slow
async def test_publisher_when_kafka_does_not_answer_then_trouble_within_five_seconds_and_no_second_send() -> None:
    """A batch on its way is never given up: the client asks again under the same number."""
    kafka = ScriptedKafka()
    kafka.hanging.add("t")
    async with _Running(_publisher(kafka)) as publisher:
        publisher.put([_chunk("trades", b"one")])
        async with asyncio.timeout(5):
            while publisher.trouble is None:
                await asyncio.sleep(0.01)
        assert publisher.trouble.error_class is ErrorClass.KAFKA_PRODUCE
        assert publisher.wedged_seconds() > 0
        kafka.failing["*"] = "kafka_metadata"
        await _until(lambda: publisher.trouble is not None and publisher.trouble.error_class == "kafka_metadata")
        assert publisher.wedged_seconds() == 0.0
        kafka.hanging.clear()
        kafka.released.set()
        await _until(lambda: publisher.trouble is None)
    assert kafka.log["t"] == [b"one"]


async def test_publisher_when_it_stops_while_kafka_is_away_then_in_time_and_the_loss_is_counted() -> None:
    """What Kafka never got is told, to the record."""
    kafka = ScriptedKafka()
    kafka.failing |= {"t": "kafka_metadata"}
    async with asyncio.timeout(5):
        async with _Running(_publisher(kafka), flush_seconds=0.1) as publisher:
            publisher.put([_chunk("trades", *VALUES), _chunk("quotes", b"sent")])
            await _until(lambda: "q" in kafka.log)
    assert (publisher.dropped, kafka.log) == ({("trades", "shutdown"): 50}, {"q": [b"sent"]})
    assert publisher.waiting_bytes == 0
