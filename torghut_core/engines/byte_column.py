"""Many byte strings in one buffer: a sequence like any other, for who writes and reads it as a whole no object each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray


class ByteColumn(Sequence[bytes]):
    """String i is `data[ends[i-1]:ends[i]]`, the first begins at 0; both are 1-d arrays, and nobody changes them."""

    def __init__(self, data: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        self.data = data
        self.ends = ends

    @classmethod
    def of(cls, items: Sequence[bytes]) -> ByteColumn:
        """Return the strings of `items`, copied."""
        ends = np.cumsum(np.fromiter(map(len, items), np.int64, len(items)))
        return cls(np.frombuffer(b"".join(items), np.uint8), ends)

    @classmethod
    def joined(cls, columns: Sequence[ByteColumn]) -> ByteColumn:
        """Return the strings of all columns, one column after the other."""
        if len(columns) == 1:
            return columns[0]
        starts = np.cumsum([0, *(len(column.data) for column in columns[:-1])])
        ends = [column.ends + start for column, start in zip(columns, starts, strict=True)]
        return cls(np.concatenate([column.data for column in columns]), np.concatenate(ends))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        return self.data[self.ends[at - 1] if at else 0 : self.ends[at]].tobytes()

    def __iter__(self) -> Iterator[bytes]:
        text, start = self.data.tobytes(), 0
        for end in self.ends.tolist():
            yield text[start:end]
            start = end
