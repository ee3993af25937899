"""Where a group and its partitions stand, asked of Apache Kafka by somebody who does not read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.fakes import apache_kafka
from tests.fakes.apache_kafka import Broker
from torghut_core.engines.kafka import Committed, KafkaAddress, KafkaUnavailableError, TopicPartition
from torghut_core.engines.kafka_ends import PartitionEnds, Standing, standings
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.topics import DAY_MS, Topic

pytestmark = [pytest.mark.kafka, pytest.mark.engine, pytest.mark.slow, pytest.mark.xdist_group("apache-kafka")]
AT = TopicPartition("some", 0)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for the module."""
    with apache_kafka.running(tmp_path_factory.mktemp("kafka")) as running:
        yield running


async def test_ends_when_records_or_markers_follow_then_only_records_count(broker: Broker) -> None:
    """A transaction's marker is at the end of the log and nothing to be read; a record is; a group's place is told."""
    address = KafkaAddress(bootstrap=broker.bootstrap, client_id="ends")
    kafka = open_kafka(address)
    await kafka.ensure_topics([Topic(name="some", partitions=1, retention_ms=DAY_MS)])
    ends = PartitionEnds(address)
    assert await ends.is_at_end(AT, 0) is True  # an empty log
    writer = await kafka.producer("writer")
    await writer.transact({"some": ([b"k", b"k"], [b"1", b"2"])}, "group", {AT: Committed(1)})
    await writer.close()
    wanted = {AT: Standing(committed=1, earliest=0, end=3)}
    while (found := await standings(address, "group", [AT])) != wanted:
        # The coordinator answers before it has written the marker; the test's own time limit ends the wait.
        assert found[AT].end == 2
        await asyncio.sleep(0.05)
    again = PartitionEnds(address)
    assert [await again.is_at_end(AT, position) for position in (0, 1, 2, 2, 3)] == [False, False, True, True, True]
    assert (await standings(address, "nobody", [AT]))[AT].committed is None
    await ends.close()
    await again.close()


async def test_ends_when_no_broker_answers_then_nothing_is_at_its_end() -> None:
    """Unknown is not the end; and where a group stands cannot be told."""
    nowhere = KafkaAddress(bootstrap="127.0.0.1:9", client_id="ends")
    assert await PartitionEnds(nowhere).is_at_end(AT, 0) is False
    with pytest.raises(KafkaUnavailableError):
        await standings(nowhere, "group", [AT])
