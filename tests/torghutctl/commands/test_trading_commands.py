"""trading explain-config and llm promote-check from the command line."""

from __future__ import annotations

import json
import shutil
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.fakes.at_a_terminal import at_a_terminal
from tests.fakes.trading_folder import paper_account
from torghut_core.rfc3339 import parse_ns
from torghut_core.trading.decision.losses import Limit
from torghutctl.cli import app

SECRET = "hunter22-very-secret"


def _run(*arguments: str, **environment: str) -> Any:
    return CliRunner().invoke(app, list(arguments), env=environment)


def test_explain_config_when_nothing_is_set_then_defaults_and_no_contradiction() -> None:
    """The safe defaults are shown with their source."""
    done = _run("trading", "explain-config", "-o", "json")
    report = json.loads(done.stdout)
    rows = {row["variable"]: (row["value"], row["source"]) for row in report["settings"]}
    assert (done.exit_code, report["schemaVersion"], report["contradictions"]) == (0, "torghut.trading-config/v1", [])
    assert rows["TRADING_MODE"] == ("paper", "default")
    assert rows["TRADING_KILL_SWITCH_ENABLED"] == (True, "default")
    assert report["policyResolution"]["classification"] == "compliant"


def test_explain_config_when_variables_contradict_then_named_and_exit_2() -> None:
    """What would stop the runtime stops here, with the same words."""
    done = _run("trading", "explain-config", TRADING_MODE="live")
    assert done.exit_code == 2
    assert "contradiction: TRADING_MODE=live contradicts TRADING_LIVE_ENABLED=false" in done.stdout


@pytest.mark.parametrize("form", ["table", "markdown", "json", "yaml"])
def test_explain_config_when_secrets_are_set_then_none_is_shown(form: str) -> None:
    """A secret is only said to be set, whatever variable name it came by."""
    secrets = dict.fromkeys(("APCA_API_KEY_ID", "APCA_API_SECRET_KEY", "TA_CLICKHOUSE_PASSWORD"), SECRET)
    done = _run(
        "trading",
        "explain-config",
        "--set",
        "-o",
        form,
        **secrets,
        DATABASE_URL=f"postgresql://u:{SECRET}@h/x",
        TRADING_LIVE_ACCOUNT="123456789",
    )
    assert done.exit_code == 0
    assert SECRET not in done.output
    assert "123456789" not in done.output
    assert "DATABASE_URL" in done.stdout


def test_explain_config_when_a_value_breaks_its_rule_then_exit_2_and_named() -> None:
    """A bad value has no effective one to show."""
    done = _run("trading", "explain-config", TRADING_POLL_MS="soon")
    assert done.exit_code == 2
    assert "TRADING_POLL_MS='soon'" in done.stderr


@pytest.mark.slow
def test_promote_check_when_nothing_can_be_read_then_refused_and_unreadable_is_not_zero() -> None:
    """A gate that cannot read its input refuses."""
    done = _run("llm", "promote-check", "-o", "json", DB_DSN=f"postgresql://u:{SECRET}@127.0.0.1:9/x")
    report = json.loads(done.stdout)
    assert (done.exit_code, report["promotable"]) == (6, False)
    assert report["reasons"] == ["signals_unreadable", "decisions_unreadable", "trades_unreadable"]
    assert report["counts"] == {"signals": None, "decisions": None, "trades": None}
    assert SECRET not in done.output


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [([], {}, "DB_DSN: must be set"), (["--at", "noon"], {"DB_DSN": "postgresql://h/x"}, "--at")],
)
def test_promote_check_when_asked_wrongly_then_exit_2(
    arguments: list[str], environment: dict[str, str], named: str
) -> None:
    """Usage errors name what is wrong."""
    done = _run("llm", "promote-check", *arguments, **environment)
    assert done.exit_code == 2
    assert named in done.stderr


@pytest.fixture
def trading_database(tmp_path: Any) -> Any:
    """An embedded trading database of the folder of a local system, bound to the paper account."""
    folder = tempfile.mkdtemp(prefix="torghut-local-")
    with paper_account(Path(folder) / "lab") as store:
        yield str(Path(folder) / "lab"), store
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.engine
def test_kill_switch_when_turned_then_plan_reason_phrase_and_audit(trading_database: Any, tmp_path: Any) -> None:
    """The plan changes nothing; on needs reason and phrase, and is on record; off and losses need a person."""
    folder, store = trading_database
    audit = tmp_path / "audit.jsonl"
    command = ("trading", "kill-switch", "on", "--local", folder, "--audit-log", str(audit), "-o", "json")
    shown = json.loads(_run(*command).stdout)
    assert (store.read().is_killed, shown["result"], shown["procedure"]) == (False, None, "trading kill-switch")
    assert shown["verification"][0] == f"torghutctl health-report --local {folder}"
    assert shown["rollback"] == [
        f"torghutctl trading kill-switch off --local {folder} --reason 'undo kill-switch on' --act"
    ]
    refused = _run(*command, "--act", "--confirm", "ACTUATE_TORGHUT")
    assert (refused.exit_code, store.read().is_killed) == (6, False)
    refused = _run(*command, "--act", "--reason", "smoke")
    assert (refused.exit_code, store.read().is_killed) == (6, False)
    stale = _run(*command, "--act", "--reason", "smoke", "--confirm", "ACTUATE_TORGHUT", "--plan", f"sha256:{'0' * 64}")
    assert (stale.exit_code, store.read().is_killed) == (7, False)
    done = _run(*command, "--act", "--reason", "smoke", "--confirm", "ACTUATE_TORGHUT", "--plan", shown["digest"])
    assert (done.exit_code, store.read().is_killed) == (0, True)
    assert [json.loads(line)["event"] for line in audit.read_text().splitlines()] == ["intent", "acted"]
    again = _run(*command, "--act", "--reason", "smoke", "--confirm", "ACTUATE_TORGHUT")
    assert (again.exit_code, "nothing to change" in again.stderr) == (0, True)
    off = ("trading", "kill-switch", "off", "--local", folder, "--act", "--reason", "x", "--confirm", "ACTUATE_TORGHUT")
    assert (_run(*off).exit_code, store.read().is_killed) == (6, True)
    other = _run("trading", "kill-switch", "off", "--local", folder, TRADING_ACCOUNT_LABEL="another")
    assert other.exit_code in (0, 6)
    store.latch("drawdown", equity=Decimal(1), mark=Decimal(2), now_ns=1)
    losses = _run(
        "trading", "resume-losses", "--local", folder, "--act", "--reason", "x", "--confirm", "ACTUATE_TORGHUT"
    )
    assert (losses.exit_code, store.read().loss_limit) == (6, "drawdown")
    stranger = _run("trading", "resume-losses", "--local", folder, "-o", "json", TRADING_ACCOUNT_LABEL="another")
    assert json.loads(stranger.stdout)["preconditions"][0]["ok"] is False


@pytest.mark.engine
def test_kill_switch_when_a_person_types_the_phrase_at_a_terminal_then_off_and_losses_resume(
    trading_database: Any, tmp_path: Any
) -> None:
    """What only a person may do: shown first, asked for, done by the exact phrase alone, and on record."""
    folder, store = trading_database
    audit = tmp_path / "audit.jsonl"
    store.switch_kill(is_on=True, now_ns=1, actor="a", reason="r")
    store.latch("drawdown", equity=Decimal(1), mark=Decimal(2), now_ns=1)
    common = ("--local", folder, "--audit-log", str(audit), "--act", "--reason", "checked the book", "-o", "json")
    code, _, _ = at_a_terminal("trading", "kill-switch", "off", *common, typed="actuate_torghut")
    assert (code, store.read().is_killed) == (6, True)
    code, output, seen = at_a_terminal("trading", "kill-switch", "off", *common, typed="ACTUATE_TORGHUT")
    assert (code, store.read().is_killed, json.loads(output)["result"] is not None) == (0, False, True)
    assert "trading database, account paper" in seen
    assert f"verify: torghutctl health-report --local {folder}" in seen.replace("\r\n", "\n")
    asked = [word for word in common if word not in ("--reason", "checked the book")]
    code, _, _ = at_a_terminal("trading", "resume-losses", *asked, typed="ACTUATE_TORGHUT", why="it was a bad print")
    assert (code, store.read().loss_limit) == (0, None)
    assert json.loads(audit.read_text().splitlines()[-1])["reason"] == "it was a bad print"
    events = [json.loads(line)["event"] for line in audit.read_text().splitlines()]
    assert events[-4:] == ["intent", "acted", "intent", "acted"]


@pytest.mark.engine
@pytest.mark.parametrize(
    ("limit", "below"),
    [("drawdown", "9.0% below the highest reading"), ("daily_loss", "9.0% below the day's first reading")],
)
def test_resume_losses_when_it_is_planned_then_the_latch_that_it_lifts_is_told(
    limit: Limit, below: str, trading_database: Any
) -> None:
    """Which limit, since when, at what equity; another latch is another plan, and none leaves nothing to do."""
    folder, store = trading_database
    command = ("trading", "resume-losses", "--local", folder, "-o", "json")
    assert json.loads(_run(*command).stdout)["actions"] == []
    store.latch(limit, equity=Decimal("91000.5"), mark=Decimal(100_000), now_ns=parse_ns("2026-02-11T15:05:00Z"))
    first = json.loads(_run(*command).stdout)
    said = f"; latched: {limit} since 2026-02-11T15:05:00Z, at an equity of 91000.50, {below} of 100000.00"
    assert [action["statement"].partition(";")[2] for action in first["actions"]] == [said.removeprefix(";")]
    store.resume_losses(now_ns=1, actor="a", reason="r")
    store.latch(limit, equity=Decimal(80_000), mark=Decimal(91_000), now_ns=parse_ns("2026-02-12T15:05:00Z"))
    assert json.loads(_run(*command).stdout)["digest"] != first["digest"]


def test_kill_switch_when_nothing_names_a_database_then_exit_2() -> None:
    """The variable is named, and so is a word that is neither on nor off."""
    assert "DB_DSN" in _run("trading", "kill-switch", "on").stderr
    assert _run("trading", "kill-switch", "on").exit_code == 2
    assert _run("trading", "kill-switch", "maybe", DB_DSN="x").exit_code == 2
