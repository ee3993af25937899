"""What a consumer fetched, as columns: record batches parsed by one kernel, with no Python object for a record.

aiokafka makes two objects of every record it reads, which costs several times what the work on it does. A consumer that
is opened with `value_deserializer=COLUMNS` gets its batches whole instead, through the three names of the client's
fetcher that `install` replaces; every other consumer of the process reads as it always did. Compacted, compressed,
aborted and control batches mean what they mean to the client.

Source: https://kafka.apache.org/documentation/#recordbatch (magic 2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np
from aiokafka import codec, errors
from aiokafka.consumer import fetcher
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from numba import njit
from numpy.typing import NDArray

from torghut_core.engines.byte_column import PADDING, ByteColumn
from torghut_core.engines.kafka import Batch
from torghut_core.engines.kafka_batches import AFTER_CRC, BEFORE_CRC
from torghut_core.errors import EngineUnavailableError

COLUMNS = object()
"""Given as `value_deserializer`, asks for columns."""

_COMPRESSION, _LOG_APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x07, 0x08, 0x10, 0x20
_DECODERS: dict[int, Callable[[Any], Any]] = {
    0: bytes,
    1: codec.gzip_decode,
    2: codec.snappy_decode,
    3: codec.lz4_decode,
    4: codec.zstd_decode,
}
_NEWLINE = 10
_PartitionRecords: Any = fetcher.PartitionRecords
_getall = fetcher.FetchResult.getall
Ints = NDArray[np.int64]


def install() -> None:
    """Let the client's fetcher give columns to who asks for them. Raises EngineUnavailableError for another client."""
    for owner, name in ((fetcher, "MemoryRecords"), (_PartitionRecords, "_consume_aborted_up_to")):
        if not hasattr(owner, name):
            raise EngineUnavailableError(
                f"the installed aiokafka has no {name}", hint="install the version that constraints.txt names"
            )
    fetcher.MemoryRecords = FetchedBytes
    fetcher.PartitionRecords = _partition_records
    fetcher.FetchResult.getall = _getall_columns


class FetchedBytes:
    """The client's `MemoryRecords`, and the bytes behind them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        inner = MemoryRecords(data)
        self.has_next, self.next_batch, self.size_in_bytes = inner.has_next, inner.next_batch, inner.size_in_bytes


def _partition_records(*given: Any) -> Any:
    return FetchedColumns(*given) if COLUMNS in given else _PartitionRecords(*given)


def _getall_columns(self: Any, max_records: int | None = None) -> Any:
    records = self._partition_records
    if not isinstance(records, FetchedColumns):
        return _getall(self, max_records)
    if not self.check_assignment(self._topic_partition):
        return []
    taken = records.take(max_records)
    self._update_position()
    if records.is_drained:
        self._partition_records = None
    return taken


class NullableBytes(Sequence[bytes | None]):
    """Byte strings of which some are null: those that start at −1."""

    def __init__(self, column: ByteColumn) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, index: int) -> bytes | None: ...
    @overload
    def __getitem__(self, index: slice) -> NullableBytes: ...
    def __getitem__(self, index: int | slice) -> bytes | NullableBytes | None:
        if isinstance(index, slice):
            return NullableBytes(self._column[index])
        return None if self._column.starts[index] < 0 else self._column[index]


class _Columns:
    """Records of one batch, or what is left of it."""

    def __init__(self, offsets: Ints, timestamps_ms: Ints, keys: ByteColumn, values: ByteColumn) -> None:
        self.offsets = offsets
        self.timestamps_ms = timestamps_ms
        self.keys = keys
        self.values = values

    def __getitem__(self, rows: slice) -> _Columns:
        return _Columns(self.offsets[rows], self.timestamps_ms[rows], self.keys[rows], self.values[rows])


class FetchedColumns(_PartitionRecords):  # type: ignore[misc]
    """One partition's part of a fetch, taken in columns."""

    def __init__(self, tp: Any, records: FetchedBytes, *rest: Any) -> None:
        super().__init__(tp, records, *rest)
        self._data = memoryview(records.data)
        self._at = 0
        self._rest: _Columns | None = None
        self._after: int = self.next_fetch_offset
        """The offset after the last batch that was parsed."""

    @property
    def is_drained(self) -> bool:
        return self._rest is None and not self._has_batch()

    def take(self, most: int | None) -> Batch:
        """Return the next records, `most` of them at the most.

        Raises CorruptRecordException; what is left of the fetch is then given up, and fetched again from the last position.
        """
        try:
            return self._take(most)
        except errors.CorruptRecordException:
            self._at, self._rest = len(self._data), None
            raise

    def _take(self, most: int | None) -> Batch:
        parts: list[_Columns] = []
        room = most if most is not None else 1 << 62
        while room > 0:
            columns, self._rest = self._rest, None
            if columns is None:
                if not self._has_batch():
                    break
                columns, self._after = self._next_batch()
                if columns is None:
                    self.next_fetch_offset = self._after
                    continue
            part = columns[:room]
            room -= len(part.offsets)
            if len(part.offsets) < len(columns.offsets):
                self._rest = columns[len(part.offsets) :]
                self.next_fetch_offset = int(self._rest.offsets[0])
            else:
                # After the last record of a compacted batch offsets may be missing: the batch says where the next begins.
                self.next_fetch_offset = self._after
            if len(part.offsets):
                parts.append(part)
        return _joined(self._tp.topic, self._tp.partition, parts)

    def _has_batch(self) -> bool:
        """Tell whether a whole batch is left; a fetch may end in the middle of one."""
        left = len(self._data) - self._at
        return left >= BEFORE_CRC.size and left >= 12 + BEFORE_CRC.unpack_from(self._data, self._at)[1]

    def _next_batch(self) -> tuple[_Columns | None, int]:
        """Return the next batch's records, None when it has none to be read, and the offset after it."""
        first_offset, length, _, magic, checksum = BEFORE_CRC.unpack_from(self._data, self._at)
        if magic != 2 or 12 + length < BEFORE_CRC.size + AFTER_CRC.size:
            raise errors.CorruptRecordException(f"{self._tp}: a record batch of format {magic} instead of 2")
        batch = self._data[self._at : self._at + 12 + length]
        self._at += len(batch)
        if self._check_crcs and calc_crc32c(batch[BEFORE_CRC.size :]) != checksum:
            raise errors.CorruptRecordException(f"{self._tp}: invalid checksum at offset {first_offset}")
        attributes, last_delta, first_ms, last_ms, producer, _, _, count = AFTER_CRC.unpack_from(batch, BEFORE_CRC.size)
        after = first_offset + last_delta + 1
        records = batch[BEFORE_CRC.size + AFTER_CRC.size :]
        is_control = bool(attributes & _CONTROL)
        if self._isolation_level == fetcher.READ_COMMITTED and producer >= 0:
            self._consume_aborted_up_to(first_offset)
            if is_control and self._is_abort(records, attributes, count):
                self._aborted_producers.discard(producer)
            if attributes & _TRANSACTIONAL and producer in self._aborted_producers:
                return None, after
        if is_control:
            return None, after
        columns = self._parsed(records, attributes, count)
        columns.offsets += first_offset
        columns.timestamps_ms += first_ms
        if attributes & _LOG_APPEND_TIME:
            columns.timestamps_ms[:] = last_ms
        return columns[int(np.searchsorted(columns.offsets, self.next_fetch_offset)) :], after

    def _is_abort(self, records: memoryview, attributes: int, count: int) -> bool:
        columns = self._parsed(records, attributes, count)
        return count > 0 and ControlRecord.parse(columns.keys[0]) == ABORT_MARKER

    def _parsed(self, records: memoryview, attributes: int, count: int) -> _Columns:
        """Return a batch's records, offsets and times as differences to the batch's first."""
        payload = np.frombuffer(_DECODERS[attributes & _COMPRESSION](records), np.uint8)
        data = np.zeros(len(payload) + PADDING, np.uint8)
        data[: len(payload)] = payload
        offsets, times, key_starts, key_ends, starts, ends = (np.empty(count, np.int64) for _ in range(6))
        if _parse(data, len(payload), offsets, times, key_starts, key_ends, starts, ends) != len(payload):
            raise errors.CorruptRecordException(f"{self._tp}: a record batch does not hold what its header says")
        keys = ByteColumn(data, key_starts, key_ends)
        return _Columns(offsets, times, keys, ByteColumn(data, starts, ends, is_terminated=True))


def _joined(topic: str, partition: int, parts: Sequence[_Columns]) -> Batch:
    if not parts:
        return Batch(topic, partition, (), (), (), ())
    offsets = np.concatenate([part.offsets for part in parts])
    first, last = int(offsets[0]), int(offsets[-1])
    values = ByteColumn.joined([part.values for part in parts])
    # Keys stand in the same bytes as values, and moved as far.
    moved = values.starts - np.concatenate([part.values.starts for part in parts])
    key_starts = np.concatenate([part.keys.starts for part in parts])
    key_ends = np.concatenate([part.keys.ends for part in parts]) + moved
    keys = ByteColumn(values.data, np.where(key_starts < 0, -1, key_starts + moved), key_ends)
    return Batch(
        topic,
        partition,
        range(first, last + 1) if last - first + 1 == len(offsets) else offsets.data,
        np.concatenate([part.timestamps_ms for part in parts]).data,
        NullableBytes(keys),
        values,
    )


@njit(cache=True, nogil=True)
def _varint(data: Any, at: Any, end: Any) -> Any:
    """Return the zigzag varint at `at` and the place after it; a place beyond `end` when it does not fit."""
    raw, shift = np.uint64(0), np.uint64(0)
    while at < end and shift < np.uint64(64):
        byte = np.uint64(data[at])
        at += np.uint64(1)
        raw |= (byte & np.uint64(0x7F)) << shift
        if byte < np.uint64(0x80):
            return np.int64(raw >> np.uint64(1)) ^ -np.int64(raw & np.uint64(1)), at
        shift += np.uint64(7)
    return np.int64(0), end + np.uint64(1)


@njit(cache=True, nogil=True)
def _parse(  # noqa: PLR0917  the columns are the result
    data: Any, size: int, offsets: Any, times: Any, key_starts: Any, key_ends: Any, starts: Any, ends: Any
) -> int:
    """Fill the columns from `size` bytes of records; return where the last one ends, −1 when a length cannot be.

    The byte after each value, where the record's headers begin, becomes the newline that terminates it; headers are not
    read. A null key starts at −1, a null value is empty.
    """
    at, size_ = np.uint64(0), np.uint64(size)
    for row in range(len(offsets)):
        length, at = _varint(data, at, size_)
        if at > size_ or length < 2 or length > np.int64(size_ - at):
            return -1
        end = at + np.uint64(length)
        times[row], at = _varint(data, at + np.uint64(1), end)  # past the attributes
        offsets[row], at = _varint(data, at, end)
        length, at = _varint(data, at, end)
        if at > end or length > np.int64(end - at):
            return -1
        key_starts[row] = np.int64(at) if length >= 0 else -1
        at += np.uint64(max(length, 0))
        key_ends[row] = np.int64(at)
        length, at = _varint(data, at, end)
        if at > end or length >= np.int64(end - at):
            return -1
        starts[row] = np.int64(at)
        at += np.uint64(max(length, 0))
        ends[row] = np.int64(at)
        data[at] = _NEWLINE
        at = end
    return int(at)


def warm_up() -> None:
    """Compile the kernel, or load it from the cache."""
    none = np.empty(0, np.int64)
    _parse(np.zeros(PADDING, np.uint8), 0, none, none, none, none, none, none)
