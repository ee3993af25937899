"""Blocks of records as the JVM packs them for the Python workers of the Flink job."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def block_of(source: int, partition: int, first: int, values: Sequence[bytes]) -> bytes:
    """Return records as the JVM packs them."""
    head = struct.pack("<iiiqq", source, partition, len(values), first, first + len(values))
    lengths = struct.pack(f"<{len(values)}i", *map(len, values))
    return head + lengths + b"".join(value + b"\n" for value in values) + bytes(64)
