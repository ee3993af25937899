"""Defaults, contradictions, and what the broker's account may contradict."""

from __future__ import annotations

import pytest

from torghut_core.errors import ConfigurationError
from torghut_core.trading.settings import check_broker_account, load_settings

LIVE = {
    "TRADING_ENABLED": "true",
    "TRADING_MODE": "live",
    "TRADING_LIVE_ENABLED": "true",
    "TRADING_LIVE_ACCOUNT": "123456789",
    "APCA_API_BASE_URL": "https://api.alpaca.markets/v2/",
}


def test_settings_when_nothing_is_set_then_paper_off_and_killed() -> None:
    """Paper is the default of everything."""
    settings = load_settings({})
    shown = (settings.enabled, settings.mode, settings.live_enabled, settings.kill_switch_enabled, settings.broker_url)
    assert shown == (False, "paper", False, True, "https://paper-api.alpaca.markets")
    assert (settings.llm_enabled, settings.llm_shadow_mode, settings.llm_rollout_stage) == (False, True, "stage0")
    assert (settings.llm_fail_mode, settings.llm_fail_mode_enforcement) == ("veto", "strict_veto")


@pytest.mark.parametrize(("given", "stage"), [("stage2", "stage2"), ("stage3_controlled_live", "stage3")])
def test_settings_when_stage_has_its_long_name_then_the_stage(given: str, stage: str) -> None:
    """The number in a stage's long name decides."""
    assert load_settings({"LLM_ROLLOUT_STAGE": given}).llm_rollout_stage == stage


def test_settings_when_live_is_complete_then_live() -> None:
    """All live switches together are no contradiction."""
    assert load_settings(LIVE).is_live_broker is True


@pytest.mark.parametrize("change", [{"TRADING_ENABLED": "false"}, {"TRADING_KILL_SWITCH_ENABLED": "true"}])
def test_settings_when_live_is_stopped_then_no_contradiction(change: dict[str, str]) -> None:
    """Stopping is always possible."""
    assert load_settings({**LIVE, **change}).mode == "live"


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({**LIVE, "TRADING_LIVE_ENABLED": "false"}, "TRADING_LIVE_ENABLED=false"),
        ({**LIVE, "TRADING_LIVE_ENABLED": ""}, "TRADING_LIVE_ENABLED=false"),
        ({"TRADING_LIVE_ENABLED": "true"}, "TRADING_MODE=paper contradicts TRADING_LIVE_ENABLED=true"),
        ({**LIVE, "APCA_API_BASE_URL": ""}, "APCA_API_BASE_URL"),
        ({**LIVE, "APCA_API_BASE_URL": "https://paper-api.alpaca.markets"}, "APCA_API_BASE_URL"),
        ({**LIVE, "APCA_API_BASE_URL": "http://127.0.0.1:9"}, "APCA_API_BASE_URL"),
        ({**LIVE, "APCA_API_BASE_URL": "http://api.alpaca.markets"}, "live needs https"),
        ({**LIVE, "APCA_API_BASE_URL": "https://api.alpaca.markets.example"}, "APCA_API_BASE_URL"),
        ({**LIVE, "TRADING_LIVE_ACCOUNT": ""}, "TRADING_LIVE_ACCOUNT unset"),
        ({"APCA_API_BASE_URL": "https://api.alpaca.markets"}, "TRADING_MODE=paper contradicts APCA_API_BASE_URL"),
        ({"APCA_API_BASE_URL": "https://API.Alpaca.Markets./v2"}, "TRADING_MODE=paper contradicts APCA_API_BASE_URL"),
        ({"LLM_FAIL_MODE": "pass_through"}, "LLM_FAIL_MODE_ENFORCEMENT=strict_veto"),
        (
            {**LIVE, "LLM_FAIL_MODE_ENFORCEMENT": "configured", "LLM_FAIL_MODE": "pass_through"},
            "LLM_FAIL_OPEN_LIVE_APPROVED=false",
        ),
        (
            {**LIVE, "LLM_FAIL_MODE_ENFORCEMENT": "configured", "LLM_ROLLOUT_STAGE": "stage2"},
            "LLM_FAIL_OPEN_LIVE_APPROVED=false",
        ),
        ({"TRADING_UNIVERSE_SOURCE": "jangar"}, "JANGAR_SYMBOLS_URL unset"),
        ({"APCA_API_KEY_ID": "PK123456"}, "APCA_API_SECRET_KEY"),
    ],
)
def test_settings_when_contradictory_then_start_is_refused_by_name(environment: dict[str, str], named: str) -> None:
    """Every contradiction stops start-up and is named."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environment)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TRADING_MODE", "Paper!"),
        ("TRADING_POLL_MS", "soon"),
        ("TRADING_ENABLED", "perhaps"),
        ("LLM_ROLLOUT_STAGE", "stage9"),
        ("LLM_FAIL_MODE", "allow"),
        ("TRADING_MAX_NOTIONAL_PER_TRADE", "-1"),
        ("TRADING_MAX_POSITION_PCT_EQUITY", "20"),
        ("APCA_API_BASE_URL", "https://u:p@api.alpaca.markets"),
        ("TRADING_SIGNAL_TABLE", "a; DROP TABLE b"),
    ],
)
def test_settings_when_a_value_breaks_its_rule_then_variable_is_named(variable: str, value: str) -> None:
    """Unknown enums and unparsable numbers stop start-up."""
    with pytest.raises(ConfigurationError, match=f"^{variable}="):
        load_settings({variable: value})


@pytest.mark.parametrize(
    ("environment", "account", "is_refused"),
    [
        (LIVE, "123456789", False),
        (LIVE, "999", True),
        ({}, "PA1", False),
        ({"TRADING_LIVE_ACCOUNT": "123456789"}, "PA1", False),
        ({"TRADING_LIVE_ACCOUNT": "123456789"}, "123456789", True),
    ],
)
def test_broker_account_when_it_contradicts_then_refused_without_its_number(
    environment: dict[str, str], account: str, is_refused: bool
) -> None:
    """Live is one account, and paper is never that one."""
    settings = load_settings(environment)
    if not is_refused:
        check_broker_account(settings, account)
        return
    with pytest.raises(ConfigurationError, match="contradicts the broker") as caught:
        check_broker_account(settings, account)
    assert account not in str(caught.value)
