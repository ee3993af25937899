"""Where a group and its partitions stand, asked by somebody who does not read them himself."""

from __future__ import annotations

import asyncio
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


class PartitionEnds:
    """Looks from a position on whether a committed record follows; markers of transactions are none.

    Holds one connection between the looks, and no place in any group. Not for use from two tasks at once.
    """

    def __init__(self, address: KafkaAddress) -> None:
        self._address = address
        self._consumer: Any = None

    async def is_at_end(self, partition: TopicPartition, position: int) -> bool:
        """Tell whether nothing is to be read at `position` or after it; a broker that does not answer says no."""
        at = _TopicPartition(*partition)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                if self._consumer is None:
                    self._consumer = AIOKafkaConsumer(
                        **connection_options(self._address), isolation_level="read_committed", fetch_max_wait_ms=100
                    )
                    await self._consumer.start()
                self._consumer.assign([at])
                self._consumer.seek(at, position)
                if await self._consumer.getmany(at, timeout_ms=int(_WAIT_SECONDS * 1000), max_records=1):
                    return False
                end = self._consumer.last_stable_offset(at)
                if end is None:
                    end = self._consumer.highwater(at)
                return end is not None and await self._consumer.position(at) >= end
        except (errors.KafkaError, OSError, TimeoutError):
            await self.close()
            return False

    async def close(self) -> None:
        """Close the connection, if there is one."""
        consumer, self._consumer = self._consumer, None
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
