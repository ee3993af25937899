"""A partition number under Flink, without Flink: blocks in, row blocks out, state in between."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence

import pytest

from tests.fakes.flink_blocks import block_of
from tests.fakes.ta_inputs import Record, market
from tests.fakes.ta_process import Rows, differences, expected_rows
from torghut_core.clock import SystemClock
from torghut_core.engines.kafka import TopicPartition, partition_of
from torghut_core.settings import load
from torghut_core.ta.engine.engine import SOURCES, EngineSettings
from torghut_core.ta.flink.blocks import read_records
from torghut_core.ta.flink.partition import Partition
from torghut_core.ta.settings import TaSettings

SETTINGS = load(TaSettings, {"TA_MAX_OUT_OF_ORDER_MS": "1000", "TA_GROUP_ID": "ta"})
STARTS = dict.fromkeys(SOURCES, 0)


def rows_of(blocks: Iterable[bytes]) -> Rows:
    """Return the rows of row blocks, read as the JVM takes them apart."""
    found: Rows = {}
    for block in blocks:
        at = 0
        while at < len(block):
            topic, count = struct.unpack_from("<ii", block, at)
            lengths = struct.unpack_from(f"<{2 * count}i", block, at + 8)
            key = at + 8 + 8 * count
            value = key + sum(lengths[:count])
            for its_key, its_value in zip(lengths[:count], lengths[count:], strict=True):
                row = json.loads(block[value : value + its_value])
                assert block[key : key + its_key] == row["symbol"].encode()
                name = ("bar", "signal")[topic]
                found[name, row["window"]["size"], row["symbol"], row["seq"]] = row["payload"]
                key, value = key + its_key, value + its_value
            at = value
    return found


class Read:
    """Whoever looks finds everything read."""

    async def is_at_end(self, partition: TopicPartition, position: int) -> bool:
        return True


async def run(records: Sequence[Record], size: int, *, restarts: bool) -> Rows:
    """Return the rows of partitions that get blocks of `size` records, each from its packed state where it restarts."""
    rows: Rows = {}
    for number in range(3):
        partition = Partition(number, SETTINGS, STARTS, SystemClock(), None)
        offsets = dict.fromkeys(SOURCES, 0)
        its = [record for record in records if partition_of(json.loads(record.value)["symbol"].encode(), 3) == number]
        for start in range(0, len(its), size):
            for place, source in enumerate(SOURCES):
                values = [record.value for record in its[start : start + size] if record.source == source]
                if not values:
                    continue
                partition.take(block_of(place, number, offsets[source], values))
                offsets[source] += len(values)
                rows |= rows_of(partition.emit())
            if restarts:
                partition = Partition(number, SETTINGS, STARTS, SystemClock(), partition.packed())
        assert {source: partition.job.inputs[source].position for source in SOURCES} == offsets
        for its_input in partition.job.inputs.values():
            its_input.heard_at -= 2.0
        await partition.look(Read())
        rows |= rows_of(partition.emit())
    return rows


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("size", [50, 5000])
async def test_partition_when_fed_in_blocks_then_the_rows_are_the_engines(size: int, restarts: bool) -> None:
    """Blocks of any size, packed and unpacked between them or not: the rows of an undisturbed run."""
    records = market(30)
    expected = expected_rows(records, EngineSettings(max_out_of_order_ms=1000))
    assert differences(expected, await run(records, size, restarts=restarts)) == []


async def test_partition_when_a_source_is_heard_then_it_is_waited_for_again() -> None:
    """Silence is forgotten with the next record: what was idle once must not close windows without its quotes."""
    partition = Partition(0, SETTINGS, STARTS, SystemClock(), None)
    for its_input in partition.job.inputs.values():
        its_input.heard_at -= 2.0
    await partition.look(Read())
    assert partition.idle == {"trades", "quotes", "bars"}
    quotes = [record.value for record in market(1) if record.source == "quotes"]
    partition.take(block_of(SOURCES.index("quotes"), 0, 0, quotes))
    assert partition.idle == {"trades", "bars"}


def test_record_block_when_its_length_does_not_fit_then_it_is_refused() -> None:
    """A block that was cut is an error, never fewer records."""
    block = block_of(0, 0, 0, [b"abc", b""])
    assert list(read_records(block).values) == [b"abc", b""]
    with pytest.raises(ValueError, match="do not fit their lengths"):
        read_records(block[:-1])
