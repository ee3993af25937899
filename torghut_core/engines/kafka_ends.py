"""Where a group and its partitions stand, asked by somebody who does not read them himself."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, errors
from aiokafka import TopicPartition as _TopicPartition

from torghut_core.engines.kafka import KafkaAddress, TopicPartition
from torghut_core.engines.kafka_cluster import connection_options, translate

_WAIT_SECONDS = 0.2
_ANSWER_SECONDS = 5.0
_LOOK_SECONDS = 30.0
_GOOD_SECONDS = 0.4


class PartitionEnds:
    """Looks whether a committed record follows a position; markers of transactions are none.

    The ends of all partitions that were ever asked about come with one request, and are good for a moment. Only a position
    before the end is looked at itself: a record may stand there, or markers alone. Holds one connection between the looks,
    and no place in any group. Not for use from two tasks at once.
    """

    def __init__(self, address: KafkaAddress) -> None:
        self._address = address
        self._consumer: Any = None
        self._asked: set[TopicPartition] = set()
        self._ends: dict[TopicPartition, int] = {}
        self._looked_at = -math.inf
        self._markers: dict[TopicPartition, tuple[int, int]] = {}
        """Position and end between which there was no record."""

    async def is_at_end(self, partition: TopicPartition, position: int) -> bool:
        """Tell whether nothing is to be read at `position` or after it; a broker that does not answer says no."""
        self._asked.add(partition)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                end = await self._end(partition)
                if position >= end or self._markers.get(partition) == (position, end):
                    return True
                is_at_end = await self._has_nothing(partition, position)
                if is_at_end:
                    self._markers[partition] = position, end
                return is_at_end
        except (errors.KafkaError, OSError, TimeoutError):
            await self.close()
            return False

    async def _end(self, partition: TopicPartition) -> int:
        if partition not in self._ends or time.monotonic() - self._looked_at > _GOOD_SECONDS:
            if self._consumer is None:
                self._consumer = AIOKafkaConsumer(
                    **connection_options(self._address),
                    isolation_level="read_committed",
                    fetch_max_wait_ms=100,
                    max_partition_fetch_bytes=4096,
                )
                await self._consumer.start()
            found = await self._consumer.end_offsets([_TopicPartition(*at) for at in self._asked])
            self._ends = {TopicPartition(*at): end for at, end in found.items()}
            self._looked_at = time.monotonic()
        return self._ends[partition]

    async def _has_nothing(self, partition: TopicPartition, position: int) -> bool:
        at, consumer = _TopicPartition(*partition), self._consumer
        consumer.assign([at])
        try:
            consumer.seek(at, position)
            if await consumer.getmany(at, timeout_ms=int(_WAIT_SECONDS * 1000), max_records=1):
                return False
            stable = consumer.last_stable_offset(at)
            if stable is None:
                stable = consumer.highwater(at)
            return stable is not None and bool(await consumer.position(at) >= stable)
        finally:
            consumer.assign([])

    async def close(self) -> None:
        """Close the connection, if there is one."""
        consumer, self._consumer = self._consumer, None
        self._ends.clear()
        if consumer is not None:
            try:
                await asyncio.wait_for(consumer.stop(), _ANSWER_SECONDS)
            except (errors.KafkaError, OSError, TimeoutError):
                return


@dataclass(frozen=True)
class Standing:
    """Where a group and the log stand in a partition: the group's committed offset, the earliest offset, and the end."""

    committed: int | None
    earliest: int
    end: int


async def standings(
    address: KafkaAddress, group: str, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, Standing]:
    """Return where a group stands, without joining it. Raises KafkaUnavailableError."""
    asked = [_TopicPartition(*at) for at in partitions]
    consumer = AIOKafkaConsumer(**connection_options(address), group_id=group, enable_auto_commit=False)
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            try:
                await consumer.start()
                consumer.assign(asked)
                first, end = await consumer.beginning_offsets(asked), await consumer.end_offsets(asked)
                return {TopicPartition(*at): Standing(await consumer.committed(at), first[at], end[at]) for at in asked}
            finally:
                await consumer.stop()
    except (errors.KafkaError, OSError, TimeoutError) as error:
        raise translate(error, "asking for offsets") from error
