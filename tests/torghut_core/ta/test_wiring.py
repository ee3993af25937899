"""The arithmetic of a file: every variable that the stream's engine reads, and no other."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from torghut_core.errors import ConfigurationError
from torghut_core.ta.engine.engine import EngineSettings
from torghut_core.ta.settings import TaSettings
from torghut_core.ta.wiring import engine_settings, file_engine_settings

OTHERS = {
    "TA_MAX_OUT_OF_ORDER_MS": "100",
    "TA_QUOTE_STALE_AFTER_MS": "100",
    "TA_VWAP_WINDOW_SECONDS": "100",
    "TA_REALIZED_VOL_WINDOW": "100",
    "TA_LATE_TRADES": "revise",
    "TA_TRADE_CONDITIONS": "all",
    "TA_ODD_LOTS": "skip",
    "TORGHUT_MARKET_CALENDAR": "always-open",
}


def test_file_engine_settings_when_all_is_set_then_it_is_the_streams() -> None:
    """But for holding rows back, which is of a replay of the log."""
    found = file_engine_settings(OTHERS | {"TA_GROUP_ID": "torghut-ta-replay-1", "TA_KAFKA_SECURITY": "nonsense"}, {})
    assert found == engine_settings(TaSettings.model_validate(OTHERS))
    same = [name for name, value in asdict(EngineSettings()).items() if asdict(found)[name] == value]
    assert same == ["is_replay"]


def test_file_engine_settings_when_something_is_chosen_then_it_stands_before_the_variable() -> None:
    """None is not chosen."""
    found = file_engine_settings(OTHERS, {"TA_ODD_LOTS": "count", "TA_MAX_OUT_OF_ORDER_MS": None})
    assert (found.odd_lots, found.max_out_of_order_ms) == ("count", 100)


@pytest.mark.parametrize("variable", OTHERS)
def test_file_engine_settings_when_a_value_breaks_its_rule_then_the_variable_is_named(variable: str) -> None:
    """As at the start of `run ta`."""
    with pytest.raises(ConfigurationError, match=f"{variable}='nonsense'"):
        file_engine_settings({variable: "nonsense"}, {})
