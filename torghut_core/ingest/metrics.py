"""Prometheus metrics of the forwarder, prefix `torghut_ws_`: counts are counters, states gauges, times histograms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from torghut_core.ingest.protocol import ErrorClass

_LAG_BUCKETS = (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 15_000, 60_000, 300_000, 1_200_000)
_SEND_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60)

Sample = tuple[tuple[str, ...], float]
Read = Callable[[], Iterable[Sample]]


class Metrics(Collector):
    """Reads every count where it is kept, at the moment of the scrape."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._families: list[tuple[type[Any], str, str, tuple[str, ...], Read]] = []
        self.lag = Histogram(
            "torghut_ws_lag_ms",
            "Milliseconds from a message's own time to its arrival, newest of each frame.",
            ["channel"],
            buckets=_LAG_BUCKETS,
            registry=registry,
        )
        self.send_latency = Histogram(
            "torghut_ws_kafka_send_latency",
            "Seconds from a batch's sending to its acknowledgement.",
            ["topic"],
            buckets=_SEND_BUCKETS,
            registry=registry,
        )
        registry.register(self)

    def counter(self, name: str, text: str, read: Read, *labels: str) -> None:
        """Add a family that only rises; `name` without `_total`."""
        self._families.append((CounterMetricFamily, name, text, labels, read))

    def gauge(self, name: str, text: str, read: Read, *labels: str) -> None:
        """Add a family that rises and falls."""
        self._families.append((GaugeMetricFamily, name, text, labels, read))

    def describe(self) -> Iterator[Metric]:
        """Yield every family that was added, without a value."""
        for kind, name, text, labels, _ in self._families:
            yield kind(f"torghut_ws_{name}", text, labels=labels)

    def collect(self) -> Iterator[Metric]:
        """Yield every family as it stands."""
        for kind, name, text, labels, read in self._families:
            family = kind(f"torghut_ws_{name}", text, labels=labels)
            for values, value in read():
                family.add_metric(values, value)
            yield family


def one(value: float) -> list[Sample]:
    """Return the sample of a family without labels."""
    return [((), float(value))]


def by_label(values: Mapping[Any, float]) -> list[Sample]:
    """Return samples by one label, or by several where keys are tuples."""
    return [
        (tuple(map(str, key)) if isinstance(key, tuple) else (str(key),), float(value))
        for key, value in sorted(values.items())
    ]


def add_families(metrics: Metrics, forwarder: Any) -> None:
    """Add what the forwarder counts."""
    session, publisher, universe = forwarder.session, forwarder.publisher, forwarder.universe

    def judged() -> dict[str, Any]:
        body: dict[str, Any] = forwarder.readiness()[1]
        return body

    metrics.gauge("readyz_status", "1 when ready.", lambda: one(judged()["ready"]))
    metrics.gauge(
        "readyz_error_class",
        "1 for the class that is told.",
        lambda: by_label({each.value: judged()["error_class"] == each.value for each in ErrorClass}),
        "error_class",
    )
    metrics.gauge("readyz_gate_status", "1 when the gate is open.", lambda: by_label(judged()["gates"]), "gate")
    metrics.counter(
        "readiness_errors", "Times that a class came up.", lambda: by_label(forwarder.judge.errors), "error_class"
    )
    metrics.counter("reconnects", "Connections begun again.", lambda: one(session.reconnects))
    metrics.counter("ws_connect_success", "Sessions that were subscribed.", lambda: one(session.connects))
    metrics.counter(
        "ws_connect_errors", "Sessions that ended.", lambda: by_label(session.connect_errors), "error_class"
    )
    metrics.counter("provider_messages", "Market-data messages received.", lambda: one(forwarder.received))
    metrics.counter("dedup_drops", "Repeats left out.", lambda: by_label(forwarder.repeats), "channel")
    metrics.counter("market_data_drops", "Messages of no use.", lambda: by_label(forwarder.drops), "reason")
    metrics.counter(
        "kafka_records_dropped", "Records given up.", lambda: by_label(publisher.dropped), "channel", "reason"
    )
    lanes = publisher.lanes
    metrics.counter(
        "kafka_produce_success",
        "Records acknowledged.",
        lambda: by_label({topic: lane.counts.produced for topic, lane in lanes.items()}),
        "topic",
    )
    metrics.counter(
        "kafka_produce_errors",
        "Failed sends.",
        lambda: by_label(
            {(topic, name): count for topic, lane in lanes.items() for name, count in lane.counts.errors.items()}
        ),
        "topic",
        "error_class",
    )
    metrics.counter(
        "kafka_send_errors",
        "Failed sends of all topics.",
        lambda: one(sum(sum(lane.counts.errors.values()) for lane in lanes.values())),
    )
    metrics.counter(
        "kafka_metadata_errors",
        "Lookups and sends that found no leader, by class.",
        lambda: by_label(forwarder.kafka_lookup_errors),
        "error_class",
    )
    metrics.gauge("kafka_waiting_bytes", "Bytes that wait for Kafka.", lambda: one(publisher.waiting_bytes))
    metrics.gauge(
        "kafka_buffer_bytes", "Bytes that may wait for Kafka.", lambda: one(forwarder.settings.kafka_buffer_bytes)
    )
    metrics.gauge("symbols", "Symbols wanted.", lambda: one(len(session.subscriptions.wanted)))
    metrics.gauge(
        "symbols_left_out", "Symbols without a subscription.", lambda: one(len(session.subscriptions.left_out))
    )
    metrics.counter("desired_symbols_fetch_success", "Universes read.", lambda: one(universe.successes))
    metrics.counter(
        "desired_symbols_fetch_failures",
        "Universes that could not be read.",
        lambda: by_label(universe.failures),
        "reason",
    )
    metrics.gauge(
        "desired_symbols_fetch_degraded",
        "1 while the last known universe is kept.",
        lambda: one(universe.error is not None),
    )
    metrics.gauge(
        "desired_symbols_age_seconds",
        "Seconds since the universe was read.",
        lambda: one(forwarder.universe_age) if forwarder.universe_age is not None else [],
    )
    metrics.counter("backfill_records", "Records put from REST.", lambda: by_label(forwarder.backfilled), "channel")
    metrics.counter("backfill_failures", "Backfills that failed.", lambda: one(forwarder.backfill_failures))
