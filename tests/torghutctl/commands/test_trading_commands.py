"""trading explain-config and llm promote-check from the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

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
