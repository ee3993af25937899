"""Kafka itself, by aiokafka: what a group has committed and from when on topics are held. Reads; joins no group."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torghutctl.errors import UpstreamError

_RETRY_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class GroupAnswer:
    """What the brokers say of a consumer group and of topics."""

    has_offsets: bool
    """Whether the group has committed offsets anywhere."""
    held_since_ms: Mapping[str, int | None]
    """Per topic, the latest of its partitions' first record times; None where nothing was ever removed."""


def connection(process: Mapping[str, str], prefix: str = "TA_KAFKA_") -> dict[str, Any] | None:
    """Return the client's options by the runtime's own variables, None where no broker is named."""
    bootstrap = process.get(f"{prefix}BOOTSTRAP", "")
    if not bootstrap or bootstrap.startswith("embedded:"):
        return None
    protocol = process.get(f"{prefix}SECURITY", "SASL_PLAINTEXT")
    options: dict[str, Any] = {"bootstrap_servers": bootstrap, "security_protocol": protocol}
    if protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": process.get(f"{prefix}SASL_MECH", "SCRAM-SHA-512"),
            "sasl_plain_username": process.get(f"{prefix}USERNAME", "torghut-ws"),
            "sasl_plain_password": process.get(f"{prefix}PASSWORD", ""),
        }
    if protocol.endswith("SSL"):
        options["ssl_context"] = ssl.create_default_context()
    return options


def ask(options: Mapping[str, Any], group: str, topics: Sequence[str], *, seconds: float) -> GroupAnswer:
    """Return what the brokers say. Raises UpstreamError when they do not, within `seconds`."""
    from aiokafka.errors import KafkaError

    timeout_ms = max(1000, int(seconds * 1000))
    try:
        return asyncio.run(
            asyncio.wait_for(_ask({**options, "request_timeout_ms": timeout_ms}, group, topics), seconds)
        )
    except (KafkaError, OSError, TimeoutError, ValueError, TypeError) as error:
        raise UpstreamError(
            f"Kafka at {options['bootstrap_servers']}: no answer ({type(error).__name__})",
            hint="check TA_KAFKA_BOOTSTRAP, its security variables and the user's rights",
        ) from error


async def _ask(options: dict[str, Any], group: str, topics: Sequence[str]) -> GroupAnswer:
    from aiokafka.admin import AIOKafkaAdminClient

    admin = AIOKafkaAdminClient(**options)
    try:
        await admin.start()
        committed = await _committed(admin, group)
        described = await admin.describe_topics(list(topics))
    finally:
        await admin.close()
    partitions = {item["topic"]: [part["partition"] for part in item.get("partitions", [])] for item in described}
    for topic in topics:
        if not partitions.get(topic):
            raise ValueError(f"{topic}: no such topic")
    return GroupAnswer(
        has_offsets=any(item.offset >= 0 for item in committed.values()),
        held_since_ms={topic: await _held_since(options, topic, partitions[topic]) for topic in topics},
    )


async def _committed(admin: Any, group: str) -> Mapping[Any, Any]:
    from aiokafka.errors import GroupCoordinatorNotAvailableError, GroupLoadInProgressError

    while True:
        try:
            committed: Mapping[Any, Any] = await admin.list_consumer_group_offsets(group)
            return committed
        except (GroupCoordinatorNotAvailableError, GroupLoadInProgressError):
            # A cluster that never had a group makes its offsets topic now; the caller's deadline ends this.
            await asyncio.sleep(_RETRY_SECONDS)


async def _held_since(options: dict[str, Any], topic: str, partitions: Sequence[int]) -> int | None:
    from aiokafka import AIOKafkaConsumer, TopicPartition

    consumer = AIOKafkaConsumer(**options, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest")
    places = [TopicPartition(topic, number) for number in partitions]
    times: list[int] = []
    try:
        await consumer.start()
        first, last = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        if any(0 < first[place] == last[place] for place in places):
            times.append(time.time_ns() // 1_000_000)  # everything there was is gone: held from now on
        for place in (place for place in places if 0 < first[place] < last[place]):
            consumer.assign([place])
            consumer.seek(place, first[place])
            times.append((await consumer.getone(place)).timestamp)
    finally:
        await consumer.stop()
    return max(times, default=None)
