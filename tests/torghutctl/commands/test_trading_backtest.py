"""trading backtest from the command line: its forms, its folder, and each bad input as one sentence and exit code 2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from torghut_core.rfc3339 import format_ns, parse_ns
from torghutctl.cli import app
from torghutctl.commands.trading_backtest import backtest_settings
from torghutctl.errors import TorghutError
from torghutctl.render.schemas import schema_of

_START_NS = parse_ns("2026-01-05T15:00:00Z")


def _run(*arguments: str, **environment: str) -> Any:
    return CliRunner().invoke(app, ["trading", "backtest", *arguments], env=environment)


def _message(kind: str, second: float, **fields: Any) -> str:
    at = format_ns(_START_NS + round(second * 10**9))
    return json.dumps({"T": kind, "S": "A", **fields, "t": at}) + "\n"


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four minutes of a price that falls and rises, quoted twice a second."""
    path, lines = tmp_path_factory.mktemp("messages") / "m.ndjson", []
    for second in range(240):
        phase = second % 80
        price = round(100 - 0.05 * phase if phase < 40 else 98 + 0.06 * (phase - 40), 2)
        lines.append(_message("q", second, bp=price - 0.01, bs=500, ap=price + 0.01, **{"as": 500}))
        lines.append(_message("t", second + 0.2, p=price, s=100, i=second, x="V", c=["@"], z="C"))
        lines.append(_message("q", second + 0.5, bp=price - 0.01, bs=500, ap=price + 0.01, **{"as": 500}))
    path.write_text("".join(lines))
    return path


@pytest.mark.engine
def test_backtest_when_run_on_messages_then_the_report_is_whole_and_the_page_needs_nothing(
    messages: Path, tmp_path: Path
) -> None:
    """JSON by its schema, the same in summary.json; every decision a line; one page without another file or host."""
    folder = tmp_path / "out"
    done = _run(str(messages), "--report", str(folder), "-o", "json", TRADING_MODE="live", TRADING_LIVE_ENABLED="true")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    jsonschema.validate(told, schema_of("torghut.backtest/v1"))
    assert json.loads((folder / "summary.json").read_text()) == told
    decisions = [json.loads(line) for line in (folder / "decisions.ndjson").read_text().splitlines()]
    assert len(decisions) == sum(told["decisions"].values()) > 0
    assert told["orders"]["filled"] > 0
    page = (folder / "report.html").read_text()
    assert [mark for mark in ('src="', "@import", "url(http", '<link rel="stylesheet"') if mark in page] == []
    assert "TradingView" in page


def test_backtest_when_the_environment_says_what_a_print_is_then_its_bars_are_those_of_the_ta(tmp_path: Path) -> None:
    """Odd lots alone make no bar where TA_ODD_LOTS=skip; with a value that is none the variable is named."""
    path = tmp_path / "odd.ndjson"
    prints = [_message("t", at, p=100, s=10, i=at, x="V", c=["@", "I"], z="C") for at in range(60)]
    path.write_text("".join(prints))
    done = _run(str(path), TA_ODD_LOTS="skip")
    assert (done.exit_code, "there are no signals" in done.stderr) == (2, True)
    done = _run(str(path), TA_ODD_LOTS="some")
    assert (done.exit_code, "TA_ODD_LOTS='some': must be 'count' or 'skip'" in done.stderr) == (2, True)


@pytest.mark.engine
def test_sweep_when_run_then_the_best_comes_first_and_luck_is_named(messages: Path) -> None:
    """Every combination once, by return, with the warning that the best of many is partly luck."""
    done = _run(str(messages), "--sweep", "oversold=20,35", "--sweep", "within_bars=5,30", "--jobs", "2", "-o", "json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    jsonschema.validate(told, schema_of("torghut.backtest-sweep/v1"))
    returns = [each["return"] for each in told["combinations"]]
    assert (len(returns), returns) == (4, sorted(returns, reverse=True))
    assert "partly luck" in told["warnings"][0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.ndjson"], "nothing.ndjson: cannot be read"),
        (["{bad}"], "none of the records can be used"),
        (["{messages}", "--from", "yesterday"], "--from='yesterday': must be RFC 3339"),
        (["{messages}", "--from", "2030-01-01T00:00:00Z"], "no row is between them"),
        (["{messages}", "--from", "2026-01-05T15:01:00Z", "--to", "2026-01-05T15:00:00Z"], "must be before"),
        (["{messages}", "--cash", "-5"], "--cash"),
        (["{messages}", "--symbols", "ZZZ"], "ZZZ is not in the recording"),
        (["{messages}", "--catalogue", "none.yaml"], "none.yaml"),
        (["{messages}", "--strategy", "none.py"], "none.py: is no file"),
        (["{messages}", "{rows}"], "cannot be mixed"),
        (["{rows}"], "line 1: close"),
        (["{messages}", "--fills", "best"], "fills"),
    ],
)
def test_backtest_when_the_input_is_bad_then_it_ends_with_2_and_one_sentence(
    messages: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    """What was asked for cannot be done, and nothing was begun."""
    bad, rows = tmp_path / "bad.ndjson", tmp_path / "rows.ndjson"
    bad.write_text('{"T":"t"}\n')
    row = {"symbol": "A", "event_ts": "2026-01-05T15:00:00Z", "window_size": "PT1S", "close": -1, "warm": 1, "macd": 0}
    rows.write_text(json.dumps(row) + "\n")
    done = _run(*(each.format(messages=messages, bad=bad, rows=rows) for each in arguments))
    if isinstance(done.exception, TorghutError):
        assert (done.exception.exit_code, words in str(done.exception)) == (2, True), str(done.exception)
    else:
        assert (done.exit_code, words in done.stderr) == (2, True), done.stderr


def test_settings_when_the_environment_is_a_live_one_then_nothing_live_is_taken_over() -> None:
    """Caps are; mode, account, keys, database and switches are not."""
    settings = backtest_settings(
        {
            "TRADING_MODE": "live",
            "TRADING_LIVE_ENABLED": "true",
            "TRADING_KILL_SWITCH_ENABLED": "true",
            "APCA_API_KEY_ID": "key",
            "DB_DSN": "postgresql://somewhere",
            "TRADING_MAX_NOTIONAL_PER_TRADE": "500",
        },
        "XNYS",
    )
    assert (settings.mode, settings.live_enabled, settings.broker_key, settings.db_dsn) == ("paper", False, None, None)
    assert (settings.enabled, settings.kill_switch_enabled, settings.max_notional_per_trade) == (True, False, 500)
