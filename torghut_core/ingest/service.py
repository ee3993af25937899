"""`run ws`: the forwarder's parts put together, its health and its metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from prometheus_client import CollectorRegistry

from torghut_core import feeds, heap
from torghut_core.backoff import Backoff, FullJitter
from torghut_core.clock import open_clock
from torghut_core.engines.kafka import (
    Kafka,
    KafkaAddress,
    KafkaUnavailableError,
    Security,
    Tuning,
    partition_of,
)
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.envelope import Envelope, encode
from torghut_core.http_server import Binding, health_app, serving
from torghut_core.ingest import intake as intake_module
from torghut_core.ingest import start
from torghut_core.ingest.account import Account
from torghut_core.ingest.backfill import Backfill, BackfillSettings
from torghut_core.ingest.intake import Chunk, Intake
from torghut_core.ingest.metrics import Metrics, add_families
from torghut_core.ingest.protocol import ErrorClass, Wire
from torghut_core.ingest.publisher import Publisher
from torghut_core.ingest.readiness import Problem, Readiness
from torghut_core.ingest.rows import CHANNELS
from torghut_core.ingest.session import StreamSession
from torghut_core.ingest.settings import IngestSettings
from torghut_core.ingest.silence import Silence
from torghut_core.ingest.status import StatusRecords, chunk_of
from torghut_core.ingest.subscriptions import Subscriptions
from torghut_core.ingest.trade_updates import TradeUpdates
from torghut_core.ingest.universe import Universe, parse_symbols
from torghut_core.logs import event
from torghut_core.market_calendar import MarketCalendar
from torghut_core.rfc3339 import format_ns
from torghut_core.settings import load

_logger = logging.getLogger("torghut.ws")
_LATE_NS = 60_000_000_000
"""How late a trade may come whose symbol had none before."""
_STATUS_SECONDS = 10.0
_WATCH_SECONDS = 0.25
_HEARTBEAT_SECONDS = 2.0
"""So often at least something is sent, so that Kafka's answer is never older than that."""
_TRADE_MEMORY = 300_000
_FLUSH_SECONDS = 10.0
"""What Kafka may take at the end; with the socket's farewell it stays within twenty seconds."""


class Forwarder:
    """One connection to Alpaca, one publisher to Kafka."""

    def __init__(self, settings: IngestSettings, kafka: Kafka) -> None:
        self.settings = settings
        self.registry = CollectorRegistry()
        self._kafka = kafka
        self._clock = open_clock(settings.clock)
        self._feed = feeds.FEEDS[settings.feed]
        self._channel_topics = {
            "trades": settings.topic_trades,
            "quotes": settings.topic_quotes,
            "bars": settings.topic_bars,
            "updatedBars": settings.topic_bars,
            "status": settings.topic_status,
        }
        if settings.enable_trade_updates and settings.topic_trade_updates:
            self._channel_topics["trade_updates"] = settings.topic_trade_updates
        self.publisher = Publisher(
            kafka,
            self._channel_topics,
            buffer_bytes=settings.kafka_buffer_bytes,
            batch_bytes=settings.kafka_batch_size,
            record_bytes=settings.kafka_record_bytes,
            backoff=Backoff(base=0.2, cap=5.0),
            on_acked=self._acked,
            on_dropped=self._dropped,
            ensure=lambda: kafka.ensure_topics(start.wanted_topics(settings)),
        )
        self.publisher.set_trouble(KafkaUnavailableError("Kafka was not asked yet", "kafka_metadata"))
        backoff = FullJitter(base=settings.reconnect_base_ms / 1000, cap=settings.reconnect_max_ms / 1000)
        slow = FullJitter(base=backoff.base, cap=backoff.cap, least=settings.reconnect_refused_ms / 1000)
        key_id, secret_key = settings.key_id.get_secret_value(), settings.secret_key.get_secret_value()
        self.universe = Universe(
            url=settings.symbols_url,
            static=parse_symbols(settings.symbols),
            poll_seconds=settings.symbols_poll_ms / 1000,
            shard_count=settings.shard_count,
            shard_index=settings.shard_index,
            on_change=self._want,
            monotonic=self._clock.monotonic,
        )
        self.session = StreamSession(
            url=f"{settings.stream_url}{self._feed.path}",
            key_id=key_id,
            secret_key=secret_key,
            wire=Wire(settings.codec),
            subscriptions=Subscriptions(settings.subscribe_batch_size, settings.max_symbols),
            silence=Silence(
                self._feed,
                MarketCalendar(settings.market_calendar),
                self._clock,
                settings.read_idle_timeout_ms / 1000,
            ),
            backoff=backoff,
            slow_backoff=slow,
            take=self._take,
            tell=self._tell,
        )
        self._trade_updates: TradeUpdates | None = None
        if settings.enable_trade_updates and settings.trade_stream_url:
            self._trade_updates = TradeUpdates(
                url=settings.trade_stream_url,
                key_id=key_id,
                secret_key=secret_key,
                backoff=backoff,
                slow_backoff=slow,
                on_update=self._take_update,
                monotonic=self._clock.monotonic,
            )
        self.kafka_lookup_errors: dict[str, int] = {}
        self.intake: Intake | None = None
        self._account: Account | None = None
        self._backfill: Backfill | None = None
        self._status: StatusRecords | None = None
        self._flush_at: asyncio.TimerHandle | None = None
        self._gap: dict[str, Any] | None = None
        self._gaps: dict[str, dict[str, Any]] = {}
        self._update_sequence = 0
        self._heard_newest: dict[str, int] = {}
        self.judge = Readiness(
            clock=self._clock,
            kafka=self._kafka_problem,
            alpaca=self._alpaca_problem,
            trade_updates=lambda: self._trade_updates.problem if self._trade_updates is not None else None,
            limitation=lambda: self.session.subscriptions.problem if self.session.failure is None else None,
            facts=self._facts,
        )
        self.metrics = Metrics(self.registry)
        add_families(self.metrics, self)

    # What is known of it.

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Return whether data flows, and `/readyz`'s body."""
        return self.judge.judge()

    def is_alive(self) -> bool:
        """Tell whether a restart would not help: it only does when a producer has lost its way."""
        return self.publisher.wedged_seconds() < self.settings.health_kill_after_ms / 1000

    def _kafka_problem(self) -> Problem:
        trouble = self.publisher.trouble
        return (trouble.error_class, trouble.detail) if trouble is not None else None

    def _alpaca_problem(self) -> Problem:
        if not self.session.subscriptions.wanted:
            return ErrorClass.UNKNOWN, f"no symbols yet: {self.universe.error or 'the universe was not read yet'}"
        return self.session.readiness()

    def _facts(self) -> dict[str, Any]:
        subscriptions = self.session.subscriptions
        age = self.universe_age
        return {
            "feed": self.settings.feed,
            "symbols": len(subscriptions.wanted),
            "missing_symbols": sorted(subscriptions.missing)[:20],
            "left_out_symbols": subscriptions.left_out[:20],
            "universe_degraded": self.universe.detail,
            "universe_age_seconds": round(age, 1) if age is not None else None,
            "reconnects": self.session.reconnects,
            "waiting_bytes": self.publisher.waiting_bytes,
            "records_dropped": sum(self.publisher.dropped.values()),
        }

    @property
    def universe_age(self) -> float | None:
        """Seconds since the universe was read; None without one."""
        read_at = self.universe.read_at
        return self._clock.monotonic() - read_at if read_at is not None else None

    @property
    def received(self) -> int:
        return self.intake.received if self.intake is not None else 0

    @property
    def repeats(self) -> dict[str, int]:
        return self.intake.repeats if self.intake is not None else {}

    @property
    def drops(self) -> dict[str, int]:
        """Messages that were not forwarded, by reason."""
        return self.intake.dropped if self.intake is not None else {}

    @property
    def backfilled(self) -> dict[str, int]:
        return self._backfill.filled if self._backfill is not None else {}

    @property
    def backfill_failures(self) -> int:
        return self._backfill.failures if self._backfill is not None else 0

    # Frames.

    def _take(self, frame: bytes) -> list[dict[str, Any]]:
        intake = self.intake
        if intake is None:
            raise RuntimeError("frames are read only after the sequence numbers are known")
        ingest_ns = self._clock.now_ns()
        before = intake.received
        control = intake.take(frame, ingest_ns)
        if intake.received > before:
            self._after_frame(intake, ingest_ns)
        return control

    def _after_frame(self, intake: Intake, ingest_ns: int) -> None:
        is_data = False
        for channel, newest in intake.newest().items():
            if newest != self._heard_newest.get(channel):
                self._heard_newest[channel] = newest
                is_data = True
                self.metrics.lag.labels(channel).observe(max(0.0, (ingest_ns - newest) / 1e6))
        if is_data and self.session.heard(self._clock.monotonic()):
            # Nobody knows what was missed between the new subscription and this message.
            if self._account is not None:
                self._account.note_gap(self._quiet_until_ns())
            if self._backfill is not None:
                self._backfill.need()
        account = self._account
        if intake.messages:
            for message in intake.messages:
                if account is not None and message.channel == CHANNELS.index("bars"):
                    account.add_minute(message.symbol, message.at_ns)
            intake.messages.clear()
        if intake.is_due:
            self._flush()
        elif self._flush_at is None:
            loop = asyncio.get_running_loop()
            self._flush_at = loop.call_later(self.settings.kafka_linger_ms / 1000, self._flush)

    def _flush(self) -> None:
        """Hand what has gathered to the lanes."""
        if self._flush_at is not None:
            self._flush_at.cancel()
            self._flush_at = None
        if self.intake is not None and not self.intake.is_empty:
            self.publisher.put(self.intake.cut())

    def _take_update(self, update: Mapping[str, Any]) -> None:
        order = update["order"]
        now_ns = self._clock.now_ns()
        at = next(
            (
                each
                for each in (update.get("timestamp"), update.get("t"), order.get("submitted_at"))
                if isinstance(each, str)
            ),
            format_ns(now_ns),
        )
        self._update_sequence += 1
        value = encode(
            Envelope(
                ingest_ts=format_ns(now_ns),
                event_ts=at,
                feed=self.settings.feed,
                channel="trade_updates",
                symbol=order["symbol"],
                seq=self._update_sequence,
                is_final=True,
                source="ws",
                window=None,
                payload=dict(update),
            )
        )
        topic = self._channel_topics["trade_updates"]
        partition = partition_of(order["symbol"].encode(), self._partitions[topic])
        self.publisher.put([chunk_of("trade_updates", partition, order["symbol"], value, now_ns)])

    # What became of records.

    def _acked(self, chunk: Chunk, seconds: float) -> None:
        self.metrics.send_latency.labels(self._channel_topics[chunk.channel]).observe(seconds)
        if self._account is not None:
            self._account.acked(chunk)

    def _dropped(self, chunk: Chunk, reason: str) -> None:
        gap = self._gaps.setdefault(
            f"{chunk.channel}:{reason}",
            {"channel": chunk.channel, "reason": reason, "from": chunk.first_ns, "to": chunk.last_ns, "count": 0},
        )
        gap["from"], gap["to"] = min(gap["from"], chunk.first_ns), max(gap["to"], chunk.last_ns)
        gap["count"] += len(chunk)
        if reason == "buffer_full" and self._account is not None and self.intake is not None:
            self._account.dropped(chunk)
            self.intake.forget_trades(chunk)

    # Events.

    def _want(self, symbols: frozenset[str]) -> None:
        if self.intake is not None:
            self.intake.want(symbols)
            self.session.want(symbols)
            if self._backfill is not None:
                self._backfill.need()

    def _tell(self, name: str, fields: Mapping[str, Any]) -> None:
        if name == "reconnect" and self._gap is None:
            self._gap = {"from": format_ns(self._clock.now_ns()), "reason": fields["reason"]}
            if self._account is not None:
                self._account.lost_connection(self._quiet_until_ns())
        if name == "subscribed":
            if self._account is not None:
                self._account.found_connection()
            if self._gap is not None:
                gap, self._gap = self._gap, None
                # Nobody knows how much the stream would have brought.
                self._publish_status({"event": "gap", **gap, "to": format_ns(self._clock.now_ns()), "count": None})
            if self._backfill is not None:
                self._backfill.need()
        self._publish_status({"event": name, **fields})

    def _quiet_until_ns(self) -> int:
        """Return until when the stream has surely brought what there was: exchanges and the feed's design are late."""
        return self._clock.now_ns() - self._feed.delay_seconds * 1_000_000_000 - _LATE_NS

    def _publish_status(self, payload: Mapping[str, Any]) -> None:
        if self._status is not None:
            self.publisher.put([self._status.record(payload)])

    async def _watch(self, stop: asyncio.Event) -> None:
        """Publish status on change and every ten seconds, heartbeats between, and gaps once they are over."""
        told: tuple[bool, Any] | None = None
        told_at = 0.0
        while not stop.is_set():
            ready, body = self.readiness()
            now = self._clock.monotonic()
            state = (ready, body["error_class"])
            if told != state or now - told_at >= _STATUS_SECONDS:
                name = "status" if told == state else ("ready" if ready else "degraded")
                lag = {channel: self._lag_ms(newest) for channel, newest in self._heard_newest.items()}
                shown = ("status", "error_class", "detail", "gates", "symbols", "waiting_bytes", "records_dropped")
                self._publish_status({"event": name, **{key: body[key] for key in shown}, "lag_ms": lag})
                told, told_at = state, now
            elif self._needs_heartbeat(now, told_at):
                self._publish_status({"event": "heartbeat"})
            if self._gaps and self.publisher.trouble is None:
                gaps, self._gaps = self._gaps, {}
                for gap in gaps.values():
                    span = {"from": format_ns(gap["from"]), "to": format_ns(gap["to"])}
                    self._publish_status({"event": "gap", **gap, **span})
                if self._backfill is not None:
                    self._backfill.need()
            with suppress(TimeoutError):
                async with asyncio.timeout(_WATCH_SECONDS):
                    await stop.wait()

    def _needs_heartbeat(self, now: float, told_at: float) -> bool:
        lanes = self.publisher.lanes
        answered_at = max(told_at, *(lane.last_success for lane in lanes.values()))
        return now - answered_at >= _HEARTBEAT_SECONDS and lanes[self.settings.topic_status].is_empty

    def _lag_ms(self, newest_ns: int) -> int:
        return max(0, (self._clock.now_ns() - newest_ns) // 1_000_000)

    # Running.

    async def run(self, stop: asyncio.Event) -> None:
        """Forward until `stop` is set; what was received by then is still sent, as far as Kafka takes it in time."""
        heap.share()
        await asyncio.to_thread(intake_module.warm_up)
        watching = asyncio.create_task(self.universe.run(stop))
        is_prepared = False
        try:
            is_prepared = await self._prepare(stop)
        finally:
            if not is_prepared:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
        if not is_prepared:
            return
        publisher_stop = asyncio.Event()
        publishing = asyncio.create_task(self.publisher.run(publisher_stop, flush_seconds=_FLUSH_SECONDS))
        tasks = [
            watching,
            asyncio.create_task(self.session.run(stop)),
            asyncio.create_task(self._watch(stop)),
        ]
        if self._trade_updates is not None:
            tasks.append(asyncio.create_task(self._trade_updates.run(stop)))
        if self._backfill is not None:
            tasks.append(asyncio.create_task(self._backfill.run(stop)))
        try:
            await asyncio.wait([*tasks, publishing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.set()
            _, late = await asyncio.wait(tasks, timeout=5.0)
            for task in late:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            self._flush()
            publisher_stop.set()
            results += await asyncio.gather(publishing, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _prepare(self, stop: asyncio.Event) -> bool:
        """Learn what Kafka holds and build what depends on it; ask for as long as it takes."""
        attempt = 0
        backoff = Backoff(base=0.5, cap=5.0)
        while not stop.is_set():
            looking = asyncio.create_task(start.look(self._kafka, self.settings))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait([looking, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not looking.done():
                looking.cancel()
            stopping.cancel()
            (found, _) = await asyncio.gather(looking, stopping, return_exceptions=True)
            if isinstance(found, KafkaUnavailableError):
                attempt += 1
                self.publisher.set_trouble(found)
                self.kafka_lookup_errors[found.reason] = self.kafka_lookup_errors.get(found.reason, 0) + 1
                event(_logger, "kafka_not_ready", logging.WARNING, reason=found.reason, attempt=attempt)
                with suppress(TimeoutError):
                    async with asyncio.timeout(backoff.delay(attempt)):
                        await stop.wait()
            elif isinstance(found, asyncio.CancelledError):
                return False
            elif isinstance(found, BaseException):
                raise found
            else:
                self._build(found)
                self.publisher.await_first_answer()
                return True
        return False

    def _build(self, found: start.Found) -> None:
        settings = self.settings
        started_us = self._clock.now_ns() // 1000
        if found.floor > started_us:
            event(_logger, "clock_was_set_back", logging.WARNING, floor=found.floor)
        first = max(started_us, found.floor)
        self._partitions = found.partitions
        self._update_sequence = first
        intake = Intake(
            feed=settings.feed,
            is_msgpack=settings.codec == "msgpack",
            first_sequence=first,
            dedup_ttl_seconds=settings.dedup_ttl_seconds,
            dedup_max_entries=settings.dedup_max_entries,
            partitions={channel: found.partitions[self._channel_topics[channel]] for channel in CHANNELS},
            trade_memory=_TRADE_MEMORY if settings.enable_trades_backfill else 0,
        )
        self.intake = intake
        self._status = StatusRecords(
            feed=settings.feed,
            clock=self._clock,
            first_sequence=first,
            partitions=found.partitions[settings.topic_status],
        )
        if settings.enable_bars_backfill or settings.enable_trades_backfill:
            account = Account(intake.symbols.names, settings.enable_trades_backfill)
            account.acked_minute.update(found.last_minute)
            for symbol, at_ns in found.last_minute.items():
                account.add_minute(symbol, at_ns)
            if settings.enable_trades_backfill:
                account.acked_trade.update(found.last_trade)
                account.lost_connection(self._quiet_until_ns())
                for symbol, exchange, number in found.trades:
                    intake.remember_trade(symbol, exchange, number)
            self._account = account
            self._backfill = Backfill(
                BackfillSettings(
                    base_url=settings.base_url,
                    key_id=settings.key_id.get_secret_value(),
                    secret_key=settings.secret_key.get_secret_value(),
                    feed=self._feed,
                    bars_hours=settings.bars_backfill_lookback_hours if settings.enable_bars_backfill else None,
                    trades_hours=settings.trades_backfill_lookback_hours if settings.enable_trades_backfill else None,
                    trades_most=settings.trades_backfill_max_records,
                ),
                account=account,
                intake=intake,
                clock=self._clock,
                symbols=lambda: self.session.subscriptions.chosen,
                flush=self._flush,
                tell=self._tell,
            )
        if self.universe.symbols:
            self._want(self.universe.symbols)


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
            ca_file=settings.kafka_ca_file,
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
    health = health_app(
        service="torghut-ws",
        readiness=forwarder.readiness,
        registry=forwarder.registry,
        is_alive=forwarder.is_alive,
    )
    health_binding = Binding(port=settings.health_port, variable="HEALTH_PORT", host=settings.http_host)
    metrics_binding = Binding(port=settings.metrics_port, variable="METRICS_PORT", host=settings.http_host)
    async with serving(health, health_binding) as health_port:
        if settings.metrics_port == settings.health_port != 0:
            if on_ready is not None:
                on_ready(health_port, health_port)
            await forwarder.run(stop or asyncio.Event())
        else:
            metrics = health_app(
                service="torghut-ws-metrics", readiness=forwarder.readiness, registry=forwarder.registry
            )
            async with serving(metrics, metrics_binding) as metrics_port:
                if on_ready is not None:
                    on_ready(health_port, metrics_port)
                await forwarder.run(stop or asyncio.Event())
    if kafka is None:
        await opened.close()
