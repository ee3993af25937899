"""`make soak`: the Flink job through Apache Kafka, at 1 and 4 subtasks, both late policies, idle partitions, and killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import apache_kafka
from tests.fakes.apache_kafka import Broker
from tests.fakes.ports import free_ports
from tests.fakes.recordings import recorded_day, records_of
from tests.fakes.ta_inputs import market
from tests.fakes.ta_process import Outputs, Rows, TaProcess, Told, differences, expected_rows, produce
from tests.torghut_core.ta.flink.test_flink_kafka import come, metrics_of, on_flink
from torghut_core.engines.kafka import Kafka, KafkaAddress
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.ta.engine.engine import EngineSettings

pytestmark = [
    pytest.mark.soak,
    pytest.mark.kafka,
    pytest.mark.engine,
    pytest.mark.timeout(1200),
    pytest.mark.usefixtures("flink"),
]
PARTITIONS = 16
"""More than there are symbols: some numbers have none, and their partitions are idle."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """One broker for one test."""
    with apache_kafka.running(tmp_path / "kafka") as running:
        yield running


async def written(kafka: Kafka) -> int:
    """Return how many records are there, read once more: a checker that lost its place in its group reads some again."""
    again = await Outputs(kafka).start()
    await again.settle(4)
    await again.close()
    return again.count


async def repeats(kafka: Kafka) -> list[str]:
    """Return the signals that say again what the one before them of their key said, read once more."""
    again = Told(kafka)
    await again.start()
    await again.settle(4)
    await again.close()
    assert again.count > 0
    return again.repeats


_TRANSACTION_SECONDS = 10
_ABORTED_SECONDS = 2.5 * _TRANSACTION_SECONDS
"""In which the broker, which looks every ten seconds, has ended a transaction that timed out."""


def jvm_of(process: TaProcess) -> int:
    """Return the process that the job runs in."""
    found = [process.pid]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    (jvm,) = (pid for pid in found if Path(f"/proc/{pid}/comm").read_text() == "java\n")
    return jvm


def subtasks(process: TaProcess) -> int:
    """Return how many subtasks have engines: each has a Java thread by their name, as the kit that built the job's jar tells."""
    said = subprocess.run(["jstack", str(jvm_of(process))], capture_output=True, text=True, check=True, timeout=60)
    return sum(line.startswith('"engines ->') for line in said.stdout.splitlines())


async def freeze(process: TaProcess) -> None:
    """Stop the JVM for so long that the broker ends its transaction: when it goes on its job begins anew.

    Where the connector fails once more while it is closed, Flink gives the task manager up, and `run ta` ends.
    """
    before, jvm = restarts(process), jvm_of(process)
    os.kill(jvm, signal.SIGSTOP)
    await asyncio.sleep(_ABORTED_SECONDS)
    os.kill(jvm, signal.SIGCONT)
    deadline = time.monotonic() + 60
    while restarts(process) == before:
        assert time.monotonic() < deadline, "the job went on as if nothing had been"
        await asyncio.sleep(0.5)
    deadline = time.monotonic() + 20
    while process.code is None and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
    if process.code is not None:
        assert "its task manager has ended" in process.log.read_text()
        process.start()


def restarts(process: TaProcess) -> int:
    """Return how often the job has begun anew."""
    return process.log.read_text().count('"RESTARTING"')


@pytest.mark.parametrize("late", ["drop", "revise"])
@pytest.mark.parametrize("parallelism", [1, 4])
async def test_flink_when_frozen_until_its_transaction_is_ended_then_no_row_differs(
    tmp_path: Path, broker: Broker, parallelism: int, late: str
) -> None:
    """Trades 30 s late in it; the job begins anew by itself, in the same JVM, from its checkpoint."""
    records = market(2500, late=3)
    settings = EngineSettings(max_out_of_order_ms=1000, revises_late_trades=late == "revise")
    expected = expected_rows(records, settings, PARTITIONS)
    kafka = open_kafka(KafkaAddress(bootstrap=broker.bootstrap, client_id="checker"))
    half = len(records) // 2
    await produce(kafka, records[:half], PARTITIONS)
    outputs = await Outputs(kafka).start()
    (port,) = free_ports(1)
    changed = {
        "TA_METRICS_PORT": str(port),
        "TA_KAFKA_TRANSACTION_TIMEOUT_MS": str(_TRANSACTION_SECONDS * 1000),
        "TA_CHECKPOINT_INTERVAL_MS": str(_TRANSACTION_SECONDS * 500),
    }
    process = on_flink(tmp_path, broker, parallelism, TA_LATE_TRADES=late, **changed)
    try:
        process.start()
        await outputs.until(lambda: len(outputs.rows) > 0, 120, [process])
        # Between a checkpoint and its commit it would be another case: what times out then is gone.
        await outputs.settle(0.5)
        await produce(kafka, records[half:], PARTITIONS)  # what is frozen: the first half may be done by now
        frozen_at = outputs.count
        assert frozen_at < len(expected)
        await freeze(process)
        await come(outputs, expected, [process], 200)
        # What a subtask told that was before is not added to what is told now.
        await outputs.until(lambda: f"torghut_ta_input_events {len(records)}.0" in metrics_of(port), 20, [process])
        await outputs.settle(3)
        assert process.end() == 0
        await outputs.settle(2)
        # What is told in the silence between the halves has not waited for quotes, and is told again with them.
        assert [line for line in differences(expected, outputs.rows) if "imbalance" not in line] == []
        assert await repeats(kafka) == []
        print(f"{late}, {parallelism} subtasks: {len(records)} records, {len(expected)} keys, frozen after {frozen_at}")
    finally:
        process.kill()
        await outputs.close()


@pytest.mark.parametrize("parallelism", [1, 4])
async def test_flink_when_killed_over_a_recorded_day_then_no_row_differs(
    tmp_path: Path, broker: Broker, parallelism: int
) -> None:
    """Killed whole in the middle of the day and started again: read committed, no row differs and none is there twice."""
    recorded = recorded_day()
    if not recorded:
        pytest.skip("no recorded day: RECORDED_DAY=day.ndjson.gz make soak")
    records = records_of(Path(recorded))
    expected = expected_rows(records, EngineSettings(max_out_of_order_ms=1000), 4)
    kafka = open_kafka(KafkaAddress(bootstrap=broker.bootstrap, client_id="checker"))
    await produce(kafka, records, 4)
    outputs = await Outputs(kafka).start()
    process = on_flink(tmp_path, broker, parallelism)
    try:
        process.start()
        await outputs.until(lambda: len(outputs.rows) > 0, 120, [process])
        process.kill()
        killed_at = outputs.count
        process.start()
        await come(outputs, expected, [process], 200)
        await outputs.settle(3)
        assert process.end() == 0
        await outputs.settle(2)
        assert differences(expected, outputs.rows) == []
        assert await written(kafka) == len(expected)
        print(f"{parallelism} subtasks: {len(records)} records, {len(expected)} rows, killed after {killed_at}")
    finally:
        process.kill()
        await outputs.close()


async def test_flink_when_rescaled_from_one_to_four_and_back_then_no_row_differs(
    tmp_path: Path, broker: Broker
) -> None:
    """Each change is a savepoint and a restore from it: every row is the engine's own, and none is there twice."""
    numbers, parts = (1, 4, 1), [market(200, seed=number, start=210 * number) for number in range(3)]
    settings = EngineSettings(max_out_of_order_ms=1000)
    kafka = open_kafka(KafkaAddress(bootstrap=broker.bootstrap, client_id="checker"))
    await produce(kafka, parts[0], PARTITIONS)
    outputs = await Outputs(kafka).start()
    expected: Rows = {}
    try:
        for at, parallelism in enumerate(numbers):
            process = on_flink(tmp_path, broker, parallelism, f"{at}")
            if at > 0:
                await produce(kafka, parts[at], PARTITIONS)
            expected = expected_rows([record for part in parts[: at + 1] for record in part], settings, PARTITIONS)
            try:
                process.start()
                await come(outputs, expected, [process], 200)
                assert subtasks(process) == parallelism
                assert process.end() == 0
            finally:
                process.kill()
        await outputs.settle(2)
        # A live part's trades come before its quotes, and a silent source is not waited for.
        assert [line for line in differences(expected, outputs.rows) if "imbalance" not in line] == []
        assert await written(kafka) == len(expected)
        print(f"{numbers} subtasks: {len(expected)} rows")
    finally:
        await outputs.close()
