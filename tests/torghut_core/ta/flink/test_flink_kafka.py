"""`run ta --engine flink` through Apache Kafka: the rows are the one process's, whatever is killed, saved and rescaled."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.fakes import apache_kafka
from tests.fakes.apache_kafka import Broker
from tests.fakes.ports import free_ports
from tests.fakes.ta_inputs import Record, market
from tests.fakes.ta_process import Outputs, Rows, TaProcess, differences, expected_rows, produce
from tests.torghut_core.ta.flink.conftest import FLINK
from torghut_core import topics
from torghut_core.engines.kafka import KafkaAddress
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.ta.engine.engine import EngineSettings

ROOT = Path(__file__).resolve().parents[4]
pytestmark = [
    pytest.mark.kafka,
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.xdist_group("apache-kafka"),
    pytest.mark.timeout(400),
    pytest.mark.usefixtures("flink"),
]


def on_flink(folder: Path, broker: Broker, parallelism: int, name: str = "a", **environment: str) -> TaProcess:
    """Return a TA on Flink; its ClickHouse is none."""
    changed = {
        "TA_FLINK_DIR": str(FLINK),
        "TA_PARALLELISM": str(parallelism),
        "TA_CLICKHOUSE_URL": "",
        "TA_CHECKPOINT_INTERVAL_MS": "1000",
        **environment,
    }
    options = ("--engine", "flink")
    return TaProcess(folder, broker.bootstrap, name, options=options, **changed)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """One broker for one test."""
    with apache_kafka.running(tmp_path / "kafka") as running:
        yield running


_DRIVER_WHOSE_TASK_MANAGER_ENDS = """
import json, sys
from torghut_core.errors import TorghutError
from torghut_core.ta.flink import __main__ as driver, graph
looks, look = [], graph.has_task_manager
def ending(client):
    looks.append(look(client))
    if len(looks) == 4:
        graph.cluster_of(client).terminateTaskManager(0).get()
    return looks[-1]
graph.has_task_manager = ending
try:
    driver.main(sys.argv[1:])
except TorghutError as error:
    print(json.dumps([str(error), error.hint, int(error.exit_code), looks]))
"""


def metrics_of(port: int) -> list[str]:
    """Return the lines of `/metrics`."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines: list[str] = answer.read().decode().splitlines()
    return lines


async def come(outputs: Outputs, expected: Rows, processes: Sequence[TaProcess], seconds: float = 120) -> None:
    """Wait until every expected row is there, as it is to be."""
    await outputs.until(lambda: expected.keys() <= outputs.rows.keys(), seconds, processes)


async def test_flink_when_killed_saved_and_rescaled_then_the_rows_are_those_of_one_process(
    tmp_path: Path, broker: Broker
) -> None:
    """Parallelism 2, kill -9 in the middle, restored; a savepoint, and 1 subtask from it: no row differs, none is twice."""
    parts: list[list[Record]] = [market(60, seed=number, start=70 * number) for number in range(3)]
    settings = EngineSettings(max_out_of_order_ms=1000)
    expected = [expected_rows([record for part in parts[: n + 1] for record in part], settings) for n in range(3)]
    kafka = open_kafka(KafkaAddress(bootstrap=broker.bootstrap, client_id="checker"))
    await produce(kafka, parts[0])
    outputs = await Outputs(kafka).start()
    (port,) = free_ports(1)
    first = on_flink(tmp_path, broker, 2, TA_METRICS_PORT=str(port))
    second = on_flink(tmp_path, broker, 1, "b")
    try:
        first.start()
        await come(outputs, expected[0], [first])
        assert differences(expected[0], outputs.rows) == []
        await outputs.until(lambda: f"torghut_ta_input_events {len(parts[0])}.0" in metrics_of(port), 10, [first])
        await produce(kafka, parts[1])
        first.kill()
        first.start()
        await come(outputs, expected[1], [first])
        assert first.end() == 0
        await produce(kafka, parts[2])
        second.start()
        await come(outputs, expected[2], [second])
        await outputs.settle(2)
        assert second.end() == 0
        await outputs.settle(2)
        # A live part's trades come before its quotes, and a silent source is not waited for.
        assert [line for line in differences(expected[2], outputs.rows) if "imbalance" not in line] == []
        assert outputs.count == len(expected[2])  # read committed: not one of them twice
        told = await kafka.last_record(topics.TA_STATUS.name, 0)
        assert told is not None
        assert told.keys[0] in (b"ta-0", b"ta-1", b"ta-2")
        assert json.loads(told.values[0])["payload"]["status"] == "ok"
    finally:
        first.kill()
        second.kill()
        await outputs.close()


async def test_driver_when_the_task_manager_ends_then_it_ends_too_and_says_so(tmp_path: Path, broker: Broker) -> None:
    """Flink gives one up whose connector fails while it is closed; a job without any waits for ever."""
    kafka = open_kafka(KafkaAddress(bootstrap=broker.bootstrap, client_id="checker"))
    await produce(kafka, market(10))
    done = await asyncio.to_thread(
        subprocess.run,
        [FLINK / "bin" / "python", "-c", _DRIVER_WHOSE_TASK_MANAGER_ENDS, *sorted((FLINK / "lib-flink").glob("*.jar"))],
        env={
            **{name: os.environ[name] for name in ("PATH", "JAVA_HOME") if name in os.environ},
            "PYTHONPATH": str(ROOT),
            "TA_KAFKA_BOOTSTRAP": broker.bootstrap,
            "TA_KAFKA_SECURITY": "PLAINTEXT",
            "TA_GROUP_ID": "ending",
            "TA_AUTO_OFFSET_RESET": "earliest",
            "TA_CHECKPOINT_DIR": f"file:{tmp_path / 'checkpoints'}",
        },
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    message, hint, code, looks = json.loads(done.stdout.splitlines()[-1])
    assert (message, code) == ("Flink: its task manager has ended, and within one JVM none comes in its place", 9)
    assert "newest checkpoint" in hint
    assert (looks[3], looks[-1]) == (True, False)
