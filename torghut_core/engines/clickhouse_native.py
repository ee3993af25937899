"""ClickHouse's Native format, written from numpy arrays: one block of columns, no value touched by Python.

Source: https://clickhouse.com/docs/interfaces/formats/Native; the LowCardinality layout is that of ClickHouse's
src/DataTypes/Serializations/SerializationLowCardinality.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LOW_CARDINALITY_VERSION = (1).to_bytes(8, "little")
_HAS_KEYS, _NEW_DICTIONARY = 1 << 9, 1 << 10
_INTEGERS = {"UInt8": "<u1", "UInt32": "<u4", "UInt64": "<u8"}


@dataclass(frozen=True)
class Column:
    """One column of a block: its ClickHouse type and its encoded values."""

    kind: str
    data: bytes


def floats(values: NDArray[np.float64]) -> Column:
    """Return a Float64 column."""
    return Column("Float64", values.astype("<f8").tobytes())


def nullable_floats(values: NDArray[np.float64]) -> Column:
    """Return a Nullable(Float64) column; what is not finite is NULL."""
    is_null = ~np.isfinite(values)
    return Column("Nullable(Float64)", is_null.tobytes() + np.where(is_null, 0.0, values).astype("<f8").tobytes())


def integers(values: NDArray[np.int64], kind: str) -> Column:
    """Return a column of unsigned integers: UInt8, UInt32 or UInt64."""
    return Column(kind, values.astype(_INTEGERS[kind]).tobytes())


def times(milliseconds: NDArray[np.int64], *, is_nullable: bool = False) -> Column:
    """Return a DateTime64(3, 'UTC') column from milliseconds since the epoch."""
    data = milliseconds.astype("<i8").tobytes()
    if is_nullable:
        return Column("Nullable(DateTime64(3, 'UTC'))", bytes(len(milliseconds)) + data)
    return Column("DateTime64(3, 'UTC')", data)


def strings(index: NDArray[np.int64], names: Sequence[str]) -> Column:
    """Return a LowCardinality(String) column: `names[i]` for each i of `index`."""
    used, place = np.unique(index, return_inverse=True)
    width = 0 if len(used) <= 1 << 8 else 1 if len(used) <= 1 << 16 else 2
    keys = b"".join(_text(names[number]) for number in used.tolist())
    flags = width | _HAS_KEYS | _NEW_DICTIONARY
    parts = (
        _LOW_CARDINALITY_VERSION,
        flags.to_bytes(8, "little"),
        len(used).to_bytes(8, "little"),
        keys,
        len(index).to_bytes(8, "little"),
        place.astype(("<u1", "<u2", "<u4")[width]).tobytes(),
    )
    return Column("LowCardinality(String)", b"".join(parts))


def encode_block(columns: Mapping[str, Column], rows: int) -> bytes:
    """Return one block of `rows` rows, to be inserted with FORMAT Native."""
    parts = [_varint(len(columns)), _varint(rows)]
    for name, column in columns.items():
        parts += [_text(name), _text(column.kind), column.data]
    return b"".join(parts)


def _text(text: str) -> bytes:
    data = text.encode()
    return _varint(len(data)) + data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
