"""Blocks of records and rows as bytes between the JVM and Python; the other side is `java/`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torghut_core.engines.byte_column import PADDING, ByteColumn
from torghut_core.engines.kafka import Batch
from torghut_core.ta.engine.engine import SOURCES, SourceName

_HEADER = np.dtype([("source", "<i4"), ("partition", "<i4"), ("count", "<i4"), ("first", "<i8"), ("next", "<i8")])


@dataclass(frozen=True)
class RecordBlock:
    """Consecutive records of one source and partition number."""

    source: SourceName
    partition: int
    first_offset: int
    next_offset: int
    values: ByteColumn

    def batch(self, topic: str) -> Batch:
        """Return the block as the engine's job takes it; of the offsets only first and last are known, and needed."""
        return Batch(topic, self.partition, [self.first_offset, self.next_offset - 1], [], [], self.values)


def read_records(block: bytes) -> RecordBlock:
    """Return the records of a block. Raises ValueError when its length does not fit what it says of itself."""
    (head,) = np.frombuffer(block, _HEADER, 1)
    count, start = int(head["count"]), _HEADER.itemsize
    lengths = np.frombuffer(block, "<i4", count, start).astype(np.int64)
    data = np.frombuffer(block, np.uint8, -1, start + 4 * count)
    if int(lengths.sum()) + count + PADDING != len(data):
        raise ValueError(f"a block of {count} records has {len(data)} bytes, which do not fit their lengths")
    ends = np.cumsum(lengths + 1) - 1
    return RecordBlock(
        SOURCES[int(head["source"])],
        int(head["partition"]),
        int(head["first"]),
        int(head["next"]),
        ByteColumn(data, ends - lengths, ends, is_terminated=True),
    )


def write_rows(sections: Iterable[tuple[int, ByteColumn, ByteColumn]]) -> bytes:
    """Return a block of (place of the topic, keys, values)."""
    parts: list[bytes] = []
    for topic, keys, values in sections:
        parts.append(np.array([topic, len(keys)], "<i4").tobytes())
        parts += [_lengths(keys), _lengths(values), _packed(keys), _packed(values)]
    return b"".join(parts)


def _lengths(column: ByteColumn) -> bytes:
    lengths: NDArray[np.int32] = (column.ends - column.starts).astype("<i4")
    return lengths.tobytes()


def _packed(column: ByteColumn) -> bytes:
    """Return the strings one directly after the other."""
    if not len(column):
        return b""
    if (column.starts[1:] == column.ends[:-1]).all():
        return column.data[column.starts[0] : column.ends[-1]].tobytes()
    return b"".join(column)
