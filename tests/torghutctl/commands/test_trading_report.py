"""trading report from the command line: days, forms, pictures, and what it says without a broker."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from torghutctl.cli import app
from torghutctl.commands.trading_report import days_of
from torghutctl.errors import InputError
from torghutctl.render.schemas import schema_of

NOON_NS = 1_767_632_400_000_000_000  # 2026-01-05T17:00:00Z
MONDAY = date(2026, 1, 5)


def _run(*arguments: str, **environment: str) -> Any:
    return CliRunner().invoke(app, ["trading", "report", *arguments], env=environment)


@pytest.mark.parametrize(
    ("day", "first", "last", "days"),
    [
        (None, None, None, (MONDAY, MONDAY)),
        ("2026-01-02", None, None, (date(2026, 1, 2), date(2026, 1, 2))),
        (None, "2026-01-02", None, (date(2026, 1, 2), MONDAY)),
        (None, "2026-01-02", "2026-01-03", (date(2026, 1, 2), date(2026, 1, 3))),
    ],
)
def test_days_when_named_then_those_of_new_york(
    day: str | None, first: str | None, last: str | None, days: tuple[date, date]
) -> None:
    """Today is New York's, and the end where none is named."""
    assert days_of(day, first, last, NOON_NS) == days


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("2026-02-30", None, None), "--day '2026-02-30'"),
        (("yesterday", None, None), "--day 'yesterday'"),
        (("2026-1-5", None, None), "--day '2026-1-5'"),
        (("2026-01-05", "2026-01-01", None), "--day: is one day"),
        ((None, "x", None), "--from 'x'"),
        ((None, "2026-01-05", "2026"), "--to '2026'"),
        ((None, "2026-01-06", "2026-01-05"), "--from 2026-01-06: must not be after"),
        ((None, None, "2026-01-05"), "--to: needs --from"),
    ],
)
def test_days_when_they_are_none_then_option_value_and_rule(
    options: tuple[str | None, str | None, str | None], named: str
) -> None:
    """Each bad day is named with its option."""
    with pytest.raises(InputError) as refused:
        days_of(*options, NOON_NS)
    assert named in str(refused.value)


def test_report_when_asked_wrongly_then_exit_2() -> None:
    """A day that is none, a picture of no kind, a folder without a database, nothing that names one."""
    assert _run("--day", "2026-02-30").exit_code == 2
    assert "--plot curve.gif: must end in .png or .html" in _run("--plot", "curve.gif").stderr
    assert "holds no trading database" in _run("--local", "/nowhere").stderr
    assert "DB_DSN: must be set" in _run().stderr


@pytest.fixture(scope="module")
def folder() -> Iterator[str]:
    """The folder of a local system whose database knows a purchase and a sale of ten shares."""
    from torghut_core.engines.postgres import open_postgres
    from torghut_core.trading.store.database import Database
    from torghut_core.trading.store.decisions import DecisionStore
    from torghut_core.trading.store.schema import migrate
    from torghut_core.trading.strategies.catalogue import DEFAULT_PATH, read_catalogue

    path = tempfile.mkdtemp(prefix="torghut-report-")
    (Path(path) / "engines" / "postgres").mkdir(parents=True)
    server = open_postgres(f"embedded:{path}/engines/postgres")
    migrate(server)
    database = Database(server)
    database.open()
    store = DecisionStore(database, account_label="paper")
    strategy = store.apply_catalogue(read_catalogue(DEFAULT_PATH), mode="merge", now_ns=NOON_NS)[0]
    with database.transaction() as connection:
        for order, side, price in (("o1", "buy", 100), ("o2", "sell", 110)):
            connection.execute(
                "INSERT INTO order_events (alpaca_account_label, strategy_id, alpaca_order_id, client_order_id, symbol,"
                " side, source, status, qty, filled_qty, avg_fill_price, broker_updated_at, heard_at, fingerprint, raw)"
                " VALUES ('paper', %s, %s, %s, 'AAPL', %s, 'poll', 'filled', 10, 10, %s, '2026-01-05T17:00Z',"
                " '2026-01-05T17:00Z', %s, '{}')",
                (strategy.id, order, order, side, price, order * 32),
            )
    yield path
    database.close()
    server.close()
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.engine
def test_report_when_read_then_every_form_says_the_same_money(folder: str, tmp_path: Path) -> None:
    """A hundred dollars gained, two and a half cents of fees: as JSON by its schema, as CSV, table and markdown."""
    common = ("--day", "2026-01-05", "--local", folder)
    document = json.loads(_run(*common, "-o", "json").stdout)
    jsonschema.validate(document, schema_of("torghut.trading-report/v1"))
    assert (document["realised"], document["fees"]["total_text"], document["charged"]["total_text"]) == (
        100,
        "0.02461",
        "0.04",
    )
    assert document["broker"]["detail"] == "APCA_API_KEY_ID and APCA_API_SECRET_KEY are not set"
    [row] = csv.DictReader(io.StringIO(_run(*common, "-o", "csv").stdout))
    assert (row["day"], row["strategy"], row["symbol"], row["realised"], row["fee_sec"]) == (
        "2026-01-05", "macd-rsi", "AAPL", "100", "0.02266"
    )  # fmt: skip
    table = _run(*common).stdout
    assert "realised 100, unrealised 0 (priced by fills), fees 0.0246 (charged as 0.04), profit 99.9754" in table
    assert "not compared with the broker's account" in table
    assert "| macd-rsi | 2 | 1000 | 1100 | 100 | 0.0246 | 99.9754 |" in _run(*common, "-o", "markdown").stdout
    empty = json.loads(_run("--day", "2026-01-06", "--local", folder, "-o", "json").stdout)
    assert (empty["fills"], empty["rows"], empty["curve"]) == (0, [], [])


@pytest.mark.engine
def test_report_when_drawn_then_a_page_or_a_picture(folder: str, tmp_path: Path) -> None:
    """Both are files of their own; a folder that is not there is named."""
    common = ("--day", "2026-01-05", "--local", folder, "--plot")
    page, picture = tmp_path / "curve.html", tmp_path / "curve.png"
    assert (_run(*common, str(page)).exit_code, _run(*common, str(picture)).exit_code) == (0, 0)
    assert "<polyline" in page.read_text()
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    refused = _run(*common, str(tmp_path / "none" / "curve.html"))
    assert (refused.exit_code, "cannot be written" in refused.stderr) == (2, True)


@pytest.mark.engine
def test_report_when_a_picture_needs_what_is_not_installed_then_said_with_the_other_way(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page needs nothing; the picture's library is an extra of its own."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = _run("--day", "2026-01-05", "--local", folder, "--plot", str(tmp_path / "curve.png"))
    assert (done.exit_code, "a PNG needs matplotlib" in done.stderr, "torghut[plot]" in done.stderr) == (2, True, True)
