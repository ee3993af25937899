"""Many byte strings in one buffer: a sequence like any other, for who writes and reads it as a whole no object each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

PADDING = 64
"""Bytes of zero after the last string of a terminated column: a scan may look that far ahead without asking."""


class ByteColumn(Sequence[bytes]):
    """String i is `data[starts[i]:ends[i]]`; all are 1-d arrays, and nobody changes them.

    When `is_terminated`, a newline that belongs to no string follows each, and `PADDING` zeros the last: a compiled scan
    then needs no test for the end.
    """

    def __init__(
        self,
        data: NDArray[np.uint8],
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
        *,
        is_terminated: bool = False,
    ) -> None:
        self.data = data.view()
        self.data.flags.writeable = False  # one type for compiled code, whoever made the array
        self.starts = starts
        self.ends = ends
        self.is_terminated = is_terminated

    @classmethod
    def packed(cls, data: NDArray[np.uint8], ends: NDArray[np.int64]) -> ByteColumn:
        """Return strings that stand in `data` one directly after the other."""
        return cls(data, np.concatenate([np.zeros(1, np.int64), ends[:-1]])[: len(ends)], ends)

    @classmethod
    def of(cls, items: Sequence[bytes]) -> ByteColumn:
        """Return the strings of `items`, copied."""
        ends = np.cumsum(np.fromiter(map(len, items), np.int64, len(items)))
        return cls.packed(np.frombuffer(b"".join(items), np.uint8), ends)

    @classmethod
    def terminated(cls, items: Sequence[bytes]) -> ByteColumn:
        """Return the strings of `items` terminated; the column itself where it is so already."""
        if isinstance(items, ByteColumn) and items.is_terminated:
            return items
        lengths = np.fromiter(map(len, items), np.int64, len(items))
        ends = np.cumsum(lengths + 1) - 1
        data = np.frombuffer(b"\n".join([*items, bytes(PADDING)]), np.uint8)
        return cls(data, ends - lengths, ends, is_terminated=True)

    @classmethod
    def joined(cls, columns: Sequence[ByteColumn]) -> ByteColumn:
        """Return the strings of all columns, one column after the other; terminated when all are."""
        if len(columns) == 1:
            return columns[0]
        shifts = np.cumsum([0, *(len(column.data) for column in columns[:-1])])
        return cls(
            np.concatenate([column.data for column in columns]),
            np.concatenate([column.starts + shift for column, shift in zip(columns, shifts, strict=True)]),
            np.concatenate([column.ends + shift for column, shift in zip(columns, shifts, strict=True)]),
            is_terminated=all(column.is_terminated for column in columns),
        )

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> ByteColumn: ...
    def __getitem__(self, index: int | slice) -> bytes | ByteColumn:
        if isinstance(index, slice):
            return ByteColumn(self.data, self.starts[index], self.ends[index], is_terminated=self.is_terminated)
        return self.data[self.starts[index] : self.ends[index]].tobytes()

    def __iter__(self) -> Iterator[bytes]:
        text = self.data.tobytes()
        for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True):
            yield text[start:end]
