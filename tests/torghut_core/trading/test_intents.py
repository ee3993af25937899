"""The idempotency keys depend on their facts and on nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.trading_values import make_intent, make_signal, make_strategy
from torghut_core.trading.decision.intents import Intent, exit_key, is_own_client_id
from torghut_core.trading.decision.intents import make_intent as intent_of
from torghut_core.trading.model import Proposal

GOLDEN = {
    "macd-rsi": "875083af7203bf43e20ed52fcdd5861959fcdbf728ba3f07ba5b3cf082584685",
    "naïve-Kreuzung-交叉": "79e4c45bb14fbc3c127b8ac7838a3c0775b76e1a8f19f8275f694f0eda832862",
}


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_key_when_facts_are_these_then_these_keys(name: str) -> None:
    """The keys are stored and sent: they must never change between versions, names that are not ASCII included."""
    intent = make_intent(strategy=make_strategy(name=name))
    assert intent.key == GOLDEN[name]
    assert is_own_client_id(intent.key)


def test_legacy_key_when_written_by_the_version_before_then_recognised() -> None:
    """A decision made before legs were part of the key is not made again."""
    intent = make_intent(strategy=make_strategy(name="s"), signal=make_signal(symbol="A", event_ns=0))
    assert intent.legacy_key[:12] == "079a81f2eaa8"
    assert intent.legacy_key != intent.key


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
        {"signal": make_signal(close=1.0, ingest_ms=7, rsi14=None, macd=9.0, bid=None)},
        {"strategy": make_strategy(id="other", max_notional_per_trade=None, parameters={"oversold": 1})},
    ],
)
def test_key_when_anything_else_differs_then_the_same_key(changes: dict[str, Any]) -> None:
    """Telemetry, revisions and settings do not make a second order."""
    assert make_intent(**changes).key == make_intent().key


EXIT: dict[str, Any] = {
    "account_label": "paper",
    "holding": "AAPL/long/1",
    "strategy": "s",
    "cause": "signal",
    "attempt": 1,
}


@pytest.mark.parametrize(
    "changes",
    [
        {"account_label": "live"},
        {"holding": "AAPL/long/2"},
        {"holding": "AAPL/short/1"},
        {"strategy": "t"},
        {"cause": "stop_loss"},
        {"attempt": 2},
    ],
)
def test_exit_key_when_one_of_its_facts_differs_then_another_key(changes: dict[str, Any]) -> None:
    """Holding, cause and attempt, of one account and strategy."""
    assert exit_key(**{**EXIT, **changes}) != exit_key(**EXIT)


def test_exit_key_when_facts_are_these_then_this_key() -> None:
    """Pinned like the entry's."""
    assert exit_key(**EXIT) == "439f598e737ad8872f7d257e846d35e616284baab8177023deab88ebc40a6609"


def test_own_client_id_when_a_person_placed_the_order_then_not_ours() -> None:
    """A UUID, as other programs use, is not one of our keys."""
    assert not is_own_client_id("b0b6dd9d-8b9b-48a9-ba46-b9d54906e415")


def test_make_intent_when_a_rule_proposes_then_all_of_it_is_kept() -> None:
    """Strategy, signal, side, reasons and account, and the signal's symbol for its own."""
    strategy, signal = make_strategy(), make_signal(symbol="T")
    made = intent_of(strategy, signal, Proposal(side="sell", rationale="because"), "live")
    assert made == Intent(strategy=strategy, signal=signal, side="sell", rationale="because", account_label="live")
    assert made.symbol == "T"
