"""`run ta` in this process over the embedded log: delivery, restarts, replays, status, readiness."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.ta_inputs import START, Record, Run, bar, quote, trade
from tests.fakes.ta_process import Outputs, differences, expected_rows, in_process, produce
from torghut_core import topics
from torghut_core.engines.kafka import Committed, Kafka, KafkaAddress, TopicPartition, partition_of
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.errors import ConfigurationError
from torghut_core.rfc3339 import parse_ns
from torghut_core.settings import load
from torghut_core.ta.checkpoint import Checkpoint, CheckpointStore, pack
from torghut_core.ta.engine.engine import EngineSettings
from torghut_core.ta.outputs.rows import MICROBARS
from torghut_core.ta.service import TaService, run
from torghut_core.ta.settings import TaSettings

pytestmark = pytest.mark.slow  # git processes, engines and waits: seconds in all

SETTINGS = EngineSettings(max_out_of_order_ms=200)
RECORDS: list[Record] = [
    record
    for second in range(80)
    for symbol in ("A", "B", "C")
    for record in (
        quote(symbol, second + 0.1, 9, 10),
        trade(symbol, second + 0.3, 10 + second % 5),
        trade(symbol, second + 0.2, 11),
    )
] + [bar("A", 0, 10), bar("A", 1, 11)]


@pytest.fixture
async def kafka(tmp_path: Path) -> AsyncIterator[Kafka]:
    """A log of its own for each test."""
    opened = open_kafka(KafkaAddress(bootstrap=f"embedded:{tmp_path / 'kafka'}", client_id="test"))
    yield opened
    await opened.close()


async def _run_until(kafka: Kafka, environment: dict[str, str], done: Callable[[], Awaitable[None]]) -> None:
    """Run the service until `done` returns, or it fails."""
    stop = asyncio.Event()
    running = asyncio.create_task(run(environment, kafka=kafka, stop=stop))
    waiting = asyncio.create_task(done())
    finished, _ = await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    waiting.cancel()
    await running
    for task in finished:
        task.result()


@pytest.mark.parametrize("guarantee", ["EXACTLY_ONCE", "AT_LEAST_ONCE"])
async def test_ta_when_restarted_between_batches_then_rows_are_those_of_one_run(
    tmp_path: Path, kafka: Kafka, guarantee: str
) -> None:
    """A clean stop and a start go on from the checkpoint; the last row per key is that of the whole input."""
    expected = expected_rows(RECORDS, SETTINGS)
    await kafka.ensure_topics(topics.ALL)
    outputs = await Outputs(kafka).start()
    environment = in_process(tmp_path, TA_KAFKA_DELIVERY_GUARANTEE=guarantee)
    half = len(RECORDS) // 2
    for begin, end in ((0, half), (half, len(RECORDS))):
        await produce(kafka, RECORDS[begin:end])
        wanted = expected_rows(RECORDS[:end], SETTINGS).keys()
        await _run_until(
            kafka, environment, lambda wanted=wanted: outputs.until(lambda: outputs.rows.keys() >= wanted, 30)
        )
    await outputs.read()
    # The first half's last second was told on silence: quotes that came later could not be in it.
    found = [line for line in differences(expected, outputs.rows) if "imbalance" not in line]
    assert found == []
    await outputs.close()


async def test_ta_when_restarted_after_rows_of_silence_then_it_does_not_tell_them_again(
    tmp_path: Path, kafka: Kafka
) -> None:
    """Rows that silence brought are part of the next checkpoint, though no input came since the one before."""
    expected = expected_rows(RECORDS, SETTINGS)
    await produce(kafka, RECORDS)
    outputs = await Outputs(kafka).start()
    await _run_until(kafka, in_process(tmp_path), lambda: outputs.until(lambda: len(outputs.rows) >= len(expected), 60))
    await outputs.read()
    before = outputs.count
    await _run_until(kafka, in_process(tmp_path), lambda: outputs.settle(2))
    assert outputs.count == before
    await outputs.close()


@pytest.mark.parametrize("checkpointed", [5, 3])
async def test_ta_when_rows_of_a_silence_were_committed_after_the_checkpoint_then_only_what_comes_next_is_told(
    tmp_path: Path, kafka: Kafka, checkpointed: int
) -> None:
    """A kill between those rows and the next checkpoint, which may stand where the offsets do.

    What is there to be read beyond them at the start is new, and told, though the same poll brings both.
    """
    before = [trade("A", second, 10) for second in range(5)]
    await produce(kafka, before)
    number = partition_of(b"A", topics.TRADES.partitions)
    run_before = Run(SETTINGS)
    run_before.feed(before[:checkpointed])
    ends = {"trades": (topics.TRADES.name, 5), "quotes": (topics.QUOTES.name, 0), "bars": (topics.BARS_1M.name, 0)}
    offsets = {"trades": checkpointed, "quotes": 0, "bars": 0}
    data = pack(Checkpoint(group="ta", partition=number, offsets=offsets, ingest_ms=0, engine=run_before.engine))
    CheckpointStore(f"file:{tmp_path / 'checkpoints'}").write(f"ta/{number}-named", data)
    consumer = kafka.consumer([name for name, _ in ends.values()], group="ta", reset="earliest")
    await consumer.start()
    said = f"{number}-named bars quotes trades"
    await consumer.commit({TopicPartition(name, number): Committed(end, said) for name, end in ends.values()})
    await consumer.close()
    await produce(kafka, [trade("A", 20, 11), trade("A", 21, 12)])
    outputs = await Outputs(kafka).start()
    await _run_until(kafka, in_process(tmp_path), lambda: outputs.until(lambda: len(outputs.rows) >= 4, 60))
    await outputs.read()
    assert sorted({seq - START for *_, seq in outputs.rows}) == [21, 22]
    await outputs.close()


async def test_ta_when_it_starts_then_status_is_told_with_the_contract_fields(tmp_path: Path, kafka: Kafka) -> None:
    """A heartbeat comes before any data, and counts once there is some."""
    await kafka.ensure_topics(topics.ALL)
    heard: list[dict[str, Any]] = []

    async def listen() -> None:
        consumer = kafka.consumer([topics.TA_STATUS.name], group="listener", reset="earliest")
        await consumer.start()
        while not heard or heard[-1]["payload"]["output_events"] == 0:
            for batch in await consumer.poll(max_records=100, wait_seconds=0.05):
                heard.extend(json.loads(value) for value in batch.values)
            if heard and heard[0]["payload"]["input_events"] == 0 and not produced:
                produced.append(True)
                await produce(kafka, RECORDS)
        await consumer.close()

    produced: list[bool] = []
    await asyncio.wait_for(_run_until(kafka, in_process(tmp_path), listen), 90)
    first, last = heard[0], heard[-1]
    assert (first["channel"], first["source"], first["payload"]["last_event_ts"]) == ("status", "ta", None)
    assert {
        "watermark_lag_ms",
        "last_event_ts",
        "status",
        "heartbeat",
        "input_events",
        "output_events",
        "late_trades",
    } <= set(last["payload"])
    assert (last["payload"]["status"], last["payload"]["heartbeat"]) == ("ok", True)
    assert parse_ns(last["payload"]["last_event_ts"]) >= START * 10**9
    assert last["payload"]["watermark_lag_ms"] > 0


async def test_replay_when_its_group_has_offsets_but_no_checkpoint_then_refused(tmp_path: Path, kafka: Kafka) -> None:
    """A replay begins with a group that was never used; the restart of the same replay goes on."""
    await produce(kafka, RECORDS)
    environment = in_process(tmp_path, TA_GROUP_ID="torghut-ta-replay-1")
    outputs = await Outputs(kafka).start()
    for _ in range(2):
        await _run_until(kafka, environment, lambda: outputs.until(lambda: len(outputs.rows) > 200, 60))
    assert [key for key in outputs.rows if key[0] == "signal"] == []  # no session reset was passed
    assert min(key[3] for key in outputs.rows if key[1] == "PT1S") == START + 2
    await outputs.close()
    consumer = kafka.consumer([topics.TRADES.name], group="torghut-ta-replay-2", reset="earliest")
    await consumer.start()
    await consumer.commit({TopicPartition(topics.TRADES.name, 0): Committed(3)})
    await consumer.close()
    with pytest.raises(ConfigurationError, match="no checkpoint of this replay"):
        await run(in_process(tmp_path, TA_GROUP_ID="torghut-ta-replay-2"), kafka=kafka, stop=asyncio.Event())


async def test_ta_when_the_named_checkpoint_is_gone_then_refused_by_name(tmp_path: Path, kafka: Kafka) -> None:
    """Offsets without their state are never gone on from."""
    await produce(kafka, RECORDS)
    outputs = await Outputs(kafka).start()
    await _run_until(kafka, in_process(tmp_path), lambda: outputs.until(lambda: len(outputs.rows) > 200, 60))
    await outputs.close()
    for path in (tmp_path / "checkpoints" / "ta").iterdir():
        path.unlink()
    with pytest.raises(ConfigurationError, match="is named by the group's offsets, but is not in TA_CHECKPOINT_DIR"):
        await run(in_process(tmp_path), kafka=kafka, stop=asyncio.Event())


async def test_ta_when_no_commit_names_a_checkpoint_then_it_is_removed(tmp_path: Path, kafka: Kafka) -> None:
    """What a crash left between writing and naming is cleared away; one checkpoint a partition number stays."""
    await produce(kafka, RECORDS)
    folder = tmp_path / "checkpoints" / "ta"
    folder.mkdir(parents=True)
    (folder / "0-orphan").write_bytes(b"")
    outputs = await Outputs(kafka).start()
    await _run_until(kafka, in_process(tmp_path), lambda: outputs.until(lambda: len(outputs.rows) > 200, 60))
    await outputs.close()
    assert sorted(path.name.partition("-")[0] for path in folder.iterdir()) == ["0", "1", "2"]
    assert not (folder / "0-orphan").exists()


async def _status(kafka: Kafka, is_told: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the first status that `is_told`."""
    consumer = kafka.consumer([topics.TA_STATUS.name], group=f"listener-{uuid.uuid4().hex}", reset="latest")
    await consumer.start()
    try:
        while True:
            for batch in await consumer.poll(max_records=100, wait_seconds=0.05):
                for value in batch.values:
                    payload: dict[str, Any] = json.loads(value)["payload"]
                    if is_told(payload):
                        return payload
    finally:
        await consumer.close()


async def test_ta_when_checkpoints_cannot_be_written_then_status_says_so_until_they_can(
    tmp_path: Path, kafka: Kafka
) -> None:
    """A full or read-only store is no secret of the log's: it is degraded, and goes on by itself."""
    folder, store, file = tmp_path / "checkpoints" / "ta", tmp_path / "store", tmp_path / "file"
    store.mkdir()
    file.touch()
    folder.parent.mkdir()

    def now_is(target: Path) -> None:
        link = tmp_path / "link"
        link.symlink_to(target)
        link.replace(folder)

    async def faults() -> None:
        await _status(kafka, lambda said: said["status"] == "ok")
        now_is(file)
        await produce(kafka, RECORDS)
        told = await _status(kafka, lambda said: said["status_reason"] == "checkpoint_store")
        assert told["status"] == "degraded"
        now_is(store)
        await _status(kafka, lambda said: said["status"] == "ok" and said["output_events"] > 0)

    now_is(store)
    await kafka.ensure_topics(topics.ALL)
    await asyncio.wait_for(_run_until(kafka, in_process(tmp_path), faults), 60)
    assert {path.name.partition("-")[0] for path in folder.iterdir()} == {"0", "1", "2"}


async def test_ta_when_its_inputs_have_unequal_partitions_then_refused(tmp_path: Path, kafka: Kafka) -> None:
    """A symbol's quotes would have another number than its trades: never joined, and nobody would know."""
    await kafka.ensure_topics([dataclasses.replace(topics.QUOTES, partitions=4)])
    with pytest.raises(ConfigurationError) as caught:
        await run(in_process(tmp_path), kafka=kafka, stop=asyncio.Event())
    assert str(caught.value) == (
        "TA_TRADES_TOPIC='torghut.trades.v1' has 3, TA_QUOTES_TOPIC='torghut.quotes.v1' has 4,"
        " TA_BARS1M_TOPIC='torghut.bars.1m.v1' has 3: the inputs must have equally many partitions"
    )


def test_readiness_when_the_buffer_is_full_then_it_tells_why_clickhouse_does_not_take_rows(tmp_path: Path) -> None:
    """`clickhouse_backlog` is what comes of it, and is told only where nothing better is known."""
    environment = in_process(tmp_path, TA_CLICKHOUSE_URL="http://127.0.0.1:1", TA_CLICKHOUSE_BUFFER_ROWS="1000")
    service = TaService(load(TaSettings, environment))
    sink = service._sink
    assert sink is not None
    assert service.readiness()[1]["reason"] == "starting"
    service.reason = None
    assert service.readiness()[1]["reason"] == "clickhouse_schema_pending"
    sink._schema_trouble = None
    writer = sink.writers[MICROBARS]
    writer.accepted = 1000
    assert service.readiness()[1]["reason"] == "clickhouse_backlog"
    writer.trouble = "clickhouse_disk_full"
    assert service.readiness()[1]["reason"] == "clickhouse_disk_full"
