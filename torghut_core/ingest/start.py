"""What the forwarder asks Kafka before its first frame: are the topics there, and where do numbers go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from torghut_core import topics
from torghut_core.engines.kafka import Kafka, KafkaUnavailableError
from torghut_core.envelope import Envelope, decode
from torghut_core.errors import InputError
from torghut_core.ingest.settings import IngestSettings
from torghut_core.logs import event
from torghut_core.rfc3339 import parse_ns
from torghut_core.topics import Topic

_logger = logging.getLogger("torghut.ws")
_CHECK_SECONDS = 2.5
_STEP_SECONDS = 20.0
_BARS_LOOKED_AT = 500
_TRADES_LOOKED_AT = 2000
_OTHERS_NUMBERS = 1_000_000
"""Numbers of other symbols may be a little higher than those looked at: a second's worth more is beyond all of them."""


@dataclass
class Found:
    """What Kafka holds."""

    partitions: dict[str, int]
    """Topic to its number of partitions."""
    floor: int = 0
    """A number above every one in the topics."""
    last_minute: dict[str, int] = field(default_factory=dict)
    """The newest minute bar by symbol, nanoseconds."""
    last_trade: dict[str, int] = field(default_factory=dict)
    trades: list[tuple[str, str, int]] = field(default_factory=list)
    """Symbol, exchange and number of the newest trades."""


def wanted_topics(settings: IngestSettings) -> list[Topic]:
    """Return the topics by contract under the names they have here."""
    found = [
        topics.TRADES.renamed(settings.topic_trades),
        topics.QUOTES.renamed(settings.topic_quotes),
        topics.BARS_1M.renamed(settings.topic_bars),
        topics.STATUS.renamed(settings.topic_status),
    ]
    if settings.enable_trade_updates and settings.topic_trade_updates:
        found.append(topics.TRADES.renamed(settings.topic_trade_updates))
    return found


async def look(kafka: Kafka, settings: IngestSettings) -> Found:
    """Make the topics that are missing and read their ends. Raises KafkaUnavailableError, within seconds."""
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await kafka.check()
    except TimeoutError:
        raise KafkaUnavailableError("Kafka does not answer: no metadata within 2.5 s", "kafka_metadata") from None
    try:
        async with asyncio.timeout(_STEP_SECONDS):
            found = Found(await kafka.ensure_topics(wanted_topics(settings)))
            missing = [topic.name for topic in wanted_topics(settings) if not found.partitions.get(topic.name)]
            if missing:
                raise KafkaUnavailableError(f"topics are missing: {', '.join(missing)}", "kafka_metadata")
            counts: Mapping[str, int] = {
                settings.topic_trades: _TRADES_LOOKED_AT if settings.enable_trades_backfill else 1,
                settings.topic_bars: _BARS_LOOKED_AT if settings.enable_bars_backfill else 1,
            }
            for topic, partitions in found.partitions.items():
                for partition in range(partitions):
                    last = await kafka.last_record(topic, partition, counts.get(topic, 1))
                    for value in last.values if last is not None else ():
                        _take(found, value, topic, settings)
    except TimeoutError:
        raise KafkaUnavailableError("Kafka does not say what the topics hold within 20 s", "kafka_metadata") from None
    return found


def _take(found: Found, value: bytes, topic: str, settings: IngestSettings) -> None:
    try:
        envelope = decode(value)
        at_ns = parse_ns(envelope.event_ts)
    except (InputError, ValueError):
        event(_logger, "last_record_unreadable", logging.WARNING, topic=topic)
        return
    found.floor = max(found.floor, envelope.seq + _OTHERS_NUMBERS)
    if topic == settings.topic_bars and envelope.is_final:
        found.last_minute[envelope.symbol] = max(found.last_minute.get(envelope.symbol, 0), at_ns)
    elif topic == settings.topic_trades and "T" not in envelope.payload:
        _take_trade(found, envelope, at_ns)


def _take_trade(found: Found, envelope: Envelope, at_ns: int) -> None:
    found.last_trade[envelope.symbol] = max(found.last_trade.get(envelope.symbol, 0), at_ns)
    exchange, number = envelope.payload.get("x"), envelope.payload.get("i")
    if isinstance(exchange, str) and isinstance(number, int):
        found.trades.append((envelope.symbol, exchange, number))
