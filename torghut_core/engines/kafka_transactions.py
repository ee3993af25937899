"""Transactions that begin before their records are there: what of aiokafka's has no public name.

A transaction is five requests: which partitions it will touch, which group, the records, the group's offsets, the end. A
broker that stores the first records or offsets of a transaction asks the coordinator about it, for one of them at a time.
Where a transaction is known to be near, the partitions, the group and the offsets as they stand go ahead; when its records
come, they and the offsets that replace the first ones go out together.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import AIOKafkaProducer

from torghut_core.errors import EngineUnavailableError

_NAMES = ("maybe_add_partition_to_txn", "txn_partitions", "is_fatal_error", "wait_for_transaction_end")


class EarlyTransaction:
    """What was begun ahead on one producer, over the partitions that its last transaction with records touched.

    Raises EngineUnavailableError for another client than it was written for.
    """

    def __init__(self, producer: AIOKafkaProducer) -> None:
        manager: Any = getattr(producer, "_txn_manager", None)
        for name in _NAMES:
            if not hasattr(manager, name):
                raise EngineUnavailableError(
                    f"the installed aiokafka has no {name}", hint="install the version that constraints.txt names"
                )
        self._producer = producer
        self._manager = manager
        self._partitions: frozenset[Any] = frozenset()
        self._beginning: asyncio.Task[None] | None = None
        self._began_at = 0.0

    @property
    def is_fatal(self) -> bool:
        """Whether the producer can do no more than close."""
        return bool(self._manager.is_fatal_error())

    @property
    def age(self) -> float:
        """Seconds since it was begun; negative when none was."""
        return -1.0 if self._beginning is None else time.monotonic() - self._began_at

    def begin(self, commit: Callable[[], Awaitable[None]]) -> None:
        """Begin, send the offsets, and do not wait; nothing before the first transaction or during one."""
        if self._beginning is None and self._partitions and not self.is_fatal:
            self._began_at = time.monotonic()
            self._beginning = asyncio.create_task(self._begin(commit))

    async def _begin(self, commit: Callable[[], Awaitable[None]]) -> None:
        await self._producer.begin_transaction()
        for at in self._partitions:
            self._manager.maybe_add_partition_to_txn(at)
        await commit()

    async def take(self) -> bool:
        """Return whether a transaction was begun, when the requests sent ahead are answered; it is the caller's then.

        Raises what they failed with.
        """
        beginning, self._beginning = self._beginning, None
        if beginning is None:
            return False
        await beginning
        return True

    def raise_failure(self) -> None:
        """Raise what the transaction under way failed with, if it did."""
        waiter = self._manager.wait_for_transaction_end()
        if waiter.done():
            waiter.result()

    def remember(self) -> None:
        """Take note of the partitions that the transaction under way touches, if it has any: offsets alone touch none."""
        self._partitions = frozenset(self._manager.txn_partitions) or self._partitions
