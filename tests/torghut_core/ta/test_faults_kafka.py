"""Faults against Apache Kafka and chDB: whatever is killed, the last row per key is that of an undisturbed run."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes import apache_kafka
from tests.fakes.apache_kafka import Broker
from tests.fakes.ta_inputs import market
from tests.fakes.ta_process import Outputs, TaProcess, differences, expected_rows, produce
from torghut_core import topics
from torghut_core.engines.kafka import Kafka, KafkaAddress
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.ta.engine.engine import EngineSettings

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.xdist_group("apache-kafka"),
    pytest.mark.timeout(300),
]
SETTINGS = EngineSettings(max_out_of_order_ms=1000)


@pytest.fixture
def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """One broker for one test."""
    with apache_kafka.running(tmp_path / "kafka") as running:
        yield running


@pytest.fixture
def kafka(broker: Broker) -> Kafka:
    """The broker as a client sees it."""
    return open_kafka(KafkaAddress(bootstrap=broker.bootstrap, client_id="checker"))


@pytest.mark.e2e
async def test_ta_when_killed_three_times_then_kafka_and_clickhouse_are_as_if_it_had_not_been(
    tmp_path: Path, broker: Broker, kafka: Kafka
) -> None:
    """SIGKILL during a backlog: read_committed records and ClickHouse FINAL equal the engine's own rows."""
    records = market(1500)
    expected = expected_rows(records, SETTINGS)
    await produce(kafka, records)
    outputs = await Outputs(kafka).start()
    process = TaProcess(tmp_path, broker.bootstrap)
    chance = random.Random(1)
    try:
        for number in range(3):
            process.start()
            enough = int(len(expected) * (0.1 + 0.25 * number + 0.1 * chance.random()))
            await outputs.until(lambda enough=enough: len(outputs.rows) >= enough, 60, [process])
            process.kill()
        process.start()
        await outputs.until(lambda: len(outputs.rows) >= len(expected) and process.is_caught_up, 90, [process])
        await outputs.settle()
        assert process.end() == 0
        await outputs.settle()
        assert differences(expected, outputs.rows) == []
        assert outputs.count == len(expected)  # not one of them twice
        assert differences(expected, process.rows_in_clickhouse()) == []
    finally:
        process.kill()
        await outputs.close()


async def test_ta_when_the_broker_restarts_then_it_goes_on_by_itself(
    tmp_path: Path, broker: Broker, kafka: Kafka
) -> None:
    """A broker that is killed and comes back is waited for; no row is lost, doubled or changed."""
    records = market(900)
    expected = expected_rows(records, SETTINGS)
    await produce(kafka, records)
    process = TaProcess(tmp_path, broker.bootstrap)
    outputs = await Outputs(kafka).start()
    try:
        process.start()
        await outputs.until(lambda: len(outputs.rows) >= len(expected) // 5, 60, [process])
        await outputs.close()
        broker.stop(kill=True)
        broker.start()
        outputs = await Outputs(kafka).start()
        await outputs.until(lambda: len(outputs.rows) >= len(expected), 120, [process])
        assert process.code is None
        assert process.end() == 0
        await outputs.settle()
        assert differences(expected, outputs.rows) == []
        assert differences(expected, process.rows_in_clickhouse()) == []
    finally:
        process.kill()
        await outputs.close()


async def test_ta_when_the_transaction_coordinator_does_not_answer_then_it_waits_and_goes_on(tmp_path: Path) -> None:
    """A coordinator without its log is no reason to end: when it has one, the rows come by themselves."""
    from confluent_kafka.admin import AdminClient, NewTopic

    records = market(120)
    expected = expected_rows(records, SETTINGS)
    broker = Broker(tmp_path / "kafka", {"transaction.state.log.replication.factor": "2"})
    broker.start()
    kafka = open_kafka(KafkaAddress(bootstrap=broker.bootstrap, client_id="checker"))
    process = TaProcess(tmp_path, broker.bootstrap)
    try:
        await produce(kafka, records)
        outputs = await Outputs(kafka).start()
        process.start()
        await outputs.until(lambda: "session_started" in process.log.read_text(), 60, [process])
        await outputs.settle(8)
        assert (process.code, outputs.count, "partition_opened" in process.log.read_text()) == (None, 0, False)
        log = NewTopic("__transaction_state", 1, 1, config={"cleanup.policy": "compact"})
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        for created in admin.create_topics([log]).values():
            created.result(10)
        await outputs.until(lambda: len(outputs.rows) >= len(expected), 90, [process])
        assert process.end() == 0
        assert differences(expected, outputs.rows) == []
        await outputs.close()
    finally:
        process.kill()
        broker.stop()


@pytest.mark.e2e
async def test_ta_when_kafka_does_not_answer_then_it_is_told_and_a_stop_is_obeyed(tmp_path: Path) -> None:
    """The status comes while the transaction coordinator is waited for; SIGTERM ends it, there and without a broker."""
    broker = Broker(tmp_path / "kafka", {"transaction.state.log.replication.factor": "2"})
    broker.start()
    kafka = open_kafka(KafkaAddress(bootstrap=broker.bootstrap, client_id="checker"))
    waiting = TaProcess(tmp_path, broker.bootstrap)
    running = TaProcess(tmp_path, broker.bootstrap, "b", TA_KAFKA_DELIVERY_GUARANTEE="AT_LEAST_ONCE")
    try:
        await produce(kafka, market(20))
        waiting.start()
        outputs = await Outputs(kafka).start()
        await outputs.until(lambda: "session_started" in waiting.log.read_text(), 60, [waiting])
        told = await kafka.last_record(topics.TA_STATUS.name, 0)
        assert told is not None
        assert json.loads(told.values[0])["payload"]["status_reason"] == "starting"
        assert waiting.end() == 0
        running.start()
        await outputs.until(lambda: outputs.count > 0, 60, [running])
        await outputs.close()
        broker.stop(kill=True)
        assert running.end() == 0
    finally:
        waiting.kill()
        running.kill()
        broker.stop()


async def test_ta_when_its_transaction_times_out_while_it_is_stopped_then_it_joins_again(
    tmp_path: Path, broker: Broker, kafka: Kafka
) -> None:
    """Nobody took over: the coordinator alone fenced it, so it is no zombie, and needs nobody to start it again."""
    records = market(120)
    first, second = records[: 55 * 80 + 12], records[60 * 80 + 12 :]  # a gap, so that the silence makes nothing late
    expected = expected_rows(first + second, SETTINGS)
    of_first = expected_rows(first, SETTINGS)
    await kafka.ensure_topics(topics.ALL)
    outputs = await Outputs(kafka).start()
    process = TaProcess(tmp_path, broker.bootstrap)

    async def fence() -> None:
        for number in range(3):  # as the coordinator does with one whose time is up: the epoch goes on
            await (await kafka.producer(f"torghut-ta-test-{number}")).close()

    try:
        process.start()
        await outputs.until(lambda: process.log.read_text().count("partition_opened") == 3, 60, [process])
        await fence()  # in the midst of its first commits: what the broker answers then is not always that it is fenced
        await produce(kafka, first)
        await outputs.until(lambda: len(outputs.rows) >= len(of_first) and process.is_caught_up, 60, [process])
        await outputs.settle(3)
        told = process.log.read_text().count("kafka_fenced")
        await fence()  # and while nothing is on its way: the next append hears of it
        await produce(kafka, second)
        await outputs.until(lambda: len(outputs.rows) >= len(expected) and process.is_caught_up, 60, [process])
        await outputs.settle()
        assert [line for line in differences(expected, outputs.rows) if "imbalance" not in line] == []
        assert process.log.read_text().count("kafka_fenced") > told
        assert process.end() == 0
    finally:
        process.kill()
        await outputs.close()


@pytest.mark.e2e
async def test_ta_when_two_share_the_group_and_one_turns_zombie_then_it_writes_nothing(
    tmp_path: Path, broker: Broker, kafka: Kafka
) -> None:
    """A second instance takes half; the first is stopped, loses the rest, wakes up and must not write a row."""
    records = market(600)
    half = len(records) // 2
    expected = expected_rows(records, SETTINGS)
    await produce(kafka, records[:half])
    outputs = await Outputs(kafka).start()
    first, second = (TaProcess(tmp_path, broker.bootstrap, name) for name in "ab")
    try:
        first.start()
        await outputs.until(lambda: len(outputs.rows) > len(expected) // 20, 60, [first])
        second.start()
        await outputs.until(lambda: "partition_opened" in second.log.read_text(), 60, [first, second])
        first.signal(signal.SIGSTOP)
        await produce(kafka, records[half:])
        await outputs.until(lambda: len(outputs.rows) >= len(expected), 120, [second])
        await outputs.settle()
        assert differences(expected, outputs.rows) == []
        before = outputs.count
        first.signal(signal.SIGCONT)
        await outputs.until(
            lambda: first.code is not None or "session_lost" in first.log.read_text()[-2000:] or second_opened(second),
            60,
            [first, second],
        )
        await outputs.settle(3)
        assert differences(expected, outputs.rows) == []
        assert outputs.count == before
    finally:
        first.kill()
        second.kill()
        await outputs.close()
        await asyncio.sleep(0)


def second_opened(process: TaProcess) -> bool:
    """Tell whether the group was shared out again after the takeover."""
    return process.log.read_text().count("partition_opened") >= 5
