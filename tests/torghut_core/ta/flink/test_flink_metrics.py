"""The workers' metrics: under the names of `run ta`, summed over the living ones, or served by a worker itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from prometheus_client import CollectorRegistry

from tests.fakes.flink_blocks import block_of
from tests.fakes.ports import free_ports
from tests.fakes.ta_inputs import market
from torghut_core.clock import SystemClock
from torghut_core.settings import load
from torghut_core.ta.engine.engine import SOURCES
from torghut_core.ta.flink.metrics import FOLDER_VARIABLE, WorkerMetrics, WorkersCollector
from torghut_core.ta.flink.partition import Partition
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
    """As in a task manager's pod: the port is TA_METRICS_PORT, and its being taken ends no job."""
    (port,) = free_ports(1)
    first, second = WorkerMetrics(settings(port), {}), WorkerMetrics(settings(port), {})
    for metrics in (first, second):
        metrics.observe([partition(2)], None, time.monotonic())
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert "torghut_ta_input_events 10.0" in answer.read().decode().splitlines()
