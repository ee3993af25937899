"""The forwarder's own records on the status topic: what happened, and every ten seconds how it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from torghut_core.clock import Clock
from torghut_core.engines.byte_column import ByteColumn
from torghut_core.engines.kafka import partition_of
from torghut_core.envelope import Envelope, encode
from torghut_core.ingest.intake import Chunk
from torghut_core.rfc3339 import format_ns

COMPONENT = "ws"


class StatusRecords:
    """Makes records with the component as key and symbol; numbers rise across restarts like every other's."""

    def __init__(self, *, feed: str, clock: Clock, first_sequence: int, partitions: int) -> None:
        self._feed = feed
        self._clock = clock
        self._next = first_sequence
        self._partition = partition_of(COMPONENT.encode(), partitions)

    def record(self, payload: Mapping[str, Any]) -> Chunk:
        """Return a record of `payload` as a chunk."""
        now_ns = self._clock.now_ns()
        value = encode(
            Envelope(
                ingest_ts=format_ns(now_ns),
                event_ts=format_ns(now_ns),
                feed=self._feed,
                channel="status",
                symbol=COMPONENT,
                seq=self._next,
                is_final=True,
                source="ws",
                window=None,
                payload=dict(payload),
            )
        )
        self._next += 1
        return chunk_of("status", self._partition, COMPONENT, value, now_ns)


def chunk_of(channel: str, partition: int, key: str, value: bytes, at_ns: int) -> Chunk:
    """Return one record as a chunk."""
    columns = ByteColumn.of([key.encode()]), ByteColumn.of([value])
    return Chunk(channel, partition, *columns, np.array([-1]), np.array([at_ns]), len(value))
