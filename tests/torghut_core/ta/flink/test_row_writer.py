"""Rows to ClickHouse from a Flink worker: batches by size and age, tried for ever, kept in the state until they are in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.flink_blocks import block_of
from tests.fakes.ta_inputs import market
from torghut_core.backoff import Backoff
from torghut_core.clock import SystemClock
from torghut_core.engines.clickhouse import Address, ClickHouse, ClickHouseError, Trouble, open_clickhouse
from torghut_core.settings import load
from torghut_core.ta.engine.engine import SOURCES
from torghut_core.ta.flink.partition import Partition, RowWriter
from torghut_core.ta.outputs.clickhouse_sink import SchemaOptions
from torghut_core.ta.outputs.rows import COLUMNS, MICROBARS
from torghut_core.ta.settings import TaSettings

pytestmark = [pytest.mark.engine, pytest.mark.slow]
SETTINGS = load(
    TaSettings, {"TA_MAX_OUT_OF_ORDER_MS": "1000", "TA_GROUP_ID": "ta", "TA_CLICKHOUSE_URL": "http://127.0.0.1:8123"}
)
STARTS = dict.fromkeys(SOURCES, 0)
OPTIONS = SchemaOptions(cluster=None, is_simulated=True)


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """One embedded engine for the module."""
    opened = open_clickhouse(Address(url=f"embedded:{tmp_path_factory.mktemp('clickhouse')}"))
    yield opened
    opened.close()


def fed() -> Partition:
    """Return a partition whose rows wait."""
    partition = Partition(0, SETTINGS, STARTS, SystemClock(), None)
    for place, source in enumerate(SOURCES):
        partition.take(block_of(place, 0, 0, [each.value for each in market(70) if each.source == source]))
    partition.emit()
    assert sum(map(len, partition.rows)) > 500
    return partition


def test_rows_when_clickhouse_is_away_then_they_are_tried_until_it_is_there(clickhouse: ClickHouse) -> None:
    """Each failed attempt waits longer; the rows are in once, and none waits any more."""
    partition, waits, failures = fed(), [], [True] * 3
    count = sum(map(len, partition.rows))
    waiting = {table: sum(len(rows) for rows in partition.rows if rows.table == table) for table in COLUMNS}
    told: list[int] = []

    def opened() -> ClickHouse:
        if failures:
            failures.pop()
            raise ClickHouseError(Trouble.REFUSED, "opening")
        return clickhouse

    writer = RowWriter(
        opened,
        OPTIONS,
        most_rows=10,
        flush_seconds=60,
        backoff=Backoff(base=1.0, cap=30.0, jitter=0.0),
        on_failure=lambda: told.append(writer.retries.total()),
        sleep=waits.append,
    )
    assert writer.write_due(0, partition.rows, 0.0) is True
    assert waits == [1.0, 2.0, 4.0]
    assert told == [1, 2, 3]
    assert (writer.written, writer.retries) == (waiting, {MICROBARS: 3})
    assert partition.rows == []
    (found,) = clickhouse.query(
        "SELECT (SELECT count() FROM torghut.ta_microbars FINAL) + (SELECT count() FROM torghut.ta_signals FINAL) AS n"
    )
    assert found["n"] == count


def test_rows_when_few_and_young_then_they_wait_and_are_state(clickhouse: ClickHouse) -> None:
    """Neither size nor age has come; a restart from the state has the same rows still to write, once they are old."""
    partition = fed()
    writer = RowWriter(
        lambda: clickhouse, OPTIONS, most_rows=1_000_000, flush_seconds=1.0, backoff=Backoff(base=1.0, cap=1.0)
    )
    assert writer.write_due(0, partition.rows, 100.0) is False
    again = Partition(0, SETTINGS, STARTS, SystemClock(), partition.packed())
    assert sum(map(len, again.rows)) == sum(map(len, partition.rows)) > 0
    assert writer.write_due(0, again.rows, 100.9) is False
    assert writer.write_due(0, again.rows, 101.0) is True
    assert again.rows == []
