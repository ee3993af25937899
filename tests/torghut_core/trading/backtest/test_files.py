"""Files of rows: read alike from NDJSON and parquet, and refused by file, line and field."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes.signal_recordings import OPEN_NS
from torghut_core.errors import InputError
from torghut_core.trading.backtest.files import kind_of, read_rows
from torghut_core.trading.backtest.tables import bar_table, bars_of, series_of, signal_table


def _signal(second: int, **changes: Any) -> dict[str, Any]:
    row = {
        "symbol": "A",
        "event_ts": f"2026-01-05T15:00:{second:02d}Z",
        "window_size": "PT1S",
        "close": 10.5,
        "warm": 1,
        "macd": None,
        "rsi14": 50.0,
        "unknown_to_us": "kept out",
    }
    return {**row, **changes}


def _write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def test_rows_when_in_any_order_and_twice_then_a_series_has_each_once_and_the_last_counts(tmp_path: Path) -> None:
    """A later row of one key replaces the earlier; null is NaN; keys that are not known are left out."""
    path = _write(tmp_path / "s.ndjson", [_signal(2), _signal(1), _signal(2, close=11.0), _signal(1, symbol="B")])
    table = signal_table()
    assert (kind_of(path), read_rows(path, "signals", table)) == ("signals", 4)
    first, second = series_of(table)
    assert (first.symbol, second.symbol, first.timeframe) == ("A", "B", "1Sec")
    assert ((first.event_ns - OPEN_NS) // 10**9).tolist() == [1, 2]
    assert first.columns["close"].tolist() == [10.5, 11.0]
    assert np.isnan(first.columns["macd"]).all()
    assert (first.signal(1).close, first.signal(1).macd, first.signal(1).is_warm) == (11.0, None, True)


def test_rows_when_packed_or_parquet_then_they_are_the_same(tmp_path: Path) -> None:
    """As `ta replay-file --format parquet` writes them, and packed by the user."""
    import pyarrow
    from pyarrow import parquet

    names = ("o", "h", "l", "c", "v")
    rows = [
        {"symbol": "A", "event_ts": f"2026-01-05T15:00:0{at}Z", "window_size": "PT1S", **dict.fromkeys(names, 1.0 + at)}
        for at in range(3)
    ]
    plain = _write(tmp_path / "b.ndjson", rows)
    packed = tmp_path / "b.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in ("symbol", "window_size", *names)}
    ends = pyarrow.array([(OPEN_NS // 10**9 + at) * 1000 for at in range(3)], pyarrow.timestamp("ms", tz="UTC"))
    written = tmp_path / "b.parquet"
    parquet.write_table(pyarrow.table({**columns, "event_ts": ends}), written)
    found = []
    for path in (plain, packed, written):
        table = bar_table()
        assert (kind_of(path), read_rows(path, "bars", table)) == ("bars", 3)
        [made] = bars_of(table)
        found.append((made.event_ns.tolist(), {name: made.columns[name].tolist() for name in names}))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (_signal(2, close="ten"), "line 2: close: Expected `float`, got `str`"),
        (_signal(2, rsi14="x"), "line 2: rsi14: Expected `float | null`"),
        (_signal(2, close=0), "line 2: close=0: must be above 0"),
        (_signal(2, close=-1.0), "line 2: close=-1: must be above 0"),
        (_signal(2, macd=1e300), r"line 2: macd=1e\+300: must be a number of at most"),
        (_signal(2, event_ts="yesterday"), "line 2: event_ts='yesterday': must be RFC 3339"),
        (_signal(2, window_size="PT7S"), "window_size='PT7S': must be one of"),
        ({"symbol": "A"}, "line 2: Object missing required field"),
        ("{not json", "line 2: not a JSON object"),
    ],
)
def test_rows_when_one_is_bad_then_file_line_and_field_are_named(tmp_path: Path, bad: Any, words: str) -> None:
    """A backtest over a row that nobody can read would be of other data than it says."""
    path = _write(tmp_path / "s.ndjson", [_signal(1), bad])
    with pytest.raises(InputError, match=words) as refused:
        read_rows(path, "signals", signal_table())
    assert str(path) in str(refused.value)
