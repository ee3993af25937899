"""The TA's own metrics under Flink, by the names that `run ta` tells them by.

Every subtask has figures of its own; a process tells their sum. On a cluster a task manager serves it itself. On one
machine it is written to a file, and `run ta`, whose port it is, serves what stands there.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Metric, generate_latest, start_http_server
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from torghut_core.logs import event
from torghut_core.ta.flink.partition import Partition, RowWriter
from torghut_core.ta.outputs.rows import MICROBARS, SIGNALS
from torghut_core.ta.settings import TaSettings
from torghut_core.ta.status import Metrics

FILE_VARIABLE = "TORGHUT_FLINK_METRICS_FILE"
"""Where `run ta` reads what its job tells."""
_EVERY_SECONDS = 1.0
_logger = logging.getLogger("torghut.ta.flink")


@dataclass(frozen=True)
class _Written:
    table: str
    waiting_rows: int
    written: int
    retries: int


class ProcessMetrics(Collector):
    """The sum of what the subtasks of one process tell. Safe to call from their threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subtasks: list[CollectorRegistry] = []
        self._server: WSGIServer | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Return the sums: a partition number, and with it a symbol, is in one subtask alone."""
        families: dict[str, Metric] = {}
        sums: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        for registry in tuple(self._subtasks):
            for family in registry.collect():
                families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                its = sums.setdefault(family.name, {})
                for sample in family.samples:
                    labels = tuple(sample.labels.items())
                    its[labels] = its.get(labels, 0.0) + sample.value
        for name, family in families.items():
            for labels, value in sums[name].items():
                family.add_sample(name, dict(labels), value)
        return families.values()

    def join(self, registry: CollectorRegistry, settings: TaSettings, file: Path | None) -> None:
        """Add a subtask. The first one's port serves them all; its being taken ends no job."""
        with self._lock:
            self._subtasks.append(registry)
            if file is not None or self._server is not None:
                return
            try:
                self._server, _ = start_http_server(settings.metrics_port, settings.http_host, self._registry)
            except OSError as error:
                event(_logger, "metrics_port_taken", logging.WARNING, port=settings.metrics_port, error=str(error))

    def leave(self, registry: CollectorRegistry) -> None:
        """Take a subtask away; the last one gives the port back: the job may begin anew in this process."""
        with self._lock:
            self._subtasks.remove(registry)
            if self._server is not None and not self._subtasks:
                self._server.shutdown()
                self._server.server_close()
                self._server = None

    def write(self, file: Path) -> None:
        """Put the sums into a file, whole at every moment."""
        with self._lock:
            scratch = file.with_suffix(".new")
            scratch.write_bytes(generate_latest(self._registry))
            scratch.replace(file)


PROCESS = ProcessMetrics()


class SubtaskMetrics:
    """What one subtask tells of the partition numbers that it has."""

    def __init__(
        self, settings: TaSettings, environment: Mapping[str, str] = os.environ, process: ProcessMetrics = PROCESS
    ) -> None:
        self._registry = CollectorRegistry()
        self._metrics = Metrics(self._registry, has_checkpoints=False)
        self._file = Path(environment[FILE_VARIABLE]) if FILE_VARIABLE in environment else None
        self._process = process
        self._observed_at = -math.inf
        process.join(self._registry, settings, self._file)

    def close(self) -> None:
        """Tell nothing any more."""
        self._process.leave(self._registry)

    def observe(self, partitions: Iterable[Partition], writer: RowWriter | None, now: float) -> None:
        """Take the figures of `now` (monotonic), at most once a second."""
        if now - self._observed_at < _EVERY_SECONDS:
            return
        self._observed_at = now
        partitions = list(partitions)
        written = {}
        if writer is not None:
            for table in (MICROBARS, SIGNALS):
                waiting = sum(len(rows) for each in partitions for rows in each.rows if rows.table == table)
                written[table] = _Written(table, waiting, writer.written[table], writer.retries[table])
        self._metrics.observe({each.job.number: each.job for each in partitions}, written)
        if self._file is not None:
            self._process.write(self._file)


class FileCollector(Collector):
    """What stands in the file that a job's process writes."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def collect(self) -> Iterable[Metric]:
        """Return the metrics; none before the job has told any."""
        try:
            text = self._file.read_text()
        except FileNotFoundError:
            return ()
        return tuple(text_string_to_metric_families(text))
