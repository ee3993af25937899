"""Partition numbers beside each other: what one waits for holds up no other, and what was read meanwhile is not lost."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.fakes.ta_inputs import START, Record, quote, trade
from tests.fakes.ta_process import Outputs, differences, expected_rows, in_process, produce
from torghut_core import topics
from torghut_core.clock import open_clock
from torghut_core.engines.kafka import Kafka, KafkaAddress, TopicPartition, partition_of
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.settings import load
from torghut_core.ta import service
from torghut_core.ta.checkpoint import CheckpointStore
from torghut_core.ta.decoding.decode import Decoder
from torghut_core.ta.engine.engine import Engine, EngineSettings
from torghut_core.ta.job import PartitionJob, _Input
from torghut_core.ta.outputs.clickhouse_sink import ClickHouseSink
from torghut_core.ta.service import TaService
from torghut_core.ta.settings import TaSettings
from torghut_core.ta.status import Metrics
from torghut_core.ta.worker import Outlets, PartitionWorker

pytestmark = pytest.mark.slow

SETTINGS = EngineSettings(max_out_of_order_ms=200)
ONE, OTHER = "A", "D"


class _Gated:
    """A log whose transactions of one partition number wait until they are let through."""

    def __init__(self, inner: Kafka, number: int) -> None:
        self._inner = inner
        self._id = f"ta-{number}"
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.waiting = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def producer(self, transactional_id: str | None = None) -> Any:
        producer = await self._inner.producer(transactional_id)
        return _GatedProducer(producer, self) if transactional_id == self._id else producer


class _GatedProducer:
    def __init__(self, inner: Any, gate: _Gated) -> None:
        self._inner = inner
        self._gate = gate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def transact(self, *arguments: Any) -> None:
        if not self._gate.is_open.is_set():
            self._gate.waiting.set()
        await self._gate.is_open.wait()
        await self._inner.transact(*arguments)


@pytest.fixture
async def kafka(tmp_path: Path) -> AsyncIterator[Kafka]:
    """A log of its own for each test."""
    opened = open_kafka(KafkaAddress(bootstrap=f"embedded:{tmp_path / 'kafka'}", client_id="test"))
    await opened.ensure_topics(topics.ALL)
    yield opened
    await opened.close()


def _settings(tmp_path: Path, tolerance_ms: int = 200) -> TaSettings:
    return load(TaSettings, in_process(tmp_path, TA_MAX_OUT_OF_ORDER_MS=str(tolerance_ms)))


def _seconds(first: int, count: int) -> list[Record]:
    return [
        record
        for second in range(first, first + count)
        for symbol in (ONE, OTHER)
        for record in (quote(symbol, second + 0.1, 9, 10), trade(symbol, second + 0.3, 10 + second % 5))
    ]


async def test_worker_when_a_transaction_takes_long_then_others_go_on_and_what_came_meanwhile_is_in_order(
    tmp_path: Path, kafka: Kafka
) -> None:
    """Rows of the other number are told during it; afterwards both have every row as of one run."""
    number = partition_of(ONE.encode(), topics.TRADES.partitions)
    assert partition_of(OTHER.encode(), topics.TRADES.partitions) != number
    gate = _Gated(kafka, number)
    ta, stop = TaService(_settings(tmp_path), kafka=gate), asyncio.Event()
    running = asyncio.create_task(ta.run(stop))
    outputs = await Outputs(kafka).start()
    records = _seconds(0, 4)
    try:
        await produce(kafka, records)
        await outputs.until(lambda: ("signal", "PT1S", ONE, START + 3) in outputs.rows, 30)
        gate.is_open.clear()
        for second in range(4, 12):  # many a poll while the transaction waits
            records += _seconds(second, 1)
            await produce(kafka, _seconds(second, 1))
            await outputs.until(lambda second=second: ("signal", "PT1S", OTHER, START + second) in outputs.rows, 30)
        assert gate.waiting.is_set()
        before = max(seq for *_, symbol, seq in outputs.rows if symbol == ONE)
        assert before < START + 8
        gate.is_open.set()
        expected = expected_rows(records, SETTINGS)
        await outputs.until(lambda: outputs.rows.keys() >= expected.keys(), 30)
    finally:
        stop.set()
        await running
        await outputs.close()
    assert differences(expected, outputs.rows) == []


@pytest.mark.parametrize("is_near", [False, True])
async def test_reading_when_rows_are_sent_then_it_waits_unless_another_number_is_to_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_near: bool
) -> None:
    """Numbers close the same second: the records that close the second one are not left lying while the first one sends."""
    monkeypatch.setattr(service, "_SENDING_SECONDS", 60.0)
    ta, is_sent = TaService(_settings(tmp_path)), asyncio.Event()
    sending = asyncio.create_task(is_sent.wait())
    sends, other = (
        SimpleNamespace(sending=sending, is_near_a_close=False),
        SimpleNamespace(sending=None, is_near_a_close=is_near),
    )
    monkeypatch.setattr(ta, "_workers", {0: sends, 1: other})
    ta._is_behind = False
    waiting = asyncio.create_task(ta._let_send())
    for _ in range(10):
        await asyncio.sleep(0)
    assert waiting.done() is is_near
    is_sent.set()
    await asyncio.wait_for(waiting, 30)


async def test_worker_when_its_inputs_are_paused_then_that_is_no_silence(
    tmp_path: Path, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the buffer for ClickHouse is full nothing is read: the open window waits for what is sent meanwhile."""
    full = threading.Event()
    monkeypatch.setattr(ClickHouseSink, "is_full", property(lambda _: full.is_set()))
    settings = _settings(tmp_path, 3000).model_copy(update={"clickhouse_url": "http://127.0.0.1:1"})
    ta, stop = TaService(settings, kafka=kafka), asyncio.Event()
    running = asyncio.create_task(ta.run(stop))
    outputs = await Outputs(kafka).start()
    records: list[Record] = []
    second = 0
    try:
        while not outputs.rows:  # until the minute bars, of which there are none, are not waited for any more
            records += _seconds(second, 1)
            await produce(kafka, _seconds(second, 1))
            second += 1
            await outputs.read()
        full.set()
        is_open = ("signal", "PT1S", ONE, START + second)
        await outputs.settle(4.5)
        assert is_open not in outputs.rows
        later = [quote(ONE, second - 0.2, 8, 10), trade(ONE, second - 0.1, 50), *_seconds(second, 2)]
        await produce(kafka, later)
        full.clear()
        expected = expected_rows(records + later, EngineSettings(max_out_of_order_ms=3000))
        await outputs.until(lambda: outputs.rows.keys() >= expected.keys(), 60)
    finally:
        stop.set()
        await running
        await outputs.close()
    assert differences(expected, outputs.rows) == []


async def test_worker_when_stopped_while_a_transaction_does_not_end_then_the_next_start_does_it_again(
    tmp_path: Path, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends in its time; nothing of what waited is lost, and nothing is told twice."""
    monkeypatch.setattr("torghut_core.ta.service._END_SECONDS", 0.5)
    gate = _Gated(kafka, partition_of(ONE.encode(), topics.TRADES.partitions))
    outputs = await Outputs(kafka).start()
    records = _seconds(0, 6)
    expected = expected_rows(records, EngineSettings(max_out_of_order_ms=1000))
    for is_last in (False, True):
        ta, stop = TaService(_settings(tmp_path, 1000), kafka=gate if not is_last else kafka), asyncio.Event()
        running = asyncio.create_task(ta.run(stop))
        if not is_last:
            gate.is_open.clear()
            for second in range(6):
                await produce(kafka, _seconds(second, 1))
            await outputs.until(gate.waiting.is_set, 30)
            await outputs.until(lambda: ("signal", "PT1S", OTHER, START + 5) in outputs.rows, 30)
        else:
            await outputs.until(lambda: outputs.rows.keys() >= expected.keys(), 30)
        stop.set()
        async with asyncio.timeout(15):
            await running
    await outputs.settle(0.3)
    await outputs.close()
    assert differences(expected, outputs.rows) == []
    assert outputs.count == len(expected)


@pytest.mark.parametrize(
    ("newest", "published_before", "since_last", "is_taken"),
    [
        (2.9, 60, 10.1, False),
        (2.9, 60, 11.1, True),
        (2.5, 60, 10.1, True),
        (2.5, 0, 10.1, False),
        (2.5, 0, 11.1, True),
        (2.5, 60, 9.0, False),
    ],
    ids=["a second closes", "but it is late", "none does", "others close theirs", "but it is late too", "not yet due"],
)
async def test_checkpoint_when_a_second_closes_then_it_waits_no_longer_than_a_second(
    tmp_path: Path, kafka: Kafka, newest: float, published_before: float, since_last: float, is_taken: bool
) -> None:
    """Packing the state must not take the thread from rows that are on their way; nor may rows put it off for good."""
    settings = _settings(tmp_path, 1000).model_copy(update={"checkpoint_interval_ms": 10_000})
    engine = Engine(EngineSettings(max_out_of_order_ms=1000))
    engine.add(Decoder().trades([trade("A", newest, 10).value]))
    at = TopicPartition("trades", 0)
    now = time.monotonic()
    job = PartitionJob(
        number=0, group="ta", engine=engine, inputs={"trades": _Input(at, 1, now, 1)}, checkpoint_name="", ingest_ms=0
    )
    job.checkpointed_at = now - since_last
    outlets = Outlets(
        settings=settings, clock=open_clock(settings.clock), store=CheckpointStore(settings.checkpoint_dir, {}),
        sink=None, metrics=Metrics(CollectorRegistry()),
    )  # fmt: skip
    worker = PartitionWorker(job, kafka.consumer(["trades"], group="g", reset="none"), await kafka.producer(), outlets)
    worker._published_at = now - published_before
    await worker._checkpoint()
    assert (worker._storing is not None) is is_taken
    await worker.close()
