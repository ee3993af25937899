"""Minutes of a recording's trades beside the provider's bars in it; and every rule of prints beside an independent query."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from torghut_core.errors import InputError
from torghut_core.rfc3339 import format_ns, parse_ns
from torghut_core.ta.comparison import check_file
from torghut_core.ta.engine.engine import EngineSettings
from torghut_core.ta.engine.prices import OddLots
from torghut_core.ta.files import replay_file
from torghut_core.ta.outputs.rows import MICROBARS, SIGNALS, TableRows
from torghutctl.cli import app as cli
from torghutctl.commands.ta import app

OPEN = parse_ns("2026-06-02T13:30:00Z")


def _trade(symbol: str, at: float, price: float, size: float, number: int, codes: str = "@", tape: str = "C") -> str:
    fields = {"i": number, "x": "V", "p": price, "s": size, "c": list(codes), "z": tape}
    return json.dumps({"T": "t", "S": symbol, **fields, "t": format_ns(OPEN + round(at * 1e9))})


def _bar(kind: str, symbol: str, minute: int, *values: float) -> str:
    fields = dict(zip(("o", "h", "l", "c", "v", "n", "vw"), values, strict=True))
    return json.dumps({"T": kind, "S": symbol, **fields, "t": format_ns(OPEN + minute * 60 * 10**9)})


LINES = [
    _trade("A", 1, 10, 100, 1),
    _trade("A", 20, 5, 40, 2, "W"),  # volume alone, in a second that no trade prices
    _trade("A", 50, 11, 60, 3),
    _trade("B", 55, 7, 10, 4),
    _trade("A", 61, 12, 10, 5),
    _trade("A", 62, 13, 10, 6, "@I"),
    _bar("b", "A", 0, 10, 11, 10, 11, 999, 3, 10.375),
    _bar("b", "B", 0, 7, 8, 7, 7, 20, 1, 7),
    _bar("u", "A", 0, 10, 11, 10, 11, 200, 3, 10.375),
    _trade("A", 125, 12, 10, 7),
    _bar("b", "A", 1, 12, 12, 12, 12, 20, 2, 12.5),
    _bar("b", "C", 1, 1, 1, 1, 1, 1, 1, 1),
]


def test_check_when_minutes_differ_then_named_by_symbol_and_field(tmp_path: Path) -> None:
    """The last word of a bar counts; volume of unpriced seconds is own; a minute of one side alone is told."""
    path = tmp_path / "day.ndjson"
    path.write_text("\n".join(LINES))
    a, b, c = check_file(path, EngineSettings(odd_lots="skip")).symbols
    assert (a.compared, a.equal, a.only_own, a.only_theirs) == (2, 2, 1, 0)
    assert (a.own_volume, a.their_volume) == (220, 220)
    assert (b.compared, b.equal, {name: n for name, n in b.differing.items() if n}) == (1, 0, {"h": 1, "v": 1})
    assert (c.compared, c.only_theirs) == (0, 1)
    found = check_file(path, EngineSettings())
    assert {name: n for name, n in found.symbols[0].differing.items() if n} == {"h": 1, "c": 1}
    assert [(each.symbol, each.fields) for each in found.worst] == [
        ("B", {"h": (7, 8), "v": (10, 20)}),
        ("A", {"h": (13, 12), "c": (13, 12)}),
    ]


def test_check_file_when_asked_then_the_report_is_a_table_or_json(tmp_path: Path) -> None:
    """What the command prints is what the comparison found."""
    path = tmp_path / "day.ndjson"
    path.write_text("\n".join(LINES))
    shown = CliRunner().invoke(app, ["check-file", str(path), "--odd-lots", "skip"])
    assert shown.exit_code == 0
    assert [line.split() for line in shown.stdout.splitlines()[1:4]] == [
        ["A", "2", "2", "-", "1", "0", "100.00%"],
        ["B", "1", "0", "h:1", "v:1", "0", "0", "50.00%"],
        ["C", "0", "0", "-", "0", "1", "0.00%"],
    ]
    told = json.loads(CliRunner().invoke(app, ["check-file", str(path), "-o", "json"]).stdout)
    assert told["schemaVersion"] == "torghut.ta-check/v1"
    assert told["worst"][0]["fields"] == {"h": {"own": 7, "provider": 8}, "v": {"own": 10, "provider": 20}}
    assert told["worst"][0]["minuteEnd"] == "2026-06-02T13:31:00Z"


def test_check_file_when_the_environment_says_how_then_it_is_done_so_unless_an_option_says_otherwise(
    tmp_path: Path,
) -> None:
    """TA_ODD_LOTS is of stream and file alike; what else is set for another process does not matter here."""
    path = tmp_path / "day.ndjson"
    path.write_text("\n".join(LINES))

    def first_row(*options: str, **environment: str) -> list[str]:
        done = CliRunner().invoke(app, ["check-file", str(path), *options], env=environment)
        assert done.exit_code == 0, done.stderr
        return str(done.stdout.splitlines()[1]).split()

    skipped, counted = ["A", "2", "2", "-"], ["A", "2", "1", "h:1", "c:1"]
    assert first_row(TA_ODD_LOTS="skip", TA_HEALTH_PORT="nonsense")[:4] == skipped
    assert first_row("--odd-lots", "count", TA_ODD_LOTS="skip")[:5] == counted
    assert first_row(TA_ODD_LOTS="skip", TA_TRADE_CONDITIONS="all")[:5] == ["A", "2", "0", "h:1", "l:1"]
    done = CliRunner().invoke(cli, ["ta", "check-file", str(path)], env={"TA_ODD_LOTS": "some"})
    assert (done.exit_code, "TA_ODD_LOTS='some': must be 'count' or 'skip'" in done.stderr) == (2, True)


@pytest.mark.parametrize(("lines", "what"), [(LINES[:6], "minute bar"), (LINES[6:9], "trade")])
def test_check_when_there_is_nothing_to_compare_then_the_file_is_refused_by_what_it_lacks(
    tmp_path: Path, lines: list[str], what: str
) -> None:
    """An empty comparison would look like a good one."""
    path = tmp_path / "day.ndjson"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=f"holds no {what}"):
        check_file(path, EngineSettings())


# The table once more, as SQL: an independent account of every rule.
_QUERY = """
WITH told AS (
    SELECT row_number() OVER () AS n, epoch_ns(t::TIMESTAMP_NS) AS ns, * FROM read_json('{path}', format='newline_delimited',
        columns={{symbol: 'VARCHAR', i: 'BIGINT', x: 'VARCHAR', p: 'DOUBLE', s: 'DOUBLE', c: 'VARCHAR[]', z: 'VARCHAR', t: 'VARCHAR'}})
), once AS (
    SELECT * FROM told QUALIFY i IS NULL OR row_number() OVER (PARTITION BY symbol, x, i, ns ORDER BY n) = 1
), codes AS (
    SELECT n, ns, z, unnest(CASE WHEN c IS NULL OR len(c) = 0 THEN ['@'] ELSE c END) AS code FROM once
), judged AS (
    SELECT n,
        CASE
            WHEN code IN ('@', ' ', 'A', 'D', 'E', 'F', 'K', 'L', 'O', 'S', 'X', 'Y', '1', '5', '6', '8') THEN 'bar'
            WHEN code = 'B' THEN if(z = 'C', 'bar', 'size')
            WHEN code IN ('G', 'Z') THEN 'late'
            WHEN code = 'I' THEN '{odd}'
            WHEN code IN ('M', 'Q', '9') THEN 'none'
            WHEN code = 'T' THEN if(ns >= {opens} AND ns < {closes}, 'size', 'bar')
            ELSE 'size'
        END AS verdict
    FROM codes
), effects AS (
    SELECT n,
        bool_and(verdict IN ('bar', 'late')) AS hl,
        bool_and(verdict = 'bar') AS oc,
        bool_and(verdict <> 'none') AS vol,
        bool_and(verdict IN ('bar', 'late', 'odd')) AS weighs
    FROM judged GROUP BY n
)
SELECT symbol, ns // 1000000000 + 1 AS second,
    arg_min(p, (ns, n)) FILTER (oc) AS o, max(p) FILTER (hl) AS h, min(p) FILTER (hl) AS l, arg_max(p, (ns, n)) FILTER (oc) AS c,
    coalesce(sum(s) FILTER (vol), 0) AS v, sum(p * s) FILTER (weighs) / nullif(sum(s) FILTER (weighs), 0) AS vwap,
    count(*) FILTER (vol) AS count
FROM once JOIN effects USING (n) GROUP BY ALL HAVING bool_or(oc) ORDER BY 1, 2
"""


class _Kept:
    """Holds the rows of a replay."""

    def __init__(self) -> None:
        self.rows = {MICROBARS: 0, SIGNALS: 0}
        self.found: list[dict[str, Any]] = []

    def write(self, tables: list[TableRows]) -> None:
        for table in tables:
            if table.table == MICROBARS:
                columns = table.clickhouse_columns()
                self.found += [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def publish(self) -> None: ...


@pytest.mark.parametrize("odd_lots", ["count", "skip"])
def test_bars_when_a_day_has_every_condition_then_an_independent_query_gives_the_same_rows(
    tmp_path: Path, odd_lots: OddLots
) -> None:
    """Around the open and the close, every code on every tape, alone and combined, prints that come again, without ids."""
    chance = random.Random(13)
    codes = ["@", " ", *"ABCDEFGHIKLMNOPQRSTUVWXYZ123456789"]
    lines, number = [], 0
    for hour in (-0.01, 6.49):
        at = hour * 3600
        for _ in range(6000):
            at += chance.choice([0, 0, 0.003, 0.02])
            number += 1
            chosen = [chance.choice(codes) if chance.random() < 0.5 else "@" for _ in range(chance.randint(0, 3))]
            price, size = round(10 + chance.random(), 2), chance.choice([0, 1.5, 100])
            line = _trade(chance.choice("AB"), at, price, size, number, "".join(chosen), chance.choice("ABCN"))
            if chance.random() < 0.1:
                line = line.replace(f'"i": {number}, ', "")
            lines += [line] * (1 + (chance.random() < 0.05))
    path = tmp_path / "day.ndjson"
    path.write_text("\n".join(lines))
    kept = _Kept()
    replay_file(path, kept, settings=EngineSettings(odd_lots=odd_lots), now_ns=OPEN + 10**14)
    session = {"opens": OPEN, "closes": OPEN + 23_400 * 10**9, "odd": "bar" if odd_lots == "count" else "odd"}
    asked = tmp_path / "asked.ndjson"  # SQL tells no S from s
    asked.write_text("\n".join(line.replace('"S":', '"symbol":') for line in lines))
    wanted = duckdb.sql(_QUERY.format(path=asked, **session)).fetchall()
    names = ("o", "h", "l", "c", "v", "vwap", "count")
    found = sorted((row["symbol"], row["seq"], *(row[name] for name in names)) for row in kept.found)
    assert len(wanted) > 100
    assert [row[:2] for row in wanted] == [row[:2] for row in found]
    for expected, row in zip(wanted, found, strict=True):
        assert pytest.approx(expected[2:], rel=1e-12) == row[2:]
