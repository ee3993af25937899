"""One contract, two adapters: the log on SQLite, and Apache Kafka through aiokafka."""

from __future__ import annotations

import asyncio
import os
import resource
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.fakes import apache_kafka
from torghut_core.engines.byte_column import ByteColumn
from torghut_core.engines.kafka import (
    Batch,
    Committed,
    Consumer,
    FencedError,
    Kafka,
    KafkaAddress,
    KafkaUnavailableError,
    OffsetReset,
    Security,
    TopicPartition,
    partition_of,
)
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.engines.kafka_sqlite import SqliteKafka
from torghut_core.errors import ConfigurationError
from torghut_core.topics import Topic


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The one broker of this module."""
    with apache_kafka.running(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker.bootstrap


@pytest.fixture(
    params=["sqlite", pytest.param("apache", marks=[pytest.mark.kafka, pytest.mark.xdist_group("apache-kafka")])]
)
async def kafka(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kafka]:
    """Each adapter in turn."""
    address = f"embedded:{tmp_path}" if request.param == "sqlite" else request.getfixturevalue("bootstrap")
    opened = open_kafka(KafkaAddress(bootstrap=address, client_id="contract"))
    yield opened
    await opened.close()


async def _topic(kafka: Kafka, partitions: int = 1) -> str:
    name = f"t-{uuid.uuid4().hex[:8]}"
    await kafka.ensure_topics([Topic(name=name, partitions=partitions, retention_ms=3_600_000)])
    return name


async def _read(kafka: Kafka, topic: str, group: str, count: int, *, commit: bool = False) -> list[Batch]:
    """Read `count` records from the group's position, or the earliest."""
    consumer = kafka.consumer([topic], group=group, reset="earliest")
    await consumer.start()
    batches: list[Batch] = []
    for _ in range(100):
        batches += await consumer.poll(max_records=50_000, wait_seconds=0.2)
        if sum(len(batch.values) for batch in batches) >= count:
            break
    if commit:
        await consumer.commit({batch.at: Committed(batch.next_offset, "so far") for batch in batches})
    await consumer.close()
    return batches


def _values(batches: list[Batch]) -> list[bytes]:
    return [value for batch in batches for value in batch.values]


async def _until_committed(consumer: Consumer, at: TopicPartition, wanted: Committed, before: Committed) -> None:
    """Wait for a commit; it is answered before the group's coordinator has it, and until then `before` is told."""
    while (found := await consumer.committed(at)) != wanted:
        assert found == before
        await asyncio.sleep(0.01)


async def test_kafka_when_records_are_appended_then_order_per_key_holds(kafka: Kafka) -> None:
    """Every record of a key is in the partition murmur2 names, in the order it was appended."""
    topic = await _topic(kafka, partitions=3)
    producer = await kafka.producer()
    keys = [f"SYM{number % 7}".encode() for number in range(700)]
    values = [f"{number}".encode() for number in range(700)]
    await producer.send(topic, keys[:350], values[:350])
    await producer.send(topic, keys[350:], values[350:])
    await producer.close()
    by_key: dict[bytes, list[int]] = {}
    for batch in await _read(kafka, topic, "g", 700):
        assert list(batch.offsets) == sorted(batch.offsets)
        for key, value in zip(batch.keys, batch.values, strict=True):
            assert key is not None
            assert partition_of(key, 3) == batch.partition
            by_key.setdefault(key, []).append(int(value))
    assert by_key == {f"SYM{n}".encode(): list(range(n, 700, 7)) for n in range(7)}


@pytest.mark.parametrize(
    ("key", "partition"), [(b"21", (-973932308 & 0x7FFFFFFF) % 3), (b"foobar", (-790332482 & 0x7FFFFFFF) % 3)]
)
def test_partition_when_key_is_known_then_as_the_java_client(key: bytes, partition: int) -> None:
    """murmur2("21") = -973932308 and murmur2("foobar") = -790332482, as in Kafka's own test."""
    assert partition_of(key, 3) == partition


async def test_kafka_when_offsets_are_committed_then_the_next_member_goes_on(kafka: Kafka) -> None:
    """The position and its metadata survive; another group starts at the earliest."""
    topic = await _topic(kafka)
    producer = await kafka.producer()
    await producer.send(topic, [b"k"] * 10, [b"%d" % n for n in range(10)])
    await _read(kafka, topic, "g", 10, commit=True)
    await producer.send(topic, [b"k"] * 5, [b"%d" % n for n in range(10, 15)])
    await producer.close()
    assert _values(await _read(kafka, topic, "g", 5)) == [b"%d" % n for n in range(10, 15)]
    assert _values(await _read(kafka, topic, "other", 15)) == [b"%d" % n for n in range(15)]
    consumer = kafka.consumer([topic], group="g", reset="none")
    await consumer.start()
    assert await consumer.committed(TopicPartition(topic, 0)) == Committed(10, "so far")
    assert await consumer.bounds([TopicPartition(topic, 0)]) == {TopicPartition(topic, 0): (0, 15)}
    await consumer.close()


async def test_kafka_when_a_reader_dies_uncommitted_then_records_come_again(kafka: Kafka) -> None:
    """Redelivery: what was not committed is read again."""
    topic = await _topic(kafka)
    producer = await kafka.producer()
    await producer.send(topic, [b"k"] * 4, [b"a", b"b", b"c", b"d"])
    await producer.close()
    assert _values(await _read(kafka, topic, "g", 4)) == [b"a", b"b", b"c", b"d"]
    assert _values(await _read(kafka, topic, "g", 4)) == [b"a", b"b", b"c", b"d"]


async def test_kafka_when_a_transaction_commits_then_records_and_offsets_appear_together(kafka: Kafka) -> None:
    """One transaction spans two topics and a group's position."""
    source, sink = await _topic(kafka), await _topic(kafka)
    producer = await kafka.producer(f"tx-{source}")
    await producer.transact(
        {source: ([b"k"], [b"x"]), sink: ([b"k", b"k"], [b"y", b"z"])},
        "g",
        {TopicPartition(source, 0): Committed(1, "checkpoint 7")},
    )
    await producer.close()
    assert _values(await _read(kafka, sink, "reader", 2)) == [b"y", b"z"]
    consumer = kafka.consumer([source], group="g", reset="earliest")
    await consumer.start()
    assert await consumer.committed(TopicPartition(source, 0)) == Committed(1, "checkpoint 7")
    await consumer.close()
    last = await kafka.last_record(sink, 0)
    assert last is not None
    assert list(last.values) == [b"z"]


async def test_kafka_when_a_transaction_is_begun_ahead_then_nobody_waits_for_it_and_it_is_as_any_other(
    kafka: Kafka,
) -> None:
    """Others' records are read meanwhile; used, withdrawn, or left to the next owner, it holds what it was given."""
    topic = await _topic(kafka)
    at = TopicPartition(topic, 0)
    producer, other = await kafka.producer(f"tx-{topic}"), await kafka.producer()
    stale = {at: Committed(99, "as they stood")}
    consumer = kafka.consumer([topic], group="g", reset="earliest")
    await consumer.start()
    producer.prepare("g", stale)  # before the first there is nothing to go by
    await producer.transact({topic: ([b"k"], [b"1"])}, "g", {at: Committed(1)})
    producer.prepare("g", stale)
    producer.prepare("g", stale)
    await other.send(topic, [b"k"], [b"2"])
    assert _values(await _read(kafka, topic, "r", 2)) == [b"1", b"2"]
    await producer.transact({topic: ([b"k"], [b"3"])}, "g", {at: Committed(3)})
    await _until_committed(consumer, at, Committed(3), before=Committed(1))
    for seconds in (60.0, 0.0):
        producer.prepare("g", stale)
        await producer.withdraw(seconds)
    assert await consumer.committed(at) == Committed(3)
    producer.prepare("g", stale)
    await producer.transact({}, "g", {at: Committed(4, "no records")})
    producer.prepare("g", stale)
    await producer.close()
    heir = await kafka.producer(f"tx-{topic}")
    assert await consumer.committed(at) == Committed(4, "no records")
    await heir.transact({topic: ([b"k"], [b"5"])}, "g", {at: Committed(5)})
    await heir.close()
    await other.close()
    assert _values(await _read(kafka, topic, "r", 4)) == [b"1", b"2", b"3", b"5"]
    await _until_committed(consumer, at, Committed(5), before=Committed(4, "no records"))
    await consumer.close()


@pytest.mark.parametrize("ahead", ["not", "before", "after"])
async def test_kafka_when_a_transactional_id_is_taken_over_then_the_zombie_writes_nothing(
    kafka: Kafka, ahead: str
) -> None:
    """The older producer of an id is fenced, whenever it begins its transaction."""
    topic = await _topic(kafka)
    at = TopicPartition(topic, 0)
    zombie = await kafka.producer(f"tx-{topic}")
    await zombie.transact({topic: ([b"k"], [b"1"])}, "g", {at: Committed(1)})
    if ahead == "before":
        zombie.prepare("g", {at: Committed(1)})
    heir = await kafka.producer(f"tx-{topic}")
    if ahead == "after":
        zombie.prepare("g", {at: Committed(1)})
        await asyncio.sleep(0.3)  # until it has been told, or not: either way it is fenced
    with pytest.raises(FencedError):
        await zombie.transact({topic: ([b"k"], [b"2"])}, "g", {at: Committed(2)})
    await heir.transact({topic: ([b"k"], [b"3"])}, "g", {at: Committed(3)})
    assert _values(await _read(kafka, topic, "r", 2)) == [b"1", b"3"]
    for producer in (zombie, heir):
        await producer.close()


async def test_kafka_when_topics_exist_then_ensuring_them_changes_nothing(kafka: Kafka) -> None:
    """Start-up is idempotent, and an empty partition has no last record."""
    topic = await _topic(kafka, partitions=2)
    await kafka.ensure_topics([Topic(name=topic, partitions=2, retention_ms=1)])
    assert await kafka.last_record(topic, 1) is None
    await kafka.check()


async def test_kafka_when_a_partition_is_paused_then_only_others_are_read(kafka: Kafka) -> None:
    """Back-pressure holds one input without losing it."""
    topic = await _topic(kafka)
    producer = await kafka.producer()
    await producer.send(topic, [b"k"] * 3, [b"a", b"b", b"c"])
    await producer.close()
    consumer = kafka.consumer([topic], group="g", reset="earliest")
    await consumer.start()
    consumer.pause([TopicPartition(topic, 0)])
    assert await consumer.poll(max_records=10, wait_seconds=0.3) == []
    consumer.resume([TopicPartition(topic, 0)])
    batches: list[Batch] = []
    while len(_values(batches)) < 3:
        batches += await consumer.poll(max_records=10, wait_seconds=1)
    assert _values(batches) == [b"a", b"b", b"c"]
    await consumer.close()


async def test_kafka_when_half_a_million_records_pass_then_memory_stays_bounded(kafka: Kafka) -> None:
    """Appending and reading 500,000 records (130 MB) holds a small part of them at a time."""
    topic = await _topic(kafka)
    producer = await kafka.producer()
    value = b"x" * 257
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(50):
        await producer.send(topic, [b"AAPL"] * 10_000, [value] * 10_000)
    await producer.close()
    consumer = kafka.consumer([topic], group="g", reset="earliest")
    await consumer.start()
    count = 0
    while count < 500_000:
        for batch in await consumer.poll(max_records=20_000, wait_seconds=2):
            assert batch.offsets[0] == count
            count += len(batch.values)
    await consumer.close()
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert (count, grown_mb < 120) == (500_000, True)


async def test_sqlite_when_retention_passes_then_old_batches_go_and_offsets_never_repeat(tmp_path: Path) -> None:
    """Deleting everything leaves the next offset where it was; compaction keeps each key's newest record."""
    now = [1_000_000]
    log = SqliteKafka(tmp_path, lambda: now[0])
    await log.ensure_topics(
        [
            Topic(name="plain", partitions=1, retention_ms=1000),
            Topic(name="compacted", partitions=1, retention_ms=10_000, is_compacted=True),
        ]
    )
    producer = await log.producer()
    await producer.send("plain", [b"a", b"b"], [b"1", b"2"])
    await producer.send("compacted", [b"a", b"b", b"a"], [b"1", b"2", b"3"])
    await producer.send("compacted", [b"b"], [b"4"])
    now[0] += 5000
    log.retain()
    assert await log.last_record("plain", 0) is None
    await producer.send("plain", [b"a"], [b"3"])
    (batch,) = await _read(log, "plain", "h", 1)
    assert (list(batch.offsets), list(batch.values)) == ([2], [b"3"])
    kept = [
        (offset, value)
        for b in await _read(log, "compacted", "g", 2)
        for offset, value in zip(b.offsets, b.values, strict=True)
    ]
    assert kept == [(2, b"3"), (3, b"4")]
    await log.close()


async def test_sqlite_when_retention_overtook_a_reader_then_it_goes_on_at_the_earliest_or_refuses(
    tmp_path: Path,
) -> None:
    """Nothing is skipped that is still there, and a reader that may not skip says so."""
    now = [1_000_000]
    log = SqliteKafka(tmp_path, lambda: now[0])
    await log.ensure_topics([Topic(name="t", partitions=1, retention_ms=10_000)])
    producer = await log.producer()
    resets: tuple[OffsetReset, ...] = ("earliest", "none")
    readers = {reset: log.consumer(["t"], group=reset, reset="earliest") for reset in resets}
    for reader in readers.values():
        await reader.start()
        await reader.commit({TopicPartition("t", 0): Committed(0)})
    await producer.send("t", [b"k"], [b"old"])
    now[0] += 60_000
    await producer.send("t", [b"k"], [b"new"])
    log.retain()
    for reset in resets:
        reader = log.consumer(["t"], group=reset, reset=reset)
        await reader.start()
        if reset == "earliest":
            assert _values(await reader.poll(max_records=10, wait_seconds=0)) == [b"new"]
        else:
            with pytest.raises(ConfigurationError, match="group 'none' has no offset for t-0"):
                await reader.poll(max_records=10, wait_seconds=0)
    await log.close()


async def test_sqlite_when_the_disk_is_full_then_nothing_is_half_written_and_it_goes_on(tmp_path: Path) -> None:
    """An append that failed is not there, and the next one works once there is room."""
    log = SqliteKafka(tmp_path)
    await log.ensure_topics([Topic(name="t", partitions=2, retention_ms=3_600_000)])
    producer = await log.producer()
    await producer.send("t", [b"k"], [b"before"])
    ((pages,),) = log._writing.execute("PRAGMA page_count").fetchall()
    log._writing.execute(f"PRAGMA max_page_count = {pages + 10}")
    noise = [os.urandom(20_000) for _ in range(50)]
    for _ in range(2):
        with pytest.raises(KafkaUnavailableError, match="database or disk is full"):
            await producer.send("t", [b"k"] * 50, noise)
    log._writing.execute("PRAGMA max_page_count = 1000000")
    await producer.send("t", [b"k"], [b"after"])
    assert _values(await _read(log, "t", "g", 2)) == [b"before", b"after"]
    await log.close()


@pytest.mark.parametrize("reset", ["earliest", "latest", "none"])
async def test_sqlite_when_a_position_was_never_written_then_the_reset_policy_decides(
    tmp_path: Path, reset: OffsetReset
) -> None:
    """A checkpoint outlived the log it was made over."""
    log = SqliteKafka(tmp_path)
    await log.ensure_topics([Topic(name="t", partitions=1, retention_ms=3_600_000)])
    producer = await log.producer()
    await producer.send("t", [b"k"], [b"first"])
    at = TopicPartition("t", 0)
    earlier = log.consumer(["t"], group="g", reset="earliest")
    await earlier.start()
    await earlier.commit({at: Committed(100)})
    consumer = log.consumer(["t"], group="g", reset=reset)
    await consumer.start()
    if reset == "none":
        with pytest.raises(ConfigurationError, match="group 'g' has no offset for t-0"):
            await consumer.poll(max_records=10, wait_seconds=0)
    else:
        read = _values(await consumer.poll(max_records=10, wait_seconds=0))
        assert (read, await consumer.position(at)) == ([b"first"] if reset == "earliest" else [], 1)
    await log.close()


async def test_sqlite_when_a_second_member_joins_then_the_first_is_fenced(tmp_path: Path) -> None:
    """One active member per group: the newest."""
    log = SqliteKafka(tmp_path)
    await log.ensure_topics([Topic(name="t", partitions=1, retention_ms=1000)])
    first, second = (log.consumer(["t"], group="g", reset="earliest") for _ in range(2))
    await first.start()
    await second.start()
    with pytest.raises(FencedError):
        await first.poll(max_records=1, wait_seconds=0)
    with pytest.raises(FencedError):
        await first.commit({TopicPartition("t", 0): Committed(1)})
    await log.close()


@pytest.mark.parametrize("address", ["", "nowhere", "host:port", "host:99999", "embedded:", ":9092"])
def test_kafka_when_address_has_another_shape_then_refused_by_name(address: str) -> None:
    """The variable, the value and the rule."""
    with pytest.raises(ConfigurationError, match="KAFKA_BOOTSTRAP="):
        open_kafka(KafkaAddress(bootstrap=address, client_id="c"))


def test_kafka_when_address_carries_credentials_then_refused_without_showing_them() -> None:
    """A client would log the whole address at every attempt; keys have their own variables."""
    with pytest.raises(ConfigurationError, match=r"KAFKA_BOOTSTRAP=\(hidden\): .* without credentials") as caught:
        open_kafka(KafkaAddress(bootstrap="a:9092,u:hunter22@b:9092", client_id="c"))
    assert "hunter22" not in str(caught.value)


async def test_kafka_when_nobody_listens_then_metadata_is_the_reason() -> None:
    """An outage is retryable and classified."""
    kafka = open_kafka(KafkaAddress(bootstrap="127.0.0.1:9", client_id="c"))
    with pytest.raises(KafkaUnavailableError) as caught:
        await kafka.check()
    assert caught.value.reason == "kafka_metadata"


async def test_kafka_when_topics_are_ensured_then_the_partitions_they_have_are_returned(kafka: Kafka) -> None:
    """Those that exist are left as they are, so their number is what counts, not the one that was asked for."""
    name = await _topic(kafka, partitions=3)
    wanted = [Topic(name=name, partitions=5, retention_ms=1000), Topic(name=f"{name}-b", partitions=2, retention_ms=1)]
    assert await kafka.ensure_topics(wanted) == {name: 3, f"{name}-b": 2}


@pytest.mark.kafka
@pytest.mark.xdist_group("apache-kafka")
async def test_kafka_when_a_topic_cannot_be_created_then_it_is_told(bootstrap: str) -> None:
    """The broker refuses in its answer, where nobody looked."""
    kafka = open_kafka(KafkaAddress(bootstrap=bootstrap, client_id="contract"))
    with pytest.raises(KafkaUnavailableError, match="creating topics failed"):
        await kafka.ensure_topics([Topic(name="no such name", partitions=1, retention_ms=1000)])


@pytest.mark.kafka
@pytest.mark.xdist_group("apache-kafka")
async def test_kafka_when_the_password_is_wrong_then_the_reason_is_auth_and_the_password_is_not_told(
    tmp_path: Path,
) -> None:
    """The client itself says only that it could not connect."""
    login = (
        'org.apache.kafka.common.security.plain.PlainLoginModule required username="us" password="right"'
        ' user_us="right";'
    )
    broker = apache_kafka.Broker(
        tmp_path,
        {
            "listener.security.protocol.map": "PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "inter.broker.listener.name": "PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.plaintext.plain.sasl.jaas.config": login,
        },
    )
    broker.start()
    topic = [Topic(name="t", partitions=1, retention_ms=1000)]
    try:
        for password, reason in (("right", None), ("not-this-one", "kafka_auth")):
            security = Security(
                protocol="SASL_PLAINTEXT", mechanism="PLAIN", username="us", password=SecretStr(password)
            )
            kafka = open_kafka(KafkaAddress(bootstrap=broker.bootstrap, client_id="contract", security=security))
            for ask in (kafka.check, lambda kafka=kafka: kafka.ensure_topics(topic)):
                if reason is None:
                    await ask()
                    continue
                with pytest.raises(KafkaUnavailableError) as caught:
                    await ask()
                assert caught.value.reason == reason
                assert password not in str(caught.value)
    finally:
        broker.stop()


async def test_kafka_when_a_batch_is_appended_to_its_partition_then_in_order_and_the_newest_can_be_read(
    kafka: Kafka,
) -> None:
    """One batch at a time, to the partition of its keys; the end of a partition can be looked at without a group."""
    topic = await _topic(kafka, partitions=3)
    producer = await kafka.producer()
    assert await producer.partitions(topic) == 3
    key = b"AAPL"
    partition = partition_of(key, 3)
    for start in (0, 10):
        values = [b"%d" % number for number in range(start, start + 10)]
        await producer.append(topic, partition, ByteColumn.of([key] * 10), ByteColumn.of(values))
    await producer.close()
    last = await kafka.last_record(topic, partition, 15)
    assert last is not None
    assert [int(value) for value in last.values] == list(range(5, 20))
    assert (await kafka.has_topic(topic), await kafka.has_topic("never-made")) == (True, False)
