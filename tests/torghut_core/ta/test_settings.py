"""What `run ta` refuses to start with: contradictions, each named by its variables."""

from __future__ import annotations

import asyncio

import pytest

from torghut_core.errors import ConfigurationError
from torghut_core.settings import load
from torghut_core.ta.service import run
from torghut_core.ta.settings import TaSettings

_PLAIN = {"TA_KAFKA_SECURITY": "PLAINTEXT"}
WRONG = {
    "one topic twice": (
        _PLAIN | {"TA_QUOTES_TOPIC": "torghut.trades.v1"},
        "TA_TRADES_TOPIC and TA_QUOTES_TOPIC are both 'torghut.trades.v1': every topic must be another",
    ),
    "output into input": (
        _PLAIN | {"TA_SIGNALS_TOPIC": "torghut.trades.v1"},
        "TA_TRADES_TOPIC and TA_SIGNALS_TOPIC are both 'torghut.trades.v1': every topic must be another",
    ),
    "half of the S3 keys": (
        _PLAIN | {"TA_S3_SECRET_KEY": "hush"},
        "TA_S3_ACCESS_KEY and TA_S3_SECRET_KEY: must be set both or neither",
    ),
    "no end of waiting": (
        _PLAIN | {"TA_CLICKHOUSE_CONN_TIMEOUT_SECONDS": "inf"},
        "TA_CLICKHOUSE_CONN_TIMEOUT_SECONDS='inf': must be less than or equal to 3600",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_settings_when_they_contradict_each_other_then_refused_by_name(name: str) -> None:
    """The sentence names the variables and the rule, and no secret."""
    environment, expected = WRONG[name]
    with pytest.raises(ConfigurationError) as caught:
        load(TaSettings, environment)
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("bootstrap", "is_lacking"), [("broker:9092", True), ("embedded:here", False)], ids=["broker", "folder"]
)
def test_settings_when_no_password_is_set_then_only_a_cluster_lacks_it(bootstrap: str, *, is_lacking: bool) -> None:
    """Nobody logs in to a folder."""
    assert load(TaSettings, {"TA_KAFKA_BOOTSTRAP": bootstrap}).lacks_kafka_password is is_lacking


async def test_ta_when_kafka_wants_a_password_and_there_is_none_then_refused() -> None:
    """The client would fail on it with an error of its own."""
    with pytest.raises(ConfigurationError) as caught:
        await run({}, stop=asyncio.Event())
    assert str(caught.value) == "TA_KAFKA_PASSWORD: must be set where TA_KAFKA_SECURITY is 'SASL_PLAINTEXT'"
