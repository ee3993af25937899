"""What a consumer fetched, as columns: record batches parsed by one kernel, with no Python object for a record.

A feed in real time comes in batches of a few dozen records, so what is done once a batch counts as much as what is done
once a record: the batches that one call takes are laid end to end and parsed together.

aiokafka makes two objects of every record it reads, which costs several times what the work on it does. A consumer that
is opened with `value_deserializer=COLUMNS` gets its batches whole instead, through the three names of the client's
fetcher that `install` replaces; every other consumer of the process reads as it always did. Compacted, compressed,
aborted and control batches mean what they mean to the client.

Source: https://kafka.apache.org/documentation/#recordbatch (magic 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import cramjam
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
    0: memoryview,
    1: codec.gzip_decode,
    2: codec.snappy_decode,
    3: cramjam.lz4.decompress,
    4: codec.zstd_decode,
}
_NEWLINE = 10
_SMALLEST_RECORD = 7
"""Bytes: length, attributes, time, offset, key's length, value's length, count of headers."""
_OWN_TIMES = -(1 << 62)
"""In the place of a batch's time: its records have their own."""
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


@dataclass(slots=True)
class _Payload:
    """One batch's records, decompressed, and what its header says of them."""

    records: Any
    """Something with a buffer."""
    first_offset: int
    first_ms: int
    append_ms: int
    """When the log took them, `_OWN_TIMES` where that is not kept."""
    count: int


class FetchedColumns(_PartitionRecords):  # type: ignore[misc]
    """One partition's part of a fetch, taken in columns."""

    def __init__(self, tp: Any, records: FetchedBytes, *rest: Any) -> None:
        super().__init__(tp, records, *rest)
        self._data = memoryview(records.data)
        self._at = 0
        self._rest: Batch | None = None
        """Records that were parsed and not taken yet."""
        self._first: int = self.next_fetch_offset
        """What was asked for; the batch that holds it may begin before it."""
        self._after: int = self._first
        """The offset after the last batch that was looked at."""

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
        batch = self._rest if self._rest is not None else self._next_batches(most)
        self._rest = None
        if most is not None and len(batch) > most:
            batch, self._rest = batch.part(0, most), batch.part(most, len(batch))
            self.next_fetch_offset = self._rest.offsets[0]
        else:
            # After the last record of a compacted batch offsets may be missing: the batch says where the next begins.
            self.next_fetch_offset = self._after
        return batch

    def _next_batches(self, most: int | None) -> Batch:
        """Return the records of the next batches, whole ones, as many as hold `most`."""
        payloads: list[_Payload] = []
        count = 0
        while self._has_batch() and (most is None or count < most):
            payload = self._next_payload()
            if payload is not None:
                payloads.append(payload)
                count += payload.count
        return _parsed(self._tp, payloads, self._first)

    def _has_batch(self) -> bool:
        """Tell whether a whole batch is left; a fetch may end in the middle of one."""
        left = len(self._data) - self._at
        return left >= BEFORE_CRC.size and left >= 12 + BEFORE_CRC.unpack_from(self._data, self._at)[1]

    def _next_payload(self) -> _Payload | None:
        """Return the next batch's records, None when it has none to be read."""
        first_offset, length, _, magic, checksum = BEFORE_CRC.unpack_from(self._data, self._at)
        if magic != 2 or 12 + length < BEFORE_CRC.size + AFTER_CRC.size:
            raise errors.CorruptRecordException(f"{self._tp}: a record batch of format {magic} instead of 2")
        batch = self._data[self._at : self._at + 12 + length]
        self._at += len(batch)
        if self._check_crcs and calc_crc32c(batch[BEFORE_CRC.size :]) != checksum:
            raise errors.CorruptRecordException(f"{self._tp}: invalid checksum at offset {first_offset}")
        attributes, last_delta, first_ms, last_ms, producer, _, _, count = AFTER_CRC.unpack_from(batch, BEFORE_CRC.size)
        self._after = first_offset + last_delta + 1
        records = batch[BEFORE_CRC.size + AFTER_CRC.size :]
        append_ms = last_ms if attributes & _LOG_APPEND_TIME else _OWN_TIMES
        is_control = bool(attributes & _CONTROL)
        if self._isolation_level == fetcher.READ_COMMITTED and producer >= 0:
            self._consume_aborted_up_to(first_offset)
            if is_control and count > 0:
                self._end_transaction(producer, _Payload(records, first_offset, first_ms, append_ms, count))
            if attributes & _TRANSACTIONAL and producer in self._aborted_producers:
                return None
        if is_control:
            return None
        records = _DECODERS[attributes & _COMPRESSION](records)
        if not 0 <= count * _SMALLEST_RECORD <= len(records):
            raise errors.CorruptRecordException(
                f"{self._tp}: {count} records in {len(records)} bytes, which is too little"
            )
        return _Payload(records, first_offset, first_ms, append_ms, count)

    def _end_transaction(self, producer: int, marker: _Payload) -> None:
        if ControlRecord.parse(_parsed(self._tp, [marker], marker.first_offset).keys[0]) == ABORT_MARKER:
            self._aborted_producers.discard(producer)


def _parsed(at: Any, payloads: Sequence[_Payload], first: int) -> Batch:
    """Return the records of one partition's batches, those before offset `first` left out."""
    if not payloads:
        return Batch(at.topic, at.partition, (), (), (), ())
    data = np.frombuffer(bytearray().join([*(its.records for its in payloads), bytes(PADDING)]), np.uint8)
    heads = np.array(list(_heads(payloads)), np.int64)
    columns = np.empty((6, sum(its.count for its in payloads)), np.int64)
    failed = _parse(data, heads, columns)
    if failed >= 0:
        raise errors.CorruptRecordException(
            f"{at}: the record batch at offset {payloads[failed].first_offset} does not hold what its header says"
        )
    if len(columns[0]) and columns[0, 0] < first:
        columns = columns[:, int(np.searchsorted(columns[0], first)) :]
    offsets, times, key_starts, key_ends, starts, ends = columns
    if not len(offsets):
        return Batch(at.topic, at.partition, (), (), (), ())
    low, high = int(offsets[0]), int(offsets[-1])
    return Batch(
        at.topic,
        at.partition,
        range(low, high + 1) if high - low + 1 == len(offsets) else offsets.data,
        times.data,
        NullableBytes(ByteColumn(data, key_starts, key_ends)),
        ByteColumn(data, starts, ends, is_terminated=True),
    )


def _heads(payloads: Sequence[_Payload]) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield for each batch where it ends when they are laid end to end, its count, first offset and times."""
    end = 0
    for its in payloads:
        end += len(its.records)
        yield end, its.count, its.first_offset, its.first_ms, its.append_ms


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
def _parse(data: Any, heads: Any, columns: Any) -> int:
    """Fill `columns`, shape (6, n), from batches laid end to end.

    Return −1, or the place of a batch that is not what its head says. The byte after each value, where the record's
    headers begin, becomes the newline that terminates it; headers are not read. A null key starts at −1, a null value is
    empty.
    """
    offsets, times, key_starts, key_ends, starts, ends = (
        columns[0], columns[1], columns[2], columns[3], columns[4], columns[5],
    )  # fmt: skip
    at, row = np.uint64(0), 0
    for number in range(len(heads)):
        size_ = np.uint64(heads[number, 0])
        first_offset, first_ms, append_ms = heads[number, 2], heads[number, 3], heads[number, 4]
        for _ in range(heads[number, 1]):
            length, at = _varint(data, at, size_)
            if at > size_ or length < 2 or length > np.int64(size_ - at):
                return number
            end = at + np.uint64(length)
            time, at = _varint(data, at + np.uint64(1), end)  # past the attributes
            times[row] = first_ms + time if append_ms == _OWN_TIMES else append_ms
            offset, at = _varint(data, at, end)
            offsets[row] = first_offset + offset
            length, at = _varint(data, at, end)
            if at > end or length > np.int64(end - at):
                return number
            key_starts[row] = np.int64(at) if length >= 0 else -1
            at += np.uint64(max(length, 0))
            key_ends[row] = np.int64(at)
            length, at = _varint(data, at, end)
            if at > end or length >= np.int64(end - at):
                return number
            starts[row] = np.int64(at)
            at += np.uint64(max(length, 0))
            ends[row] = np.int64(at)
            data[at] = _NEWLINE
            at = end
            row += 1
        if at != size_:
            return number
    return -1


def warm_up() -> None:
    """Compile the kernel, or load it from the cache."""
    data = np.frombuffer(bytearray(PADDING), np.uint8)
    _parse(data, np.zeros((1, 5), np.int64), np.empty((6, 0), np.int64))
