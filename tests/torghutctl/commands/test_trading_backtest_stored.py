"""trading backtest over ClickHouse's own rows: the decisions of the files that they are, and each bad input as one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.torghutctl.commands.test_trading_backtest import messages
from torghut_core.engines.clickhouse import Address, open_clickhouse
from torghutctl.cli import app
from torghutctl.errors import TorghutError

__all__ = ["messages"]


def _run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def _decisions(tmp_path: Path, *source: str) -> list[dict[str, Any]]:
    folder = tmp_path / "report"
    done = _run("trading", "backtest", *source, "--report", str(folder), "-o", "json")
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in (folder / "decisions.ndjson").read_text().splitlines()]


@pytest.fixture(scope="module")
def stored(messages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recording's rows as files, and twice in a store, the first time with others' prices."""
    folder = tmp_path_factory.mktemp("stored")
    wrong = folder / "wrong.ndjson"
    wrong.write_text(messages.read_text().replace('"p": 9', '"p": 8'))
    for source in (wrong, messages):
        assert _run("ta", "replay-file", str(source), "--clickhouse", f"embedded:{folder / 'store'}").exit_code == 0
    assert _run("ta", "replay-file", str(messages), str(folder / "rows")).exit_code == 0
    return folder


@pytest.mark.engine
@pytest.mark.parametrize("fills", ["quote", "next-bar", "worst"])
def test_backtest_when_over_a_store_then_decisions_and_fills_are_those_of_its_rows_in_files(
    stored: Path, tmp_path: Path, fills: str
) -> None:
    """Of a row that was written twice the newer counts, and every outcome is the same byte for byte."""
    rows = [str(stored / "rows" / f"{name}.ndjson") for name in ("ta_signals", "ta_microbars")]
    expected = _decisions(tmp_path, *rows, "--fills", fills)
    assert _decisions(tmp_path, "--clickhouse", f"embedded:{stored / 'store'}", "--fills", fills) == expected
    assert sum(bool(each["fills"]) for each in expected) > 0


@pytest.mark.engine
def test_backtest_when_over_a_store_then_it_decides_as_over_the_messages_that_the_rows_are_of(
    stored: Path, messages: Path, tmp_path: Path
) -> None:
    """The same keys, times, statuses and reasons: prices of fills alone hang on what quotes there are."""

    def told(decisions: list[dict[str, Any]]) -> list[Any]:
        return [[each[name] for name in ("key", "decidedAt", "status", "reasons", "orderStatus")] for each in decisions]

    expected = told(_decisions(tmp_path, str(messages)))
    assert told(_decisions(tmp_path, "--clickhouse", f"embedded:{stored / 'store'}")) == expected


@pytest.mark.engine
def test_backtest_when_it_begins_within_a_store_then_windows_go_back_before_that(stored: Path, tmp_path: Path) -> None:
    """The first rows are judged with those before them, as in a file."""
    since = ("--from", "2026-01-05T15:01:30Z", "--to", "2026-01-05T15:03:00Z")
    expected = _decisions(tmp_path, str(stored / "rows" / "ta_signals.ndjson"), *since)
    assert _decisions(tmp_path, "--clickhouse", f"embedded:{stored / 'store'}", *since) == expected
    assert len(expected) > 0


@pytest.mark.engine
def test_backtest_when_a_stored_row_holds_no_price_then_it_is_left_out_and_told(messages: Path, tmp_path: Path) -> None:
    """One bad row costs itself."""
    address = f"embedded:{tmp_path / 'store'}"
    assert _run("ta", "replay-file", str(messages), "--clickhouse", address).exit_code == 0
    store = open_clickhouse(Address(url=address))
    store.command(
        "INSERT INTO torghut.ta_signals (symbol, event_ts, ingest_ts, is_final, window_size, close, warm)"
        " VALUES ('A', '2026-01-05 15:02:00', now() + 60, 1, 'PT1S', -1, 1)"
    )
    store.close()
    done = _run("trading", "backtest", "--clickhouse", address, "-o", "json")
    assert (done.exit_code, "left out: bad_close 1" in done.stderr) == (0, True), done.output


@pytest.mark.engine
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "FILE, --clickhouse, --local: give one of the three"),
        (["{messages}", "--clickhouse", "embedded:{store}"], 2, "give one of the three"),
        (["--clickhouse", "ftp://store"], 2, "--clickhouse: must be http(s)://HOST[:PORT] or embedded:DIR"),
        (["--clickhouse", "embedded:{store}-none"], 2, "is no folder"),
        (["--local", "{store}"], 2, "holds no stored rows"),
        (["--clickhouse", "embedded:{empty}"], 2, "there is no table torghut.ta_signals"),
        (["--clickhouse", "embedded:{store}", "--from", "2030-01-01T00:00:00Z"], 2, "has no row of what was asked for"),
        (["--clickhouse", "embedded:{store}", "--symbols", "ZZZ"], 2, "has no row of what was asked for"),
        (
            ["--clickhouse", "embedded:{store}", "--from", "2026-01-05T15:01:00Z", "--to", "2026-01-05T15:00:00Z"],
            2,
            "must be before",
        ),
        (["--clickhouse", "http://127.0.0.1:1"], 9, "ClickHouse: connecting failed: clickhouse_unreachable"),
    ],
)
def test_backtest_when_the_store_cannot_be_used_then_one_sentence_and_its_code(
    stored: Path, messages: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    """What was asked for cannot be done, and nothing was begun."""
    (tmp_path / "empty").mkdir()
    given = [each.format(messages=messages, store=stored / "store", empty=tmp_path / "empty") for each in arguments]
    done = _run("trading", "backtest", *given)
    if isinstance(done.exception, TorghutError):
        assert (done.exception.exit_code, words in str(done.exception)) == (code, True), str(done.exception)
    else:
        assert (done.exit_code, words in done.stderr) == (code, True), done.output


@pytest.mark.engine
def test_backtest_when_the_store_has_no_bars_then_fills_by_bars_are_refused(messages: Path, tmp_path: Path) -> None:
    """Signals hold quotes; the price of a bar is in the other table."""
    address = f"embedded:{tmp_path / 'store'}"
    assert _run("ta", "replay-file", str(messages), "--clickhouse", address).exit_code == 0
    store = open_clickhouse(Address(url=address))
    store.command("DROP TABLE torghut.ta_microbars")
    store.close()
    done = _run("trading", "backtest", "--clickhouse", address, "--fills", "next-bar")
    assert (done.exit_code, "--fills next-bar: there are no bars" in done.output) == (2, True), done.output
