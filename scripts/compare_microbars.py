"""Compare second bars with what a DuckDB query computes from the recording they were made of.

    python scripts/compare_microbars.py FILE.ndjson[.gz|.zst] CLICKHOUSE_DIR|ta_microbars.ndjson

FILE holds Alpaca messages, one JSON a line. The bars come from an embedded ClickHouse folder (that of `up` or `demo`,
which must not be running) or from an NDJSON file with the ClickHouse columns as keys. Per symbol and second, open, high,
low, close, volume and count must be equal to the last digit, vwap within 1e-12 of its size. Order inside a second is
event time, then the file's. Trades that are late by the contract's rule (window end at or before the highest event time
so far less 2 s, the file being one partition) are left out and counted.

Exit code 0 when everything is equal, 1 when not, 2 when an input cannot be used.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

try:
    import duckdb
except ModuleNotFoundError:
    raise SystemExit(
        "error: DuckDB is not installed: `make test-fast` installs it, or `pip install -e '.[dev]'`"
    ) from None

from torghut_core.errors import InputError, TorghutError
from torghut_core.rfc3339 import format_ns, parse_ns

SHOWN = 10
VWAP_TOLERANCE = 1e-12
FIELDS = ("o", "h", "l", "c", "v", "count", "vwap")
LATE_NS = 2_000_000_000

Bars = dict[tuple[str, int], tuple[float | int | None, ...]]
"""Keyed by symbol and window end (nanoseconds since the epoch); values in the order of FIELDS."""

TRADES = """
CREATE TEMP TABLE trades AS
WITH lines AS (
    SELECT json, row_number() OVER () AS line FROM read_json_objects($file, format = 'newline_delimited')
), parsed AS (
    SELECT
        line,
        json ->> '$.S' AS symbol,
        epoch_ns((json ->> '$.t')::TIMESTAMP_NS) AS event_ns,
        (json ->> '$.p')::DOUBLE AS price,
        (json ->> '$.s')::DOUBLE AS size
    FROM lines WHERE json ->> '$.T' = 't'
)
SELECT
    *,
    (event_ns // 1000000000 + 1) * 1000000000 AS end_ns,
    coalesce(
        (event_ns // 1000000000 + 1) * 1000000000
        <= max(event_ns) OVER (ORDER BY line ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) - $late_ns,
        false
    ) AS is_late
FROM parsed
"""
BARS = """
SELECT
    symbol,
    end_ns,
    first(price ORDER BY event_ns, line),
    max(price),
    min(price),
    last(price ORDER BY event_ns, line),
    sum(size ORDER BY event_ns, line),
    count(*),
    CASE WHEN sum(size) > 0 THEN sum(price * size ORDER BY event_ns, line) / sum(size ORDER BY event_ns, line) END
FROM trades WHERE NOT is_late GROUP BY symbol, end_ns
"""


def expected_bars(path: Path) -> tuple[Bars, int, int]:
    """Return the bars DuckDB computes, how many trades they are made of, and how many were late."""
    database = duckdb.connect()
    database.execute("SET threads = 1")  # the file's order is part of the question
    try:
        database.execute(TRADES, {"file": str(path), "late_ns": LATE_NS})
    except duckdb.Error as error:
        raise InputError(f"file={path}: cannot be read: {str(error).splitlines()[0]}") from error
    rows = database.execute(BARS).fetchall()
    counted = database.execute("SELECT count(*) FILTER (NOT is_late), count(*) FILTER (is_late) FROM trades").fetchone()
    assert counted is not None
    return {(row[0], row[1]): tuple(row[2:]) for row in rows}, counted[0], counted[1]


def bars_of_file(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of an NDJSON file, the later one last."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                yield {**row, "event_ns": parse_ns(row["event_ts"])}
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"bars={path}: line {number}: not a second bar: {error}") from error


def bars_of_clickhouse(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the newest row per key of an embedded ClickHouse."""
    from torghut_core.engines.clickhouse import Address, open_clickhouse

    clickhouse = open_clickhouse(Address(url=f"embedded:{folder}"))
    try:
        rows = clickhouse.query(
            "SELECT symbol, event_ts, window_size, o, h, l, c, v, vwap, count FROM torghut.ta_microbars FINAL"
        )
    finally:
        clickhouse.close()
    for row in rows:
        moment: datetime = row["event_ts"].replace(tzinfo=UTC)
        yield {**row, "event_ns": round(moment.timestamp() * 1000) * 1_000_000}


def actual_bars(path: Path) -> Bars:
    """Return the second bars at `path`; of several rows with one key, the last counts."""
    rows = bars_of_clickhouse(path) if path.is_dir() else bars_of_file(path)
    return {
        (row["symbol"], row["event_ns"]): tuple(row[field] for field in FIELDS)
        for row in rows
        if row.get("window_size", "PT1S") == "PT1S"
    }


def is_same(field: str, expected: float | int | None, actual: float | int | None) -> bool:
    """Tell whether a value is the expected one."""
    if expected is None or actual is None or field != "vwap":
        return expected == actual
    return math.isclose(expected, actual, rel_tol=VWAP_TOLERANCE, abs_tol=0)


def differences(expected: Bars, actual: Bars) -> Iterator[str]:
    """Yield one line per bar that is missing, too many, or has another value, by time."""
    for key in sorted(expected.keys() | actual.keys(), key=lambda key: (key[1], key[0])):
        name = f"{key[0]} {format_ns(key[1])}"
        if key not in actual:
            yield f"{name}: missing; expected {expected[key]}"
        elif key not in expected:
            yield f"{name}: too many; no trade makes it: {actual[key]}"
        else:
            for field, wanted, found in zip(FIELDS, expected[key], actual[key], strict=True):
                if not is_same(field, wanted, found):
                    yield f"{name}: {field}: expected {wanted!r}, found {found!r}"


def main(arguments: Sequence[str]) -> int:
    """Compare and report; return the exit code."""
    if len(arguments) != 2:
        sys.stderr.write(__doc__ or "")
        return 2
    recording, bars = Path(arguments[0]), Path(arguments[1])
    try:
        for name, path in (("file", recording), ("bars", bars)):
            if not path.exists():
                raise InputError(f"{name}={path}: does not exist")
        expected, trades, late = expected_bars(recording)
        actual = actual_bars(bars)
    except TorghutError as error:
        sys.stderr.write(f"compare_microbars: {error}\n")
        return 2
    found = list(differences(expected, actual))
    print(f"trades in bars {trades}, late trades {late}")
    print(f"bars expected {len(expected)}, bars found {len(actual)}, differences {len(found)}")
    for line in found[:SHOWN]:
        print(f"  {line}")
    if len(found) > SHOWN:
        print(f"  and {len(found) - SHOWN} more")
    print("equal" if not found else "different")
    return 0 if not found else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
