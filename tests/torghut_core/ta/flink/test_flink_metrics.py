"""The workers' metrics: under the names of `run ta`, summed over the living ones, or served by a worker itself."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

from prometheus_client import CollectorRegistry

from tests.fakes.flink_blocks import block_of
from tests.fakes.ports import free_ports
from tests.fakes.ta_inputs import market
from torghut_core.backoff import Backoff
from torghut_core.clock import SystemClock
from torghut_core.engines.clickhouse import ClickHouse, ClickHouseError, Trouble
from torghut_core.settings import load
from torghut_core.ta.engine.engine import SOURCES
from torghut_core.ta.flink.metrics import FOLDER_VARIABLE, WorkerMetrics, WorkersCollector
from torghut_core.ta.flink.partition import Partition, RowWriter
from torghut_core.ta.outputs.clickhouse_sink import SchemaOptions
from torghut_core.ta.outputs.rows import MICROBARS, SIGNALS
from torghut_core.ta.settings import TaSettings

_WORKER = """
import sys
from tests.torghut_core.ta.flink.test_flink_metrics import settings, partition
from torghut_core.ta.flink.metrics import WorkerMetrics
WorkerMetrics(settings(0)).observe([partition(int(sys.argv[1]))], None, 0.0)
print("told", flush=True)
sys.stdin.read()
"""


def settings(port: int) -> TaSettings:
    """Return settings with a metrics port."""
    return load(TaSettings, {"TA_GROUP_ID": "ta", "TA_METRICS_PORT": str(port), "TORGHUT_HTTP_HOST": "127.0.0.1"})


def partition(number: int) -> Partition:
    """Return a partition number that has read ten trades."""
    found = Partition(number, settings(0), dict.fromkeys(SOURCES, 0), SystemClock(), None)
    trades = [record.value for record in market(30) if record.source == "trades"][:10]
    found.take(block_of(SOURCES.index("trades"), number, 0, trades))
    return found


def _worker(folder: Path, number: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _WORKER, str(number)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, FOLDER_VARIABLE: str(folder)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "told\n"
    return process


def test_metrics_when_workers_share_a_folder_then_their_sum_and_the_dead_are_forgotten(tmp_path: Path) -> None:
    """Two workers of ten trades each are twenty; one that was killed takes its ten along."""
    registry = CollectorRegistry()
    registry.register(WorkersCollector(tmp_path))
    workers = [_worker(tmp_path, number) for number in (0, 1)]
    try:
        both = registry.get_sample_value("torghut_ta_input_events")
        watermarks = [
            registry.get_sample_value("torghut_ta_watermark_seconds", {"partition": str(number)}) for number in (0, 1)
        ]
        workers[0].kill()
        workers[0].communicate(timeout=10)
        assert (both, registry.get_sample_value("torghut_ta_input_events")) == (20, 10)
        assert None not in watermarks
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate(timeout=10)


def test_metrics_when_there_is_no_folder_then_a_worker_serves_them_and_a_second_goes_on_without() -> None:
    """As in a task manager's pod: the port is TA_METRICS_PORT, and its being taken ends no job; the next one has it."""
    (port,) = free_ports(1)
    first, second = WorkerMetrics(settings(port), {}), WorkerMetrics(settings(port), {})
    first.observe([partition(2)], _writer(), 0.0)
    second.observe([], None, 0.0)
    lines = _served(port)
    assert "torghut_ta_input_events 10.0" in lines
    assert {line for line in lines if line.startswith("torghut_ta_clickhouse_")} == {
        f'torghut_ta_clickhouse_{name}{{table="{table}"}} 0.0'
        for name in ("waiting_rows", "written_rows", "retries")
        for table in (MICROBARS, SIGNALS)
    }
    assert not [line for line in lines if "checkpoint" in line]  # they are Flink's to tell
    first.close()
    second.close()
    third = WorkerMetrics(settings(port), {})
    third.observe([partition(1), partition(2)], None, 0.0)
    assert "torghut_ta_input_events 20.0" in _served(port)
    third.close()


def test_metrics_when_asked_again_within_a_second_then_they_are_those_of_before() -> None:
    """A number is looked at every half second; adding up over all of them is work."""
    (port,) = free_ports(1)
    metrics = WorkerMetrics(settings(port), {})
    for now, count in ((5.0, 10), (5.9, 10), (6.0, 20)):
        metrics.observe([partition(1)] if now == 5.0 else [partition(1), partition(2)], None, now)
        assert f"torghut_ta_input_events {count}.0" in _served(port)
    metrics.close()


def _served(port: int) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines: list[str] = answer.read().decode().splitlines()
    return lines


def _writer() -> RowWriter:
    def away() -> ClickHouse:
        raise ClickHouseError(Trouble.REFUSED, "opening")

    backoff = Backoff(base=1.0, cap=1.0)
    return RowWriter(
        away, SchemaOptions(cluster=None, is_simulated=True), most_rows=1, flush_seconds=1.0, backoff=backoff
    )
