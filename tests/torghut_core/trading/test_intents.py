"""The idempotency key depends on its six facts and on nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.trading_values import make_intent, make_signal, make_strategy
from torghut_core.trading.decision.intents import idempotency_key, is_own_client_id


def test_key_when_facts_are_these_then_this_key() -> None:
    """The key is stored and sent: it must never change between versions."""
    key = idempotency_key(strategy="s", symbol="A", timeframe="1Sec", signal_ns=0, side="buy", account_label="paper")
    assert key == "079a81f2eaa8" + key[12:]
    assert is_own_client_id(key)


@pytest.mark.parametrize(
    "changes",
    [
        {"side": "sell"},
        {"account_label": "live"},
        {"strategy": make_strategy(name="other")},
        {"signal": make_signal(symbol="MSFT")},
        {"signal": make_signal(timeframe="1Min")},
        {"signal": make_signal(event_ns=1)},
    ],
)
def test_key_when_one_of_its_facts_differs_then_another_key(changes: dict[str, Any]) -> None:
    """Each of the six facts counts."""
    assert make_intent(**changes).key != make_intent().key


@pytest.mark.parametrize(
    "changes",
    [
        {"rationale": "another"},
        {"signal": make_signal(close=1.0, ingest_ms=7, rsi14=None, macd=9.0)},
        {"strategy": make_strategy(id="other", max_notional_per_trade=None, parameters={"oversold": 1})},
    ],
)
def test_key_when_anything_else_differs_then_the_same_key(changes: dict[str, Any]) -> None:
    """Telemetry, revisions and settings do not make a second order."""
    assert make_intent(**changes).key == make_intent().key


def test_own_client_id_when_a_person_placed_the_order_then_not_ours() -> None:
    """A UUID, as other programs use, is not one of our keys."""
    assert not is_own_client_id("b0b6dd9d-8b9b-48a9-ba46-b9d54906e415")
