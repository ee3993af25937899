"""Several `run ta` processes in one group, against Apache Kafka: members come and go, and the rows are those of one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import apache_kafka
from tests.fakes.apache_kafka import Broker
from tests.fakes.ta_inputs import market
from tests.fakes.ta_process import Outputs, TaProcess, differences, expected_rows, produce
from torghut_core import topics
from torghut_core.engines.kafka import KafkaAddress
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.ta.engine.engine import EngineSettings

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.xdist_group("apache-kafka"),
    pytest.mark.timeout(300),
]
SETTINGS = EngineSettings(max_out_of_order_ms=1000)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """One broker for one test."""
    with apache_kafka.running(tmp_path / "kafka") as running:
        yield running


def opened(process: TaProcess, since: int = 0) -> list[dict[str, Any]]:
    """Return what a process has said of partitions that it opened, since its log was `since` bytes long."""
    lines = [line for line in process.log.read_bytes()[since:].splitlines() if line[:1] == b"{" and line[-1:] == b"}"]
    return [said for said in map(json.loads, lines) if said.get("event") == "partition_opened"]


def held(process: TaProcess, since: int = 0) -> set[int]:
    """Return the partition numbers that a process has opened since then."""
    return {said["partition"] for said in opened(process, since)}


def logged(process: TaProcess) -> int:
    """Return how long a process's log is."""
    return process.log.stat().st_size if process.log.exists() else 0


def but_quotes(lines: list[str]) -> list[str]:
    """Leave quote columns out: each part's trades come before its quotes, and a live feed does not wait for a silent one."""
    return [line for line in lines if "imbalance" not in line]


async def test_ta_when_a_second_process_joins_and_leaves_while_records_flow_then_the_rows_are_those_of_one(
    tmp_path: Path, broker: Broker
) -> None:
    """1, 2 and 1 processes again: numbers move with their state; no row is lost, changed or written twice."""
    # Gaps between the parts: what a silence closes early is then not changed by what comes after it.
    parts = [market(60, seed=number, start=70 * number) for number in range(5)]
    expected = [expected_rows([record for part in parts[: n + 1] for record in part], SETTINGS) for n in range(5)]
    kafka = open_kafka(KafkaAddress(bootstrap=broker.bootstrap, client_id="checker"))
    await kafka.ensure_topics(topics.ALL)
    outputs = await Outputs(kafka).start()
    # No checkpoint comes by itself: whoever opens a number finds the one that was written when it was handed over.
    first, second = (TaProcess(tmp_path, broker.bootstrap, name, TA_CHECKPOINT_INTERVAL_MS="60000") for name in "ab")

    async def come(number: int) -> None:
        await outputs.until(lambda: len(outputs.rows) >= len(expected[number]), 90, [first, second])

    try:
        first.start()
        await produce(kafka, parts[0])
        await come(0)
        assert held(first) == {0, 1, 2}
        before = logged(first)
        second.start()
        await produce(kafka, parts[1])
        # The one that was there gives all up and gets a part again: the group says whose each number is now.
        await outputs.until(lambda: bool(held(second)) and bool(held(first, before)), 60, [first, second])
        await produce(kafka, parts[2])
        await come(2)
        assert held(first, before) | held(second) == {0, 1, 2}
        before = logged(first)
        await produce(kafka, parts[3])
        assert second.end() == 0
        await produce(kafka, parts[4])
        await come(4)
        await outputs.until(lambda: held(first, before) == {0, 1, 2}, 60, [first])
        await outputs.settle(2)
        assert first.end() == 0
        await outputs.settle()
        assert but_quotes(differences(expected[4], outputs.rows)) == []
        assert outputs.count == len(expected[4])  # not one of them twice
        behind = [said for process in (first, second) for said in opened(process) if said["catching_up"]]
        assert behind == []  # nothing was read again
        stored = second.rows_in_clickhouse() | first.rows_in_clickhouse()
        assert but_quotes(differences(expected[4], stored)) == []
    finally:
        first.kill()
        second.kill()
        await outputs.close()
