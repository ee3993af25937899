"""Rows as ClickHouse holds them: the table's own signals and bars, of each key the one that was written last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from torghut_core.engines.clickhouse import ClickHouseError, Queries, Trouble
from torghut_core.errors import InputError
from torghut_core.trading.backtest.recording import BAR_COLUMNS, Floats, Ints, Recording
from torghut_core.trading.backtest.tables import SIGNAL_COLUMNS, Table, bar_table, bars_of, series_of, signal_table
from torghut_core.trading.inputs.signals import table_parameters
from torghut_core.trading.model import TIMEFRAMES
from torghut_core.trading.strategies.rule import MOST_BARS

_MS = 1_000_000
_LAST_MS = 9_000_000_000_000
"""The year 2255: whatever is later is asked for by no date."""
_MOST = 1e9
_ALL = 1 << 62
_POSITIVE = frozenset(["close", *BAR_COLUMNS[:4]])
_QUOTED = ("imbalance_bid_px", "imbalance_ask_px")
_WHERE = """
FROM {database:Identifier}.{table:Identifier}
WHERE window_size IN {sizes:Array(String)} AND is_final = 1
  AND event_ts >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
  AND event_ts < fromUnixTimestamp64Milli({until:Int64}, 'UTC')
"""
_SERIES = f"SELECT DISTINCT symbol, window_size {_WHERE} ORDER BY symbol, window_size"
# A column at a time: a session's rows of a symbol are one answer of as many arrays as there are columns.
_ROWS = """
SELECT groupArray(toUnixTimestamp64Milli(event_ts)) AS event_ms, ARRAYS FROM (
  SELECT event_ts, COLUMNS WHERE_ AND symbol = {symbol:String}
  ORDER BY event_ts DESC, ingest_ts DESC LIMIT 1 BY event_ts LIMIT {most:UInt64})
"""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is read: rows of [from, to), and before them as many as a window goes back."""

    signal_table: str = "torghut.ta_signals"
    bar_table: str = "torghut.ta_microbars"
    symbols: frozenset[str] | None = None
    """None: every symbol that has a row."""
    from_ns: int = 0
    to_ns: int = 1 << 62


def read_stored(clickhouse: Queries, wanted: Wanted, *, source: str) -> Recording:
    """Return the stored stretch; a row that holds what no row can is left out alone, and counted.

    Raises InputError, which begins with `source`, when there is no table or no row; ClickHouseError for all else.
    """
    signals, bars, counts = signal_table(), bar_table(), Counter[str]()
    try:
        _read(clickhouse, wanted, wanted.signal_table, SIGNAL_COLUMNS, table=signals, counts=counts)
    except ClickHouseError as error:
        if error.trouble is not Trouble.MISSING:
            raise
        raise InputError(
            f"{source}: there is no table {wanted.signal_table}",
            hint="`run ta` makes it, and `ta replay-file FILE --clickhouse ADDRESS` fills it from a recording",
        ) from error
    series = series_of(signals)
    if not series:
        raise InputError(
            f"{source}: {wanted.signal_table} has no row of what was asked for", hint="see --from, --to, --symbols"
        )
    try:
        _read(clickhouse, wanted, wanted.bar_table, BAR_COLUMNS, table=bars, counts=counts)
    except ClickHouseError as error:
        # Without bars there are the quotes of the signals; `--fills` says so where they are needed.
        if error.trouble is not Trouble.MISSING:
            raise
    return Recording(series, bars_of(bars), None, counts)


def _read(
    clickhouse: Queries, wanted: Wanted, name: str, columns: Sequence[str], *, table: Table, counts: Counter[str]
) -> None:
    first_ms, last_ms = -(-wanted.from_ns // _MS), min(-(-wanted.to_ns // _MS), _LAST_MS)
    common = table_parameters(name) | {"sizes": list(TIMEFRAMES)}
    inside = common | {"since": min(first_ms, _LAST_MS), "until": last_ms}
    statement = _statement(columns)
    for found in clickhouse.query(_SERIES, inside):
        symbol, size = found["symbol"], found["window_size"]
        if wanted.symbols is not None and symbol not in wanted.symbols:
            continue
        stretches = [inside | {"most": _ALL}]
        if first_ms > 0:
            stretches.append(common | {"since": 0, "until": inside["since"], "most": MOST_BARS})
        for stretch in stretches:
            for row in clickhouse.query(statement, stretch | {"symbol": symbol, "sizes": [size]}):
                ends: Ints = np.array(row["event_ms"], np.int64) * _MS
                values: Floats = np.array([row[f"{name}_values"] for name in columns], np.float64).T
                is_good = _usable(values, columns, counts)
                kept = ends[is_good]
                table.add([symbol], np.zeros(len(kept), np.int64), size, kept, values[is_good])
                counts["rows"] += len(kept)


def _statement(columns: Sequence[str]) -> str:
    arrays = ", ".join(f"groupArray(ifNull(toFloat64({name}), nan)) AS {name}_values" for name in columns)
    return _ROWS.replace("ARRAYS", arrays).replace("COLUMNS", ", ".join(columns)).replace("WHERE_", _WHERE)


def _usable(values: Floats, columns: Sequence[str], counts: Counter[str]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which rows hold what the loop takes for a row; a quote that is no price is no quote."""
    good = np.ones(len(values), np.bool_)
    for at, name in enumerate(columns):
        column = values[:, at]
        if name in _QUOTED:
            column[~((column > 0) & (column <= _MOST))] = np.nan
        bad = (np.abs(column) > _MOST) | (~(column > 0) if name in _POSITIVE else np.zeros(len(column), np.bool_))
        if name == "warm":
            bad |= (column != 0) & (column != 1)
        if bad.any():
            counts[f"bad_{name}"] += int((bad & good).sum())
            good &= ~bad
    return good
