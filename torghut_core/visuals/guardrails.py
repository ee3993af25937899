"""The ClickHouse guardrail exporter: gauges `torghut_clickhouse_guardrails_*`, refreshed by a scrape loop.

Who reads `/metrics` costs ClickHouse nothing. A probe that fails leaves its own gauges absent, says so in `probe_success`,
and sets `last_scrape_success` to 0: a figure that is not known is not shown as one, nor as "there is no data".
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from torghut_core.clock import Clock
from torghut_core.engines.clickhouse import ClickHouseError, Queries, Trouble
from torghut_core.logs import event

_logger = logging.getLogger("torghut.guardrails")
_PREFIX = "torghut_clickhouse_guardrails_"
_MINUTE_MS = 60_000
_RECENT_MS = 40 * _MINUTE_MS
"""How old the newest minute bar may be, a feed that is a quarter of an hour late included."""
_RATIO_SECONDS = 15.0
"""The ratio changes by the minute, and costs more than the other probes together."""
_HELP = {
    "clickhouse_up": "1 when ClickHouse answered.",
    "disk_free_bytes": "Free bytes of the fullest disk.",
    "disk_total_bytes": "Size of it.",
    "disk_free_ratio": "Free share of it.",
    "any_replica_readonly": "1 when a replicated table is read-only.",
    "ta_signals_max_event_ts_seconds": "Event time of the newest signal.",
    "ta_microbars_max_window_end_seconds": "Window end of the newest micro-bar.",
    "minute_volume_ratio": "Own seconds' volume over the provider's minute bars', ten minutes, all symbols.",
    "last_scrape_success": "1 when the last scrape succeeded.",
    "last_scrape_ts_seconds": "When it was made.",
}


def _probe_success() -> GaugeMetricFamily:
    text = "1 when the last scrape's probe succeeded."
    return GaugeMetricFamily(f"{_PREFIX}probe_success", text, labels=["replica", "probe"])


class Gauges(Collector):
    """The figures of every replica, labelled `replica`."""

    def __init__(self, replicas: Sequence[Guardrails]) -> None:
        self._replicas = tuple(replicas)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        for name, text in _HELP.items():
            family = GaugeMetricFamily(_PREFIX + name, text, labels=["replica"])
            for each in self._replicas:
                if name in each.figures:
                    family.add_metric([each.replica], each.figures[name])
            if family.samples:
                yield family
        probes = _probe_success()
        for each in self._replicas:
            for name, value in each.probes.items():
                probes.add_metric([each.replica, name], value)
        yield probes

    def describe(self) -> Iterable[GaugeMetricFamily]:
        for name, text in _HELP.items():
            yield GaugeMetricFamily(_PREFIX + name, text, labels=["replica"])
        yield _probe_success()


@dataclass(eq=False)
class Guardrails:
    """Figures of one ClickHouse."""

    clickhouse: Queries
    clock: Clock
    replica: str
    data_path: str | None = None
    figures: dict[str, float] = field(default_factory=dict)
    probes: dict[str, float] = field(default_factory=dict)
    _ratio: float | None = None
    _ratio_at: float | None = None

    def scrape(self) -> None:
        """Read ClickHouse once. Blocks; called from a thread.

        A probe that fails costs its own gauges and is named; nothing of it is kept from before.
        """
        now = self.clock.now_ns() / 1e9
        figures: dict[str, float] = {}
        probes: dict[str, float] = {}
        away = False
        for name, probe in self._probes():
            if away:
                probes[name] = 0.0
                continue
            try:
                figures.update(probe())
                probes[name] = 1.0
            except ClickHouseError as error:
                event(_logger, "probe_failed", logging.WARNING, probe=name, reason=error.trouble.value)
                probes[name] = 0.0
                away = error.trouble is Trouble.REFUSED  # the others would each wait for the same silence
        succeeded = float(all(probes.values()))
        self.probes = probes
        self.figures = {
            **figures,
            "clickhouse_up": float(not away),
            "last_scrape_success": succeeded,
            "last_scrape_ts_seconds": now,
        }

    def _probes(self) -> tuple[tuple[str, Callable[[], dict[str, float]]], ...]:
        return (
            ("disk", self._disk),
            ("readonly", self._readonly),
            ("signals", lambda: self._newest("ta_signals_max_event_ts_seconds", "torghut.ta_signals")),
            ("microbars", lambda: self._newest("ta_microbars_max_window_end_seconds", "torghut.ta_microbars")),
            ("completeness", self._completeness),
        )

    def _readonly(self) -> dict[str, float]:
        replicas = self.clickhouse.query("SELECT max(is_readonly) AS readonly FROM system.replicas")
        return {"any_replica_readonly": float(replicas[0]["readonly"] or 0) if replicas else 0.0}

    def _completeness(self) -> dict[str, float]:
        now = self.clock.monotonic()
        if self._ratio_at is None or now - self._ratio_at >= _RATIO_SECONDS:
            self._ratio, self._ratio_at = self._minute_volume_ratio(), now
        return {} if self._ratio is None else {"minute_volume_ratio": self._ratio}

    def _disk(self) -> dict[str, float]:
        if self.data_path is not None:
            usage = shutil.disk_usage(self.data_path)
            free, total = float(usage.free), float(usage.total)
        else:
            rows = self.clickhouse.query("SELECT free_space, total_space FROM system.disks WHERE total_space > 0")
            if not rows:
                return {}
            fullest = min(rows, key=lambda row: row["free_space"] / row["total_space"])
            free, total = float(fullest["free_space"]), float(fullest["total_space"])
        return {"disk_free_bytes": free, "disk_total_bytes": total, "disk_free_ratio": free / total}

    def _newest(self, gauge: str, table: str) -> dict[str, float]:
        # The last partition alone: max() over everything has run production out of memory.
        try:
            rows: list[dict[str, Any]] = self.clickhouse.query(
                f"SELECT toUnixTimestamp64Milli(max(event_ts)) AS newest, count() AS rows FROM {table}"  # noqa: S608
                f" WHERE toDate(event_ts) = (SELECT max(toDate(event_ts)) FROM {table})"
            )
        except ClickHouseError as error:
            if error.trouble is Trouble.MISSING:  # no table yet is known to be no row; a failure is not
                return {}
            raise
        return {gauge: rows[0]["newest"] / 1000} if rows and rows[0]["rows"] else {}

    def _minute_volume_ratio(self) -> float | None:
        """Return own volume over the provider's, of the ten minutes before the newest minute bar's; None without any.

        The newest minute may still lack seconds that are on their way. A minute counts where it has a bar of both kinds, or
        of the provider's alone, while seconds of any symbol came in it and in the minutes beside it: what is from before a
        start, or from an outage, is known otherwise, and its minute bars were filled in later. Old minutes say nothing of
        now.
        """
        since = int(self.clock.now_ns() // 1_000_000) - _RECENT_MS
        try:
            found = self.clickhouse.query(
                "SELECT toUnixTimestamp64Milli(max(event_ts)) AS newest, count() AS rows FROM torghut.ta_microbars"  # noqa: S608  a number
                f" WHERE window_size = 'PT1M' AND event_ts > fromUnixTimestamp64Milli({since})"
            )
            if not found or not found[0]["rows"]:
                return None
            until = found[0]["newest"] - _MINUTE_MS
            minute = f"intDiv(toUnixTimestamp64Milli(event_ts) + {_MINUTE_MS - 1}, {_MINUTE_MS})"
            rows = self.clickhouse.query(
                f"WITH (SELECT groupUniqArray({minute}) FROM torghut.ta_microbars WHERE window_size = 'PT1S'"  # noqa: S608  numbers
                f" AND event_ts > fromUnixTimestamp64Milli({until - 11 * _MINUTE_MS})"
                f" AND event_ts <= fromUnixTimestamp64Milli({until + _MINUTE_MS})) AS alive"
                " SELECT sum(own) AS all_own, sum(theirs) AS all_theirs FROM ("
                f"SELECT {minute} AS at, sumIf(volume, window_size = 'PT1S') AS own,"
                " sumIf(volume, window_size = 'PT1M') AS theirs FROM ("
                "SELECT symbol, window_size, event_ts, argMax(v, ingest_ts) AS volume FROM torghut.ta_microbars"
                f" WHERE event_ts > fromUnixTimestamp64Milli({until - 10 * _MINUTE_MS})"
                f" AND event_ts <= fromUnixTimestamp64Milli({until}) GROUP BY symbol, window_size, event_ts)"
                " GROUP BY symbol, at) WHERE theirs > 0 AND hasAll(alive, [at - 1, at, at + 1])"
            )
        except ClickHouseError as error:
            if error.trouble is Trouble.MISSING:
                return None
            raise
        return float(rows[0]["all_own"] / rows[0]["all_theirs"]) if rows and rows[0]["all_theirs"] else None


async def scrape_all(replicas: Sequence[Guardrails]) -> None:
    """Scrape every replica once, each in a thread of its own: one that is silent holds up no other."""
    await asyncio.gather(*(asyncio.to_thread(each.scrape) for each in replicas))


async def scrape_forever(replicas: Sequence[Guardrails], seconds: float, stop: asyncio.Event) -> None:
    """Scrape now and every `seconds` until `stop` is set."""
    while not stop.is_set():
        await scrape_all(replicas)
        try:
            await asyncio.wait_for(stop.wait(), seconds)
        except TimeoutError:
            continue


def registry_of(*replicas: Guardrails) -> CollectorRegistry:
    """Return a registry that shows these gauges."""
    registry = CollectorRegistry()
    registry.register(Gauges(replicas))
    return registry
