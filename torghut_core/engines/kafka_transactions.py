"""Transactions that begin before their records are there: what of aiokafka's has no public name.

Two of the five requests of a transaction, one after the other, tell the coordinator which partitions and which group it
will touch. They need no record, so a transaction that is known to be near can have them behind it when its records come.
"""

from __future__ import annotations

import time
from typing import Any

from aiokafka import AIOKafkaProducer

from torghut_core.errors import EngineUnavailableError

_NAMES = ("consumer_group_to_add", "maybe_add_partition_to_txn", "txn_partitions", "_txn_consumer_group")


class EarlyTransaction:
    """What was begun ahead on one producer, over the partitions that its last transaction touched.

    Raises EngineUnavailableError for another client than it was written for.
    """

    def __init__(self, producer: AIOKafkaProducer) -> None:
        manager: Any = getattr(producer, "_txn_manager", None)
        for name in _NAMES:
            if not hasattr(manager, name):
                raise EngineUnavailableError(
                    f"the installed aiokafka has no {name}", hint="install the version that constraints.txt names"
                )
        self._manager = manager
        self._asked: Any = manager.consumer_group_to_add
        self._manager.consumer_group_to_add = self._consumer_group_to_add
        self._group: str | None = None
        self._partitions: frozenset[Any] = frozenset()
        self._began_at: float | None = None

    @property
    def age(self) -> float:
        """Seconds since it was begun; negative when none was."""
        return -1.0 if self._began_at is None else time.monotonic() - self._began_at

    def begin(self, group: str) -> None:
        """Begin, and let the client's sender do the requests; nothing before the first transaction or during one."""
        if self._began_at is not None or not self._partitions or self._manager.is_fatal_error():
            return
        self._manager.begin_transaction()
        self._began_at, self._group = time.monotonic(), group
        for at in self._partitions:
            self._manager.maybe_add_partition_to_txn(at)

    def take(self) -> bool:
        """Return whether a transaction was begun; from here on it is the caller's."""
        was_begun, self._began_at, self._group = self._began_at is not None, None, None
        return was_begun

    def raise_failure(self) -> None:
        """Raise what the transaction under way failed with, if it did."""
        waiter = self._manager.wait_for_transaction_end()
        if waiter.done():
            waiter.result()

    def remember(self) -> None:
        """Take note of the partitions that the transaction under way touches."""
        self._partitions = frozenset(self._manager.txn_partitions)

    def _consumer_group_to_add(self) -> str | None:
        # The client knows a group by the offsets that wait to be sent, and there are none yet.
        if self._group is not None and self._manager._txn_consumer_group is None and self._manager.is_in_transaction():
            return self._group
        found: str | None = self._asked()
        return found
