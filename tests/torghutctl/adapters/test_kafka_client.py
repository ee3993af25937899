"""What the brokers are asked before a replay, on Apache Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from tests.fakes.apache_kafka import Broker
from torghutctl.snapshot import kafka_server
from torghutctl.snapshot.http import ReadError
from torghutctl.snapshot.kafka_server import INPUT_TOPICS

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.xdist_group("kafka")]
PLACE = TopicPartition(INPUT_TOPICS[0], 1)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path / "kafka")
    made.start()
    yield made
    made.stop()


def ask(broker: Broker, group: str, seconds: float = 20.0) -> Any:
    process = {"TA_KAFKA_BOOTSTRAP": broker.bootstrap, "TA_KAFKA_SECURITY": "PLAINTEXT"}
    return kafka_server.tasks(process, group)[0].read(seconds)


async def fill(bootstrap: str) -> None:
    """Make the input topics with four records in one partition, a second apart."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, 2, 1) for name in INPUT_TOPICS])
    await producer.start()
    for number in range(4):
        await producer.send_and_wait(
            PLACE.topic, b"x", partition=PLACE.partition, timestamp_ms=1_772_600_000_000 + number * 1000
        )
    await producer.stop()
    await admin.close()


async def use(bootstrap: str, before: int) -> None:
    """Commit an offset for group g, and let the first records go."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id="g", enable_auto_commit=False)
    await consumer.start()
    consumer.assign([PLACE])
    await consumer.commit({PLACE: 2})
    await consumer.stop()
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.delete_records({PLACE: RecordsToDelete(before_offset=before)})
    await admin.close()


def test_ask_when_a_group_was_used_and_records_were_removed_then_the_brokers_say_so(broker: Broker) -> None:
    """Committed offsets and the first record still held come from Kafka itself; brokers that are away are a failure."""
    asyncio.run(fill(broker.bootstrap))
    whole = {"group": "g", "hasOffsets": False, "heldSince": dict.fromkeys(INPUT_TOPICS)}
    assert ask(broker, "g") == whole
    asyncio.run(use(broker.bootstrap, 3))
    held = {INPUT_TOPICS[0]: "2026-03-04T04:53:23Z", INPUT_TOPICS[1]: None}
    assert ask(broker, "g") == {"group": "g", "hasOffsets": True, "heldSince": held}
    assert ask(broker, "other") == {"group": "other", "hasOffsets": False, "heldSince": held}
    asyncio.run(use(broker.bootstrap, 4))
    assert ask(broker, "other")["heldSince"][PLACE.topic] > held[PLACE.topic]
    broker.stop()
    with pytest.raises(ReadError):
        ask(broker, "g", 3.0)


@pytest.mark.parametrize(
    "process", [{}, {"TA_KAFKA_BOOTSTRAP": ""}, {"TA_KAFKA_BOOTSTRAP": "embedded:/var/lib/torghut"}]
)
def test_tasks_when_no_broker_is_named_then_none_is_asked(process: dict[str, str]) -> None:
    """Not asked is told as such; it is no failure."""
    assert kafka_server.tasks(process, "g") == []
