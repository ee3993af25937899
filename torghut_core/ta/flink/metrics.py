"""The TA's own metrics under Flink: told by the Python workers, under the names that `run ta` tells them by.

On a cluster a worker serves them itself: a task manager has one slot, so its pod has one worker. On one machine the
workers leave their figures in a folder, by prometheus_client's way for several processes, and `run ta` serves the sum.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from torghut_core.logs import event
from torghut_core.ta.flink.partition import Partition, RowWriter
from torghut_core.ta.outputs.rows import MICROBARS, SIGNALS
from torghut_core.ta.settings import TaSettings
from torghut_core.ta.status import Metrics

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""By this name prometheus_client looks for the folder when it is imported."""
_EVERY_SECONDS = 1.0
_logger = logging.getLogger("torghut.ta.flink")
_FILE = re.compile(r"gauge_live[a-z]+_([0-9]+)\.db")


@dataclass(frozen=True)
class _Written:
    table: str
    waiting_rows: int
    written: int
    retries: int


class WorkerMetrics:
    """What one worker tells of the partition numbers that it has."""

    def __init__(self, settings: TaSettings, environment: Mapping[str, str] = os.environ) -> None:
        registry = CollectorRegistry()
        is_shared = FOLDER_VARIABLE in environment
        self._metrics = Metrics(registry, has_checkpoints=False, is_shared=is_shared)
        self._observed_at = -math.inf
        self._server: WSGIServer | None = None
        if not is_shared:
            try:
                self._server, _ = start_http_server(settings.metrics_port, settings.http_host, registry)
            except OSError as error:  # more than one slot: the first worker has the port
                event(_logger, "metrics_port_taken", logging.WARNING, port=settings.metrics_port, error=str(error))

    def close(self) -> None:
        """Give the port back: the job may begin anew in this process."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

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


class WorkersCollector(Collector):
    """The sum of what all living workers left in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Forget workers that have ended, and return the metrics of the others."""
        for path in self._folder.iterdir():
            found = _FILE.fullmatch(path.name)
            if found and not Path("/proc", found[1]).exists():
                mark_process_dead(int(found[1]), str(self._folder))  # type: ignore[no-untyped-call]
        collected: Iterable[Metric] = MultiProcessCollector(None, str(self._folder)).collect()  # type: ignore[no-untyped-call]
        return collected
