"""The subtasks' metrics: under the names of `run ta`, summed over a process, in a file or served by itself."""

from __future__ import annotations

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
from torghut_core.ta.flink.metrics import FILE_VARIABLE, FileCollector, ProcessMetrics, SubtaskMetrics
from torghut_core.ta.flink.partition import Partition, RowWriter
from torghut_core.ta.outputs.clickhouse_sink import SchemaOptions
from torghut_core.ta.outputs.rows import MICROBARS, SIGNALS
from torghut_core.ta.settings import TaSettings


def settings(port: int) -> TaSettings:
    """Return settings with a metrics port."""
    return load(TaSettings, {"TA_GROUP_ID": "ta", "TA_METRICS_PORT": str(port), "TORGHUT_HTTP_HOST": "127.0.0.1"})


def partition(number: int) -> Partition:
    """Return a partition number that has read ten trades."""
    found = Partition(number, settings(0), dict.fromkeys(SOURCES, 0), SystemClock(), None)
    trades = [record.value for record in market(30) if record.source == "trades"][:10]
    found.take(block_of(SOURCES.index("trades"), number, 0, trades))
    return found


def test_metrics_when_subtasks_write_to_a_file_then_it_has_their_sum_and_those_that_ended_are_gone(
    tmp_path: Path,
) -> None:
    """As on one machine: two subtasks of ten trades each are twenty; one that ended takes its ten along."""
    file, process, registry = tmp_path / "metrics", ProcessMetrics(), CollectorRegistry()
    registry.register(FileCollector(file))
    assert list(registry.collect()) == []
    subtasks = [SubtaskMetrics(settings(0), {FILE_VARIABLE: str(file)}, process) for _ in (0, 1)]
    for number, subtask in enumerate(subtasks):
        subtask.observe([partition(number)], None, 0.0)
    both = registry.get_sample_value("torghut_ta_input_events")
    watermarks = [_watermark(registry, number) for number in (0, 1)]
    subtasks[0].close()
    subtasks[1].observe([partition(1)], None, 1.0)
    assert (both, registry.get_sample_value("torghut_ta_input_events")) == (20, 10)
    assert None not in watermarks
    assert [_watermark(registry, number) for number in (0, 1)] == [None, watermarks[1]]


def _watermark(registry: CollectorRegistry, number: int) -> float | None:
    return registry.get_sample_value("torghut_ta_watermark_seconds", {"partition": str(number)})


def test_metrics_when_there_is_no_file_then_a_process_serves_them_and_a_second_goes_on_without() -> None:
    """As in a task manager's pod: the port is TA_METRICS_PORT, and its being taken ends no job; the next one has it."""
    (port,) = free_ports(1)
    processes = [ProcessMetrics() for _ in range(3)]
    first, beside, second = (SubtaskMetrics(settings(port), {}, processes[at]) for at in (0, 0, 1))
    first.observe([partition(2)], _writer(), 0.0)
    beside.observe([partition(0)], None, 0.0)
    second.observe([], None, 0.0)
    lines = _served(port)
    assert "torghut_ta_input_events 20.0" in lines
    assert {line for line in lines if line.startswith("torghut_ta_clickhouse_")} == {
        f'torghut_ta_clickhouse_{name}{{table="{table}"}} 0.0'
        for name in ("waiting_rows", "written_rows", "retries")
        for table in (MICROBARS, SIGNALS)
    }
    assert not [line for line in lines if "checkpoint" in line]  # they are Flink's to tell
    beside.close()
    assert "torghut_ta_input_events 10.0" in _served(port)
    first.close()
    second.close()
    third = SubtaskMetrics(settings(port), {}, processes[2])
    third.observe([partition(1), partition(2)], None, 0.0)
    assert "torghut_ta_input_events 20.0" in _served(port)
    third.close()


def test_metrics_when_asked_again_within_a_second_then_they_are_those_of_before() -> None:
    """A number is looked at every half second; adding up over all of them is work."""
    (port,) = free_ports(1)
    metrics = SubtaskMetrics(settings(port), {}, ProcessMetrics())
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
