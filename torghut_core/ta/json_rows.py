"""Envelopes of many rows at once: orjson writes the numbers of all rows, a kernel puts the text around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numba import njit
from numpy.typing import NDArray

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
) -> list[bytes]:
    """Return one text per row: its heads, `"name":value` for each column of `values` (shape (n, k)), and `tail`.

    Numbers are the shortest that read back as the same double; what is not finite is null. Columns marked `integer`
    hold whole numbers below 10¹⁵ and are written without a fraction.
    """
    count = len(values)
    if count == 0:
        return []
    numbers = np.frombuffer(orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY), np.uint8)
    labels = Pieces([f'{"," if at else ""}"{name}":'.encode() for at, name in enumerate(names)], np.arange(len(names)))
    total = sum(head.size() for head in heads) + len(numbers) + count * (len(labels.data) + len(tail))
    out = np.empty(total, np.uint8)
    ends = np.empty(count, np.int64)
    first, second, third = heads
    _splice(
        (first.data, first.ends, first.index),
        (second.data, second.ends, second.index),
        (third.data, third.ends, third.index),
        (labels.data, labels.ends, labels.index),
        numbers,
        np.asarray(integer, np.bool_),
        np.frombuffer(tail, np.uint8),
        out,
        ends,
    )
    text, start, rows = out[: ends[-1]].tobytes(), 0, []
    for end in ends.tolist():
        rows.append(text[start:end])
        start = end
    return rows


@njit(cache=True, nogil=True)
def _put(out: Any, at: int, pieces: Any, row: int) -> int:
    data, ends, index = pieces
    which = index[row]
    start = ends[which - 1] if which > 0 else 0
    for place in range(start, ends[which]):
        out[at] = data[place]
        at += 1
    return at


@njit(cache=True, nogil=True)
def _splice(
    first: Any, second: Any, third: Any, labels: Any, numbers: Any, integer: Any, tail: Any, out: Any, ends: Any
) -> None:
    at, read = 0, 1  # past the outer bracket
    for row in range(len(ends)):
        at = _put(out, at, first, row)
        at = _put(out, at, second, row)
        at = _put(out, at, third, row)
        read += 1  # past the row's bracket
        for column in range(len(integer)):
            at = _put(out, at, labels, column)
            is_fraction = False
            while numbers[read] != _COMMA and numbers[read] != _CLOSE:
                is_fraction |= integer[column] and numbers[read] == _DOT
                if not is_fraction:
                    out[at] = numbers[read]
                    at += 1
                read += 1
            read += 1  # past the comma, or the row's bracket
        for place in range(len(tail)):
            out[at] = tail[place]
            at += 1
        ends[row] = at
        read += 1  # past the comma between rows


def warm_up() -> None:
    """Compile the kernel, or load it from the cache."""
    one = np.zeros(1, np.int64)
    encode_rows([Pieces([b"a"], one)] * 3, ["x"], np.zeros((1, 1)), [True], b"}")
