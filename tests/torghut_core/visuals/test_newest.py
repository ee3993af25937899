"""The cache of the newest rows: what it keeps, what it tells, and that it never passes old rows for new."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.fakes.visuals_client import Client, Rows
from torghut_core.clock import ManualClock
from torghut_core.engines.clickhouse import ClickHouseError, Trouble
from torghut_core.visuals.api import Stores
from torghut_core.visuals.newest import NewestRows
from torghut_core.visuals.rows import Series
from torghut_core.visuals.ta_reader import TaReader

_AT = datetime(2026, 1, 5, 14, 30)
_BAR = Series("bars", "A", "PT1S")


def _row(
    second: int, close: float, *, ingest: int | None = None, symbol: str = "A", window: str = "PT1S"
) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "window_size": window,
        "event_ts": _AT + timedelta(seconds=second),
        "ingest_ts": _AT + timedelta(seconds=second if ingest is None else ingest),
        "c": close,
    }


def _newest(rows: Rows) -> tuple[NewestRows, ManualClock]:
    clock = ManualClock(0)
    return NewestRows(TaReader(rows), clock.monotonic), clock


def test_newest_when_rows_come_late_again_and_rewritten_then_the_newest_by_time_and_ingest_counts() -> None:
    """An older second never replaces a newer one; a rewrite of the same second does, and each is told once."""
    rows = Rows([_row(1, 1.0)])
    newest, _ = _newest(rows)
    assert newest.refresh() == []
    rows.rows = [_row(1, 1.0), _row(3, 3.0), _row(2, 2.0), _row(3, 3.5, ingest=9)]
    told = [change.row["c"] for change in newest.refresh() if change.kind == "bars"]
    assert told == [3.0, 2.0, 3.5]
    assert newest.refresh() == []
    found = newest.latest(_BAR)
    assert found is not None
    assert found["c"] == 3.5


def test_newest_when_windows_differ_then_each_has_its_own_row() -> None:
    """A minute's bar is never the newest second."""
    newest, _ = _newest(Rows([_row(1, 1.0), _row(60, 60.0, window="PT1M"), _row(2, 5.0, symbol="B")]))
    newest.refresh()
    assert [row["c"] for row in newest.all_of("bars", "PT1S")] == [1.0, 5.0]
    assert [row["c"] for row in newest.all_of("bars", "PT1M")] == [60.0]


def test_newest_when_a_page_asks_often_then_clickhouse_is_not_asked_again() -> None:
    """Twenty pages cost what none costs; a symbol without rows is asked for once in five seconds."""
    rows = Rows([_row(1, 1.0)])
    newest, clock = _newest(rows)
    newest.refresh()
    rows.asked.clear()
    client = Client(Stores(reader=TaReader(rows), newest=newest))
    for _ in range(20):
        assert client.get("/api/torghut/ta/latest?symbol=A").json()["bars"]["c"] == 1.0
        assert client.get("/api/torghut/ta/newest").json()["bars"][0]["c"] == 1.0
    assert rows.asked == []
    rows.rows = []
    for _ in range(20):
        assert client.get("/api/torghut/ta/latest?symbol=ZZ").json()["bars"] is None
    assert len(rows.asked) == 2
    clock.advance(6)
    assert newest.latest(Series("bars", "ZZ", "PT1S")) is None
    assert len(rows.asked) == 3


@pytest.mark.parametrize("path", ["latest?symbol=A", "newest"])
def test_newest_when_clickhouse_went_away_then_its_error_is_told_and_not_the_old_row(path: str) -> None:
    """Stale rows served as new are worse than none; it recovers by itself."""
    rows = Rows([_row(1, 1.0)])
    newest, _ = _newest(rows)
    newest.refresh()
    held, rows.rows = rows.rows, ClickHouseError(Trouble.REFUSED, "a query")
    newest.refresh()
    assert newest.trouble == "clickhouse_unreachable"
    answer = Client(Stores(reader=TaReader(rows), newest=newest)).get(f"/api/torghut/ta/{path}")
    assert (answer.status_code, answer.json()["message"]) == (
        500,
        "ClickHouse: a query failed: clickhouse_unreachable",
    )
    rows.rows = held
    newest.refresh()
    assert newest.trouble is None


def test_newest_when_looks_hang_then_rows_count_as_unknown_after_ten_seconds() -> None:
    """A query that never ends raises nothing: the clock does."""
    newest, clock = _newest(Rows([_row(1, 1.0)]))
    newest.refresh()
    clock.advance(10.5)
    assert newest.trouble == "clickhouse_unreachable"
    with pytest.raises(ClickHouseError):
        newest.latest(_BAR)


def test_newest_when_a_minute_has_passed_then_everything_is_read_again() -> None:
    """A row that a look missed is not missed for ever."""
    rows = Rows([_row(1, 1.0)])
    newest, clock = _newest(rows)
    newest.refresh()
    newest.refresh()
    assert "ingest_ts >=" in rows.asked[-1]["statement"]
    clock.advance(61)
    newest.refresh()
    assert "GROUP BY symbol, window_size" in rows.asked[-1]["statement"]
