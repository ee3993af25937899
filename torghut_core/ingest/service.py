"""`run ws`: the forwarder's parts put together, its health and its metrics."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from prometheus_client import CollectorRegistry, Gauge

from torghut_core import topics
from torghut_core.backoff import Backoff
from torghut_core.clock import open_clock
from torghut_core.engines.kafka import Kafka, KafkaAddress, KafkaUnavailableError, Security, Tuning
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.envelope import Envelope, decode, encode
from torghut_core.errors import InputError
from torghut_core.http_server import Binding, health_app, serving
from torghut_core.ingest.envelopes import Converter, Dedup, Sequences
from torghut_core.ingest.protocol import ErrorClass, Frame
from torghut_core.ingest.publisher import Publisher
from torghut_core.ingest.session import StreamSession
from torghut_core.ingest.settings import IngestSettings, parse_symbols
from torghut_core.logs import event
from torghut_core.market_calendar import MarketCalendar
from torghut_core.rfc3339 import format_ns
from torghut_core.settings import load

_logger = logging.getLogger("torghut.ws")
_STATUS_SECONDS = 10.0
_KAFKA_CHECK_SECONDS = 10.0


class Forwarder:
    """One connection to Alpaca, one publisher to Kafka."""

    def __init__(self, settings: IngestSettings, kafka: Kafka) -> None:
        self.settings = settings
        self.registry = CollectorRegistry()
        self._kafka = kafka
        self._clock = open_clock(settings.clock)
        self._calendar = MarketCalendar(settings.market_calendar)
        backoff = Backoff(base=settings.reconnect_base_ms / 1000, cap=settings.reconnect_max_ms / 1000)
        self.publisher = Publisher(
            kafka,
            linger_seconds=settings.kafka_linger_ms / 1000,
            buffer_bytes=settings.kafka_buffer_bytes,
            backoff=Backoff(base=0.2, cap=15.0),
        )
        self._channel_topics = {
            "trades": settings.topic_trades,
            "quotes": settings.topic_quotes,
            "bars": settings.topic_bars,
            "updatedBars": settings.topic_bars,
            "status": settings.topic_status,
        }
        self.converter: Converter | None = None
        self.session = StreamSession(
            url=f"{settings.stream_url}/v2/{settings.feed}",
            key_id=settings.key_id.get_secret_value(),
            secret_key=settings.secret_key.get_secret_value(),
            batch_size=settings.subscribe_batch_size,
            idle_seconds=settings.read_idle_timeout_ms / 1000,
            backoff=backoff,
            is_feed_open=lambda: self._calendar.is_feed_open(settings.feed, self._clock.now_ns()),
            on_frame=self._forward,
            has_room=self.publisher.room,
        )
        self.session.want(frozenset(parse_symbols(settings.symbols)))
        self.universe_error: str | None = None
        self._dropped: dict[str, int] = {}
        self._gauges = _Gauges(self.registry)

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Return whether data flows, and `/readyz`'s body."""
        gates = {
            "alpaca_ws": self.session.is_ready,
            "kafka": self.publisher.error_class is None,
            "trade_updates": True,
        }
        ready = all(gates.values())
        error_class: ErrorClass | None = None
        if not gates["alpaca_ws"]:
            error_class = self.session.error_class or ErrorClass.UNKNOWN
        elif not gates["kafka"]:
            error_class = self.publisher.error_class
        return ready, {
            "status": "ready" if ready else "not_ready",
            "ready": ready,
            "error_class": error_class.value if error_class is not None else None,
            "gates": gates,
            "feed": self.settings.feed,
            "symbols": len(self.session.subscriptions.wanted),
            "missing_symbols": sorted(self.session.subscriptions.missing)[:20],
            "universe_degraded": self.universe_error,
        }

    def _forward(self, frame: Frame) -> None:
        converter = self.converter
        if converter is None:
            raise RuntimeError("frames are read only after the sequence numbers are known")
        for reason, count in frame.dropped.items():
            self._dropped[reason] = self._dropped.get(reason, 0) + count
        if frame.data:
            self.publisher.put(converter.convert(frame.data, self._clock.now_ns()))

    async def run(self, stop: asyncio.Event) -> None:
        """Forward until `stop` is set; what was received by then is still sent."""
        if not await self._prepare(stop):
            return
        publisher_stop = asyncio.Event()
        publishing = asyncio.create_task(self.publisher.run(publisher_stop))
        tasks = [
            asyncio.create_task(self.session.run(stop)),
            asyncio.create_task(self._poll_universe(stop)),
            asyncio.create_task(self._tell_status(stop)),
        ]
        try:
            await asyncio.wait([*tasks, publishing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.set()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            publisher_stop.set()
            results += await asyncio.gather(publishing, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _prepare(self, stop: asyncio.Event) -> bool:
        """Create the topics and learn where sequence numbers go on; wait for Kafka as long as it takes."""
        attempt = 0
        while not stop.is_set():
            try:
                await self._kafka.ensure_topics(
                    [
                        topics.TRADES.renamed(self.settings.topic_trades),
                        topics.QUOTES.renamed(self.settings.topic_quotes),
                        topics.BARS_1M.renamed(self.settings.topic_bars),
                        topics.STATUS.renamed(self.settings.topic_status),
                    ]
                )
                floor = await self._sequence_floor()
            except KafkaUnavailableError as error:
                attempt += 1
                self.publisher.error_class = ErrorClass(error.reason)
                event(_logger, "kafka_not_ready", logging.WARNING, reason=error.reason, attempt=attempt)
                try:
                    await asyncio.wait_for(stop.wait(), Backoff(base=0.5, cap=15.0).delay(attempt))
                except TimeoutError:
                    continue
            else:
                started_us = self._clock.now_ns() // 1000
                if floor > started_us:
                    event(_logger, "clock_was_set_back", logging.WARNING, floor=floor)
                self.converter = Converter(
                    feed=self.settings.feed,
                    topics=self._channel_topics,
                    dedup=Dedup(self.settings.dedup_ttl_seconds, self.settings.dedup_max_entries),
                    sequences=Sequences(started_us, floor),
                )
                await self.publisher.check()
                return True
        return False

    async def _sequence_floor(self) -> int:
        floor = 0
        for channel, topic in (("trades", topics.TRADES), ("quotes", topics.QUOTES), ("bars", topics.BARS_1M)):
            name = self._channel_topics[channel]
            for partition in range(topic.partitions):
                last = await self._kafka.last_record(name, partition)
                if last is not None:
                    try:
                        # Numbers of other symbols in the partition may be a little higher: a second's worth more is
                        # far beyond what one process can count between two records.
                        floor = max(floor, decode(last.values[-1]).seq + 1_000_000)
                    except InputError:
                        event(_logger, "last_record_unreadable", logging.WARNING, topic=name, partition=partition)
        return floor

    async def _poll_universe(self, stop: asyncio.Event) -> None:
        if self.settings.symbols_url is None:
            await stop.wait()
            return
        async with httpx.AsyncClient(timeout=5.0) as client:
            while not stop.is_set():
                try:
                    answer = await client.get(self.settings.symbols_url)
                    symbols = answer.raise_for_status().json()["symbols"]
                    wanted = frozenset(parse_symbols(",".join(map(str, symbols))))
                except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
                    self.universe_error = f"unreadable ({type(error).__name__})"
                else:
                    self.universe_error = None if wanted else "empty_result"
                    self.session.want(wanted)
                if self.universe_error:
                    event(_logger, "universe_kept", logging.WARNING, reason=self.universe_error)
                try:
                    await asyncio.wait_for(stop.wait(), self.settings.symbols_poll_ms / 1000)
                except TimeoutError:
                    continue

    async def _tell_status(self, stop: asyncio.Event) -> None:
        """Publish status on change and every ten seconds, and keep the metrics and Kafka's gate fresh."""
        told: tuple[bool, Any] | None = None
        told_at = checked_at = 0.0
        while not stop.is_set():
            ready, body = self.readiness()
            now = time.monotonic()
            if now - max(checked_at, self.publisher.last_success) >= _KAFKA_CHECK_SECONDS:
                checked_at = now
                await self.publisher.check()
            if told != (ready, body["error_class"]) or now - told_at >= _STATUS_SECONDS:
                told, told_at = (ready, body["error_class"]), now
                self.publisher.put({self.settings.topic_status: ([b"ws"], [self._status_record(body)])})
            self._gauges.observe(self)
            try:
                await asyncio.wait_for(stop.wait(), 0.5)
            except TimeoutError:
                continue

    def _status_record(self, body: Mapping[str, Any]) -> bytes:
        now_ns = self._clock.now_ns()
        return encode(
            Envelope(
                ingest_ts=format_ns(now_ns),
                event_ts=format_ns(now_ns),
                feed=self.settings.feed,
                channel="status",
                symbol="ws",
                seq=now_ns // 1000,
                is_final=True,
                source="ws",
                window=None,
                payload={key: body[key] for key in ("status", "error_class", "gates", "symbols")},
            )
        )

    @property
    def drops(self) -> dict[str, int]:
        """Messages that were not forwarded, by reason."""
        found = dict(self._dropped)
        for reason, count in (self.converter.dropped if self.converter else {}).items():
            found[reason] = found.get(reason, 0) + count
        return found


class _Gauges:
    """Prometheus metrics, prefix `torghut_ws_`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"torghut_ws_{name}", text, labels, registry=registry)

        self._ready = gauge("readyz_status", "1 when ready.")
        self._error = gauge("readyz_error_class", "1 for the class that keeps it from being ready.", "error_class")
        self._gate = gauge("readyz_gate_status", "1 when the gate is open.", "gate")
        self._reconnects = gauge("reconnects_total", "Connections begun again.")
        self._connects = gauge("ws_connect_success_total", "Sessions that became ready.")
        self._connect_errors = gauge("ws_connect_errors_total", "Sessions that ended.", "error_class")
        self._produced = gauge("kafka_produce_success_total", "Records Kafka acknowledged.", "topic")
        self._send_errors = gauge("kafka_send_errors_total", "Failed sends.")
        self._waiting = gauge("kafka_waiting_bytes", "Bytes that wait for Kafka.")
        self._repeats = gauge("dedup_drops_total", "Repeated messages left out.", "channel")
        self._drops = gauge("market_data_drops_total", "Messages that could not be used.", "reason")

    def observe(self, forwarder: Forwarder) -> None:
        ready, body = forwarder.readiness()
        self._ready.set(ready)
        for error_class in ErrorClass:
            self._error.labels(error_class.value).set(body["error_class"] == error_class.value)
        for gate, is_open in body["gates"].items():
            self._gate.labels(gate).set(is_open)
        self._reconnects.set(forwarder.session.reconnects)
        self._connects.set(forwarder.session.connects)
        for error, count in forwarder.session.connect_errors.items():
            self._connect_errors.labels(error).set(count)
        for topic, count in forwarder.publisher.produced.items():
            self._produced.labels(topic).set(count)
        self._send_errors.set(forwarder.publisher.errors)
        self._waiting.set(forwarder.publisher.waiting_bytes)
        for channel, count in (forwarder.converter.repeats if forwarder.converter else {}).items():
            self._repeats.labels(channel).set(count)
        for reason, count in forwarder.drops.items():
            self._drops.labels(reason).set(count)


def kafka_address(settings: IngestSettings) -> KafkaAddress:
    """Return how the forwarder reaches Kafka."""
    return KafkaAddress(
        bootstrap=settings.kafka_bootstrap,
        client_id=settings.kafka_client_id,
        security=Security(
            protocol=settings.kafka_security,
            mechanism=settings.kafka_mechanism,
            username=settings.kafka_user,
            password=settings.kafka_password,
        ),
        tuning=Tuning(
            batch_bytes=settings.kafka_batch_size,
            compression=settings.kafka_compression,
            request_timeout_ms=settings.kafka_request_timeout_ms,
        ),
    )


async def run(
    environment: Mapping[str, str],
    *,
    kafka: Kafka | None = None,
    on_ready: Callable[[int, int], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Run the forwarder from its environment until `stop` is set; `on_ready` gets the health and metrics ports."""
    settings = load(IngestSettings, environment)
    opened = kafka or open_kafka(kafka_address(settings))
    forwarder = Forwarder(settings, opened)
    health = health_app(service="torghut-ws", readiness=forwarder.readiness, registry=forwarder.registry)
    metrics = health_app(service="torghut-ws-metrics", readiness=forwarder.readiness, registry=forwarder.registry)
    health_binding = Binding(port=settings.health_port, variable="HEALTH_PORT", host=settings.http_host)
    metrics_binding = Binding(port=settings.metrics_port, variable="METRICS_PORT", host=settings.http_host)
    async with serving(health, health_binding) as health_port, serving(metrics, metrics_binding) as metrics_port:
        if on_ready is not None:
            on_ready(health_port, metrics_port)
        await forwarder.run(stop or asyncio.Event())
    if kafka is None:
        await opened.close()
