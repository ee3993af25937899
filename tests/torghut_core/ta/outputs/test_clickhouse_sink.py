"""The sink against a real engine: schema made and verified, batches kept until ClickHouse takes them."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from tests.fakes.ta_inputs import START, Run, quote, trade
from torghut_core.backoff import Backoff
from torghut_core.engines.clickhouse import ClickHouse, ClickHouseError, Trouble
from torghut_core.ta.outputs.clickhouse_sink import (
    Batching,
    SchemaError,
    SchemaOptions,
    TableWriter,
    create_schema,
    verify_schema,
)
from torghut_core.ta.outputs.rows import COLUMNS, MICROBARS, SIGNALS, TableRows, by_days, to_native, to_tables

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("chdb")]
HERE = SchemaOptions(cluster=None, is_simulated=True)
LIVE = SchemaOptions(cluster=None, is_simulated=False)


@pytest.fixture
def clickhouse(engine: ClickHouse) -> ClickHouse:
    """The engine with no database."""
    engine.command("DROP DATABASE IF EXISTS torghut")
    return engine


def _tables(ingest_ms: int = 1_780_000_000_000) -> list[TableRows]:
    run = Run()
    run.feed([quote("A", 0.1, 9, 10), trade("A", 0.5, 10, 0), trade("B", 0.5, 7, 1.5)])
    return [table for block in run.engine.finish() for table in to_tables(block, ingest_ms)]


@pytest.mark.parametrize("options", [HERE, LIVE])
def test_schema_when_created_then_verified_and_creating_again_changes_nothing(
    clickhouse: ClickHouse, options: SchemaOptions
) -> None:
    """What `create_schema` makes passes `verify_schema`, with and without a TTL."""
    create_schema(clickhouse, options)
    made = clickhouse.query("SELECT name, engine_full FROM system.tables WHERE database = 'torghut' ORDER BY name")
    create_schema(clickhouse, options)
    verify_schema(clickhouse, options)
    again = clickhouse.query("SELECT name, engine_full FROM system.tables WHERE database = 'torghut' ORDER BY name")
    assert [row["name"] for row in made] == ["ta_microbars", "ta_signals"]
    assert ["TTL" in row["engine_full"] for row in made] == [not options.is_simulated] * 2
    assert again == made


WRONG = {
    "engine": ("ENGINE = ReplacingMergeTree(ingest_ts)", "ENGINE = MergeTree", "engine is 'MergeTree'"),
    "version": ("ReplacingMergeTree(ingest_ts)", "ReplacingMergeTree(seq)", "version column is False"),
    "key": ("ORDER BY (symbol, window_size, event_ts)", "ORDER BY (symbol, event_ts)", "sorting key is"),
    "type": ("`close` Float64", "`close` Float32", "column close is 'Float32', must be 'Float64'"),
    "nullable": ("`macd` Nullable(Float64)", "`macd` Float64", "column macd is 'Float64', must be 'Nullable(Float64)'"),
    "partition": ("PARTITION BY toDate(event_ts)", "PARTITION BY toYYYYMM(event_ts)", "partition key is"),
}


@pytest.mark.parametrize("name", WRONG)
def test_schema_when_a_table_is_otherwise_then_the_difference_is_named(clickhouse: ClickHouse, name: str) -> None:
    """IF NOT EXISTS never repairs, so the difference is refused by table and name."""
    create_schema(clickhouse, HERE)
    said, instead, expected = WRONG[name]
    statement = str(clickhouse.query("SHOW CREATE TABLE torghut.ta_signals")[0]["statement"])
    assert said in statement
    clickhouse.command("DROP TABLE torghut.ta_signals")
    clickhouse.command(statement.replace(said, instead))
    with pytest.raises(SchemaError, match=r"torghut\.ta_signals") as caught:
        verify_schema(clickhouse, HERE)
    assert expected in str(caught.value)


def test_schema_when_a_column_a_table_or_the_ttl_is_missing_then_refused(clickhouse: ClickHouse) -> None:
    """A missing column is named; so are a missing TTL and a missing table."""
    create_schema(clickhouse, HERE)
    with pytest.raises(SchemaError, match="TTL in days is None, must be 30"):
        verify_schema(clickhouse, LIVE)
    clickhouse.command("ALTER TABLE torghut.ta_microbars DROP COLUMN vwap")
    with pytest.raises(SchemaError, match=r"column vwap is None, must be 'Nullable\(Float64\)'"):
        verify_schema(clickhouse, HERE)
    clickhouse.command("DROP TABLE torghut.ta_microbars")
    with pytest.raises(SchemaError, match=r"torghut\.ta_microbars is missing"):
        verify_schema(clickhouse, HERE)


class _TwoReplicas(ClickHouse):
    """The real engine's answers as those of a cluster's two replicas, replicated; the second's go through `changed`."""

    def __init__(self, inner: ClickHouse, changed: Callable[[str, dict[str, Any]], dict[str, Any] | None]) -> None:
        self._inner = inner
        self._changed = changed

    def query(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        asked = re.search(r"clusterAllReplicas\('two', (system\.(\w+))\)", statement)
        assert asked is not None
        rows = self._inner.query(statement.replace(asked[0], asked[1]), parameters)
        for row in rows:
            row |= {name: f"Replicated{row[name]}" for name in ("engine", "engine_full") if name in row}
        second = [self._changed(asked[2], {**row, "replica": "b:9000"}) for row in rows]
        return [*({**row, "replica": "a:9000"} for row in rows), *(row for row in second if row is not None)]


def test_schema_when_one_replica_differs_or_has_no_table_then_refused_and_named(clickhouse: ClickHouse) -> None:
    """A replica that has no row among the tables lacks them, and is not taken for one that is not there."""
    create_schema(clickhouse, HERE)
    cluster = SchemaOptions(cluster="two", is_simulated=True)
    verify_schema(_TwoReplicas(clickhouse, lambda _, row: row), cluster)
    with pytest.raises(SchemaError, match=r"torghut\.ta_microbars on b:9000 is missing"):
        verify_schema(_TwoReplicas(clickhouse, lambda asked, row: row if asked == "one" else None), cluster)
    with pytest.raises(SchemaError, match=r"ta_signals on b:9000: column warm is None, must be 'UInt8'"):
        verify_schema(_TwoReplicas(clickhouse, lambda _, row: None if row.get("name") == "warm" else row), cluster)


class _Refusing(ClickHouse):
    """The real engine behind a door that stays shut for the first attempts."""

    def __init__(self, inner: ClickHouse, refusals: int) -> None:
        self._inner = inner
        self.left = refusals

    def insert(self, table: str, columns: Sequence[str], block: bytes) -> None:
        if self.left:
            self.left -= 1
            raise ClickHouseError(Trouble.DISK_FULL, "an insert")
        self._inner.insert(table, columns, block)


def _writer(clickhouse: ClickHouse, table: str = MICROBARS, *, buffer_rows: int = 1000) -> TableWriter:
    return TableWriter(
        table,
        lambda: clickhouse,
        batching=Batching(rows=100, flush_seconds=0.01, buffer_rows=buffer_rows),
        backoff=Backoff(base=0.001, cap=0.002),
    )


async def test_rows_when_clickhouse_refuses_for_a_while_then_kept_reported_and_written_once(
    clickhouse: ClickHouse,
) -> None:
    """The batch that failed is written when ClickHouse takes it again, and the trouble is told meanwhile."""
    create_schema(clickhouse, HERE)
    refusing = _Refusing(clickhouse, 5)
    writer = _writer(refusing)
    stop = asyncio.Event()
    running = asyncio.create_task(writer.run(stop))
    bars = next(table for table in _tables() if table.table == MICROBARS)
    writer.put(bars)
    troubles = set()
    while writer.written < writer.accepted:
        troubles.add(writer.trouble)
        await asyncio.sleep(0)
    stop.set()
    await running
    assert "clickhouse_disk_full" in troubles
    assert (writer.trouble, writer.retries, writer.waiting_rows) == (None, 5, 0)
    rows = clickhouse.query("SELECT symbol, seq, o, v, vwap, count FROM torghut.ta_microbars ORDER BY symbol")
    assert rows == [
        {"symbol": "A", "seq": START + 1, "o": 10.0, "v": 0.0, "vwap": None, "count": 1},
        {"symbol": "B", "seq": START + 1, "o": 7.0, "v": 1.5, "vwap": 7.0, "count": 1},
    ]


async def test_rows_when_written_again_then_the_later_ingest_time_wins(clickhouse: ClickHouse) -> None:
    """A repeat is idempotent by key: FINAL has one row, the one of the highest ingest_ts."""
    create_schema(clickhouse, HERE)
    writer = _writer(clickhouse, SIGNALS)
    stop = asyncio.Event()
    running = asyncio.create_task(writer.run(stop))
    for ingest_ms in (1_780_000_000_002, 1_780_000_000_001):
        writer.put(next(table for table in _tables(ingest_ms) if table.table == SIGNALS))
    await writer.drained(writer.accepted)
    stop.set()
    await running
    rows = clickhouse.query(
        "SELECT symbol, toUnixTimestamp64Milli(ingest_ts) AS said, imbalance_bid_px AS bid, vwap_w5m, warm"
        " FROM torghut.ta_signals FINAL ORDER BY symbol"
    )
    assert rows == [
        {"symbol": "A", "said": 1_780_000_000_002, "bid": 9.0, "vwap_w5m": None, "warm": 0},
        {"symbol": "B", "said": 1_780_000_000_002, "bid": None, "vwap_w5m": 7.0, "warm": 0},
    ]


async def test_writer_when_its_buffer_is_full_then_it_says_so_and_ends_when_told(clickhouse: ClickHouse) -> None:
    """Memory is bounded: the input pauses; told to stop while ClickHouse refuses, the writer ends."""
    writer = _writer(_Refusing(clickhouse, 10**9), buffer_rows=4)
    bars = next(table for table in _tables() if table.table == MICROBARS)
    writer.put(bars)
    assert not writer.is_full
    writer.put(bars)
    assert writer.is_full
    stop = asyncio.Event()
    running = asyncio.create_task(writer.run(stop))
    while writer.retries < 2:  # the writer has nothing to wait on but itself
        await asyncio.wait([running], timeout=0.001)
    stop.set()
    await asyncio.wait_for(running, 10)
    assert writer.waiting_rows == 4


@pytest.mark.parametrize(
    ("waited", "since_insert", "rows", "due_in"),
    [
        (0.0, 60.0, 1, 0.25),
        (0.0, 0.75, 1, 0.25),
        (0.0, 0.1, 1, 0.65),
        (0.5, 0.05, 1, 0.5),
        (0.0, 0.1, 10, 0.0),
        (None, 60.0, 0, math.inf),
    ],
    ids=["a burst", "the next burst", "one soon after", "never older than it may be", "a whole batch", "nothing"],
)
def test_writer_when_rows_come_then_they_are_due_after_their_burst_and_not_soon_after_the_last(
    clickhouse: ClickHouse, waited: float | None, since_insert: float, rows: int, due_in: float
) -> None:
    """A second's rows are written a quarter of the longest wait after the first of them: one insert a second."""
    batching = Batching(rows=10, flush_seconds=1.0, buffer_rows=1000)
    writer = TableWriter(MICROBARS, lambda: clickhouse, batching=batching, backoff=Backoff(base=0.01, cap=0.05))
    now = time.monotonic()
    writer._last_insert = now - since_insert
    if waited is not None:
        writer._waiting.append((now - waited, _tables()[0]))
        writer.accepted = rows
    due = writer._due()
    assert due == (0.0 if due_in == 0.0 else pytest.approx(now + due_in))


def test_writer_when_each_insert_is_late_then_they_keep_their_place_between_the_bursts(clickhouse: ClickHouse) -> None:
    """An hour of seconds, each written 5 ms after it was due: always a quarter of a second after its rows."""
    batching = Batching(rows=10, flush_seconds=1.0, buffer_rows=1000)
    writer = TableWriter(MICROBARS, lambda: clickhouse, batching=batching, backoff=Backoff(base=0.01, cap=0.05))
    rows = _tables()[0]
    waits = set()
    for second in range(3600):
        writer._waiting.append((float(second), rows))
        due = writer._due()
        waits.add(round(due - second, 6))
        writer._waiting.clear()
        writer._last_insert = due + 0.005
    assert waits == {0.25}


def test_rows_when_they_are_of_many_days_then_no_insert_is_of_more_than_a_server_takes(clickhouse: ClickHouse) -> None:
    """150 days in one batch arrive, where ClickHouse refuses a block of more than a hundred partitions whole."""
    create_schema(clickhouse, HERE)
    run = Run()
    run.feed([trade("A", day * 86_400 + 0.5, 10) for day in range(150)])
    rows = [table for block in run.engine.finish() for table in to_tables(block, 1) if table.table == MICROBARS]
    with pytest.raises(ClickHouseError) as refused:
        clickhouse.insert(MICROBARS, COLUMNS[MICROBARS], to_native(rows))
    assert refused.value.trouble is Trouble.PARTITIONS
    writer = TableWriter(
        MICROBARS,
        lambda: clickhouse,
        batching=Batching(rows=10, flush_seconds=1.0, buffer_rows=1000),
        backoff=Backoff(base=0.01, cap=0.01),
    )
    writer._insert(rows)
    found = clickhouse.query("SELECT count() AS n, uniq(toDate(event_ts)) AS days FROM torghut.ta_microbars")
    assert [(row["n"], row["days"]) for row in found] == [(150, 150)]
    sizes = [sorted(len(np.unique(table.end_seconds // 86_400)) for table in part) for part in by_days(rows)]
    assert sizes == [[50], [50], [50]]
