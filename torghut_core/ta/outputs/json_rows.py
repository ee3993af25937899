"""Envelopes of many rows at once: orjson writes the numbers of all rows, a kernel puts the text around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numba import njit
from numpy.typing import NDArray

from torghut_core.engines.byte_column import ByteColumn

_COMMA, _OPEN, _CLOSE, _DOT = b",[]."


class Pieces:
    """Texts to choose from: `index[row]` says which one a row takes."""

    def __init__(self, texts: Sequence[bytes], index: NDArray[np.int64]) -> None:
        self.data = np.frombuffer(b"".join(texts) or b"\0", np.uint8)
        self.ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
        self.index = index

    def size(self) -> int:
        """Return how many bytes all rows take together."""
        lengths = np.diff(self.ends, prepend=0)
        return int(lengths[self.index].sum())


def encode_rows(
    heads: Sequence[Pieces], names: Sequence[str], values: NDArray[np.float64], integer: Sequence[bool], tail: bytes
) -> ByteColumn:
    """Return one text per row: its heads, `"name":value` for each column of `values` (shape (n, k)), and `tail`.

    Numbers are the shortest that read back as the same double; what is not finite is null. Columns marked `integer`
    hold whole numbers below 10¹⁵ and are written without a fraction.
    """
    count = len(values)
    if count == 0:
        return ByteColumn.of([])
    numbers = np.frombuffer(orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY), np.uint8)
    labels = Pieces([f'{"," if at else ""}"{name}":'.encode() for at, name in enumerate(names)], np.arange(len(names)))
    total = sum(head.size() for head in heads) + len(numbers) + count * (len(labels.data) + len(tail))
    out = np.empty(total, np.uint8)
    ends = np.empty(count, np.int64)
    first, second, third = ((head.data, head.ends, head.index) for head in heads)
    _splice(
        (first, second, third),
        (labels.data, labels.ends, labels.index),
        numbers,
        np.asarray(integer, np.bool_),
        np.frombuffer(tail, np.uint8),
        out,
        ends,
    )
    return ByteColumn.packed(out[: ends[-1]], ends)


@njit(cache=True, nogil=True)
def _put(out: Any, at: Any, pieces: Any, row: int) -> Any:
    data, ends, index = pieces
    which = index[row]
    start = np.uint64(ends[which - 1]) if which > 0 else np.uint64(0)
    length = np.uint64(ends[which]) - start
    for place in range(length):
        out[at + place] = data[start + place]
    return at + length


@njit(cache=True, nogil=True)
def _splice(heads: Any, labels: Any, numbers: Any, integer: Any, tail: Any, out: Any, ends: Any) -> None:  # noqa: PLR0917
    # Unsigned places are not looked at for being negative, which is most of the cost of a loop over bytes.
    one = np.uint64(1)
    at, read = np.uint64(0), one  # past the outer bracket
    for row in range(len(ends)):
        for head in heads:
            at = _put(out, at, head, row)
        read += one  # past the row's bracket
        for column in range(len(integer)):
            at = _put(out, at, labels, column)
            start = read
            while numbers[read] != _COMMA and numbers[read] != _CLOSE:
                read += one
            end = read
            if integer[column]:
                end = start
                while end < read and numbers[end] != _DOT:
                    end += one
            for place in range(end - start):
                out[at + place] = numbers[start + place]
            at += end - start
            read += one  # past the comma, or the row's bracket
        for place in range(np.uint64(len(tail))):
            out[at + place] = tail[place]
        at += np.uint64(len(tail))
        ends[row] = at
        read += one  # past the comma between rows


def warm_up() -> None:
    """Compile the kernel, or load it from the cache."""
    one = np.zeros(1, np.int64)
    encode_rows([Pieces([b"a"], one)] * 3, ["x"], np.zeros((1, 1)), [True], b"}")
