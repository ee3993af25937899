"""What a rule may answer: everything else is named in one sentence, and nothing of it is traded."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.trading_values import make_signal
from torghut_core.trading.model import Proposal
from torghut_core.trading.strategies.definition import definition_of, strategy
from torghut_core.trading.strategies.judgement import ask
from torghut_core.trading.strategies.parameters import Parameter
from torghut_core.trading.strategies.places import MisstatedError, Place
from torghut_core.trading.strategies.rule import Rule, RuleFault, View

VIEW = View([make_signal(close=100.0)])


def _rule(propose: Callable[[View], Any], **changes: Any) -> Rule:
    values: dict[str, Any] = {"name": "mine", "version": "1", "lookback": 1, **changes}
    definition = definition_of(strategy(**values)(propose))
    assert definition is not None
    return definition.build(definition.read({}, Place()))


def _buy(**changes: Any) -> Proposal:
    return Proposal(**{"side": "buy", "rationale": "because", **changes})


@pytest.mark.parametrize(
    ("answer", "sides"),
    [
        (None, []),
        ([], []),
        (_buy(), ["buy"]),
        ((_buy(), _buy(side="sell")), ["buy", "sell"]),
    ],
)
def test_ask_when_the_answer_is_one_then_its_proposals(answer: Any, sides: list[str]) -> None:
    """One, none, or one a side."""
    assert [each.side for each in ask(_rule(lambda _: answer), VIEW)] == sides


def test_ask_when_numbers_are_floats_then_they_become_exact() -> None:
    """As fine as the money columns, without what arithmetic in floats leaves behind."""
    [found] = ask(_rule(lambda _: _buy(qty=3, limit=100.1, stop=0.1 + 0.2, target=Decimal("101.123456789"))), VIEW)
    assert (found.qty, found.limit, found.stop, found.target) == (
        Decimal(3),
        Decimal("100.1"),
        Decimal("0.3"),
        Decimal("101.12345679"),
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("buy", "answered str: must be a Proposal, a sequence of them, or None"),
        (True, "answered bool: must be"),
        ({"side": "buy"}, "answered dict: must be"),
        ([5], "answered int: must be"),
        ([_buy(), _buy()], "proposed buy twice"),
        ([_buy()] * 3, "answered 3 proposals"),
        (_buy(side="hold"), "side='hold': must be buy or sell"),
        (_buy(side=["buy"]), "side=['buy']: must be buy or sell"),
        (_buy(rationale=""), "rationale: must be text of 1 to 280"),
        (_buy(rationale="x" * 281), "rationale: must be text of 1 to 280"),
        (_buy(rationale="a\nb"), "rationale: must be text of 1 to 280"),
        (_buy(rationale=None), "rationale: must be text of 1 to 280"),
        (_buy(qty=float("nan")), "qty=nan: must be a number above 0"),
        (_buy(qty=Decimal("sNaN")), "qty=Decimal('sNaN'): must be a number above 0"),
        (_buy(budget=float("inf")), "budget=inf: must be a number above 0"),
        (_buy(qty=-1), "qty=-1: must be a number above 0"),
        (_buy(qty=0), "qty=0: must be a number above 0"),
        (_buy(qty=True), "qty=True: must be a number above 0"),
        (_buy(qty="5"), "qty='5': must be a number above 0"),
        (_buy(qty=10**400), "must be a number above 0 and at most 1000000000"),
        (_buy(qty=1e-12), "qty=1e-12: must be at least 0.00000001"),
        (_buy(qty=1, budget=1), "qty and budget: must not both be given"),
        (_buy(stop=100), "stop=100: must be below 100.0 for a buy"),
        (_buy(target=100), "target=100: must be above 100.0 for a buy"),
        (_buy(side="sell", stop=99), "stop=99: must be above 100.0 for a sell"),
        (_buy(side="sell", target=101), "target=101: must be below 100.0 for a sell"),
        (_buy(limit=90, stop=95), "stop=95: must be below 90 for a buy"),
    ],
)
def test_ask_when_the_answer_is_nonsense_then_one_sentence(answer: Any, said: str) -> None:
    """It names the strategy, the value, the rule, the symbol and the bar."""
    with pytest.raises(RuleFault) as caught:
        ask(_rule(lambda _: answer), VIEW)
    assert caught.value.reason == "nonsense"
    assert said in str(caught.value)
    assert str(caught.value).startswith("mine: ")
    assert str(caught.value).endswith("on AAPL at 2026-01-05T14:59:59Z; nothing is traded")


def test_ask_when_an_answer_fails_when_it_is_looked_at_then_one_sentence() -> None:
    """An object of the author's own may do anything."""

    class Trap(list[Proposal]):
        def __len__(self) -> int:
            raise KeyError("hunter22")

    with pytest.raises(RuleFault, match=r"mine: its answer raised KeyError at test_judgement\.py line") as caught:
        ask(_rule(lambda _: Trap()), VIEW)
    assert caught.value.reason == "nonsense"


def test_ask_when_a_rule_raises_then_where_and_never_its_text() -> None:
    """The text of an exception may hold anything."""

    def fail(_: View) -> None:
        raise ValueError("hunter22")

    with pytest.raises(RuleFault, match=r"mine: raised ValueError at test_judgement\.py line \d+ on AAPL") as caught:
        ask(_rule(fail), VIEW)
    assert "hunter22" not in str(caught.value)


def test_ask_when_a_rule_without_positions_sets_a_stop_then_refused() -> None:
    """Who does not look at positions cannot have one watched."""
    with pytest.raises(RuleFault, match="stop and target need uses_position"):
        ask(_rule(lambda _: _buy(stop=99), uses_position=False), VIEW)


@pytest.mark.parametrize(
    ("parameter", "value", "said"),
    [
        (
            {"type": int, "default": 1, "at_least": 0, "at_most": 9, "unit": "bars"},
            10,
            "a whole number from 0 to 9 (bars)",
        ),
        ({"type": int, "default": 1}, 1.5, "a whole number"),
        ({"type": int, "default": 1}, True, "a whole number"),
        ({"type": float, "default": 1.0, "at_least": 0}, -0.1, "a number not below 0"),
        ({"type": float, "default": 1.0, "at_most": 5}, 6, "a number not above 5"),
        ({"type": float, "default": 1.0}, float("nan"), "a number"),
        ({"type": float, "default": 1.0}, 10**400, "a number"),
        ({"type": bool, "default": True}, 1, "true or false"),
        ({"type": str, "default": "a", "choices": ("a", "b")}, "c", "one of a, b"),
        ({"type": str, "default": "a"}, "a\nb", "text of 1 to 200 printable characters"),
    ],
)
def test_parameter_when_a_value_breaks_its_rule_then_named(parameter: dict[str, Any], value: Any, said: str) -> None:
    """Key, value and rule, with the unit."""
    declared = strategy(name="mine", version="1", lookback=1, parameters=[Parameter(name="p", **parameter)])(
        lambda _: None
    )
    definition = definition_of(declared)
    assert definition is not None
    with pytest.raises(MisstatedError) as caught:
        definition.read({"p": value}, Place(("parameters",)))
    assert str(caught.value).startswith("parameters.p=")
    assert str(caught.value).endswith(f": must be {said}")
    assert definition.read({}, Place()) == {"p": parameter["default"]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ""}, "strategy name ''"),
        ({"version": "a\nb"}, "version must be text"),
        ({"parameters": [Parameter(name="a", type=int, default=1)] * 2}, "two parameters have one name"),
        ({"lookback": 601}, "lookback must be a whole number from 1 to 600 bars"),
        ({"lookback": lambda: 0}, "lookback must be a whole number from 1 to 600 bars"),
    ],
)
def test_strategy_when_the_declaration_cannot_be_used_then_refused(changes: dict[str, Any], said: str) -> None:
    """At once, or when it is built."""
    with pytest.raises(ValueError, match=said):
        _rule(lambda _: None, **changes)


def test_parameter_when_its_default_breaks_its_own_rule_then_refused() -> None:
    """An author learns of it before anybody trades."""
    with pytest.raises(ValueError, match="parameter p: its own default 9 must be a whole number not above 5"):
        Parameter(name="p", type=int, default=9, at_most=5)
    with pytest.raises(ValueError, match="must be a Python identifier"):
        Parameter(name="a b", type=int, default=9)
