"""A fetch read in columns holds what the client's own reader finds in it, record by record."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from torghut_core.engines import kafka_columns
from torghut_core.engines.kafka import Batch
from torghut_core.engines.kafka_columns import FetchedBytes, FetchedColumns

AT = TopicPartition("torghut.trades.v1", 1)
_KEYS = st.none() | st.binary(max_size=12)
_VALUES = st.none() | st.binary(max_size=300) | st.just(b"x" * 5000)
_HEADERS = st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=5)), max_size=2)
_RECORDS = st.lists(st.tuples(_KEYS, _VALUES, _HEADERS, st.integers(0, 1 << 41)), min_size=1, max_size=6)
_BATCHES = st.lists(
    st.tuples(_RECORDS, st.sampled_from([0, 1, 2, 3, 4]), st.sampled_from(["plain", "transaction", "aborted"])),
    max_size=5,
)


def _batch(
    first_offset: int,
    records: list[tuple[bytes | None, bytes | None, list[Any], int]],
    codec: int = 0,
    *,
    producer: int = -1,
    is_control: bool = False,
) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec, 1 if producer >= 0 else 0, producer, 0, 0, 1 << 20)
    for delta, (key, value, headers, timestamp) in enumerate(records):
        builder.append(delta, timestamp=timestamp, key=key, value=value, headers=headers)
    data = bytearray(builder.build())
    if is_control:
        data[22] |= 0x20
        struct.pack_into(">I", data, 17, calc_crc32c(bytes(data[21:])))
    struct.pack_into(">q", data, 0, first_offset)
    return bytes(data)


def _marker(first_offset: int, producer: int, *, is_abort: bool) -> bytes:
    key = struct.pack(">hh", 0, 0 if is_abort else 1)
    return _batch(first_offset, [(key, b"\0" * 6, [], 0)], producer=producer, is_control=True)


def _fetch(batches: list[tuple[Any, int, str]]) -> tuple[bytes, list[tuple[int, int]]]:
    data, aborted, offset = b"", [], 100
    for number, (records, codec, kind) in enumerate(batches):
        producer = -1 if kind == "plain" else number
        data += _batch(offset, records, codec, producer=producer)
        if kind == "aborted":
            aborted.append((producer, offset))
        offset += len(records) + 3  # compaction left a gap
        if producer >= 0:
            data += _marker(offset - 2, producer, is_abort=kind == "aborted")
    return data, aborted


def _columns(data: bytes, aborted: list[tuple[int, int]], first: int) -> FetchedColumns:
    return FetchedColumns(AT, FetchedBytes(data), aborted, first, None, kafka_columns.COLUMNS, True, 1)


@settings(max_examples=150, deadline=None)
@given(batches=_BATCHES, first=st.integers(95, 115), most=st.integers(1, 9), cut=st.integers(0, 40))
def test_columns_when_batches_are_of_every_kind_then_as_the_client_reads_them(
    batches: list[Any], first: int, most: int, cut: int
) -> None:
    """Codecs, headers, nulls, aborted transactions, gaps, a cut end, an offset in the middle: the same records."""
    data, aborted = _fetch(batches)
    data = data[: len(data) - cut] if cut < 40 else data
    client = kafka_columns._PartitionRecords(AT, FetchedBytes(data), aborted, first, None, None, True, 1)
    expected = [(each.offset, each.timestamp, each.key, each.value or b"") for each in client if each.offset >= first]
    columns, found, sizes = _columns(data, aborted, first), [], []
    while not columns.is_drained:
        part: Batch = columns.take(most)
        sizes.append(len(part))
        found += list(zip(part.offsets, part.timestamps_ms, part.keys, part.values, strict=True))
    assert found == expected
    assert columns.next_fetch_offset == client.next_fetch_offset
    assert all(size <= most for size in sizes)


def test_columns_when_a_byte_is_damaged_then_refused_and_the_rest_is_fetched_again() -> None:
    """A wrong checksum raises, and nothing behind it is given out in its place."""
    records = [(b"k", b"value", [], 1)]
    data = bytearray(_batch(0, records) + _batch(1, records))
    data[70] ^= 1
    columns = _columns(bytes(data), [], 0)
    with pytest.raises(CorruptRecordException):
        columns.take(None)
    assert (columns.is_drained, columns.next_fetch_offset) == (True, 0)


@settings(max_examples=150, deadline=None)
@given(place=st.integers(57, 110), byte=st.integers(0, 255))
def test_columns_when_lengths_inside_a_batch_lie_then_nothing_outside_it_is_read(place: int, byte: int) -> None:
    """With the checksum made to fit, a damaged batch is refused or read within its own bytes."""
    data = bytearray(_batch(0, [(b"key", b"value" * 5, [("h", b"v")], 5), (None, b"w", [], 6)]))
    place = min(place, len(data) - 1)
    data[place] = byte
    struct.pack_into(">I", data, 17, calc_crc32c(bytes(data[21:])))
    columns = _columns(bytes(data), [], 0)
    try:
        found = columns.take(None)
    except CorruptRecordException:
        return
    assert sum(map(len, found.values)) <= len(data)


def test_columns_when_another_consumer_is_in_the_process_then_it_reads_as_ever() -> None:
    """Only who asks for columns gets them."""
    kafka_columns.install()
    data = _batch(0, [(b"k", b"v", [], 1)])
    records = fetcher.PartitionRecords(AT, fetcher.MemoryRecords(data), [], 0, None, None, True, 0)
    assert [(record.topic, record.key, record.value) for record in records] == [(AT.topic, b"k", b"v")]
