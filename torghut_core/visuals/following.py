"""Follows the TA store: one look a second, its news told to every listener."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from torghut_core.logs import event
from torghut_core.visuals.newest import NewestRows
from torghut_core.visuals.stream import EventLog

_logger = logging.getLogger("torghut.visuals")
_SECONDS = 1.0
_NAMES = {"bars": "bar", "signals": "signal"}


async def follow(newest: NewestRows, log: EventLog, stop: asyncio.Event, *, seconds: float = _SECONDS) -> None:
    """Look every `seconds` until `stop` is set, and append what changed to `log`."""
    trouble: str | None = None
    while not stop.is_set():
        for change in await asyncio.to_thread(newest.refresh):
            log.append(_NAMES[change.kind], change.row, symbol=change.row["symbol"], window=change.row["window_size"])
        if newest.trouble != trouble:
            trouble = newest.trouble
            event(_logger, "store_state", logging.WARNING if trouble else logging.INFO, trouble=trouble or "none")
        try:
            await asyncio.wait_for(stop.wait(), seconds)
        except TimeoutError:
            continue


class VisualsMetrics(Collector):
    """Gauges `torghut_visuals_*`: who listens, and whether the rows are current."""

    def __init__(self, *, log: EventLog, newest: NewestRows | None) -> None:
        self._log = log
        self._newest = newest

    def collect(self) -> Iterable[GaugeMetricFamily]:
        yield GaugeMetricFamily("torghut_visuals_listeners", "Open event streams.", value=self._log.listeners)
        is_current = self._newest is not None and self._newest.trouble is None
        yield GaugeMetricFamily("torghut_visuals_store_up", "1 while ClickHouse's rows are current.", value=is_current)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return self.collect()
