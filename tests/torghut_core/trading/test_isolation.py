"""Strategies from outside run in processes of their own: what they may do, and what becomes of those that misbehave."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tests.fakes.trading_values import NOW_NS, make_signal
from torghut_core.clock import SystemClock
from torghut_core.errors import InputError
from torghut_core.trading.isolation import IsolatedDefinition, IsolatedRule, OpenLibrary
from torghut_core.trading.model import Signal
from torghut_core.trading.strategies.catalogue import read_catalogue
from torghut_core.trading.strategies.judgement import ask
from torghut_core.trading.strategies.library import load_rules
from torghut_core.trading.strategies.places import Place
from torghut_core.trading.strategies.rule import Held, RuleFault, View
from torghut_core.trading.strategies.shipped import SHIPPED

pytestmark = pytest.mark.slow

SOURCE = """
import os, sys, time
from torghut_core.trading.strategies import Parameter, Proposal, strategy

def _check(bars, mode):
    return "mode fourteen does not go with 14 bars" if mode == "fourteen" and bars == 14 else None

@strategy(
    name="mine", version="7", lookback=lambda bars, mode: bars,
    parameters=[
        Parameter(name="bars", type=int, default=3, at_least=1, at_most=20, unit="bars"),
        Parameter(name="mode", type=str, default="ok"),
    ],
    check=_check,
)
class Mine:
    def __init__(self, bars, mode):
        self.mode = mode
        if mode == "unbuildable":
            raise RuntimeError("secret")

    def propose(self, view):
        mode = self.mode
        print("noise on standard output", mode)
        if mode == "for ever":
            while True:
                try:
                    pass
                except BaseException:
                    pass
        if mode == "asleep":
            while True:
                try:
                    time.sleep(60)
                except BaseException:
                    pass
        if mode == "raises":
            return 1 / 0
        if mode == "eats":
            self.kept = [bytearray(1 << 26) for _ in range(48)]
        if mode == "exits":
            os._exit(3)
        if mode == "quits":
            sys.exit("out")
        if mode == "environment":
            return Proposal(side="buy", rationale=",".join(sorted(os.environ)) or "none")
        if mode == "number":
            return 5
        if mode == "hold":
            return Proposal(side="hold", rationale="x")
        if mode == "nan":
            return Proposal(side="buy", rationale="x", qty=float("nan"))
        if mode == "negative":
            return [Proposal(side="buy", rationale="x", qty=-1)]
        closes = " ".join(f"{bar.close:g}" for bar in view.window)
        held = "flat" if view.position is None else str(view.position.qty)
        return Proposal(side="buy", rationale=f"{closes} {held}", limit=view.signal.close, stop=view.signal.close / 2)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> OpenLibrary:
    file = tmp_path_factory.mktemp("strategies") / "mine.py"
    file.write_text(SOURCE)
    environment = {**os.environ, "DB_DSN": "postgresql://secret", "APCA_API_SECRET_KEY": "secret"}
    return OpenLibrary(SHIPPED, clock=SystemClock(), seconds=60, environment=environment, files=[file], packages=[])


def _build(library: OpenLibrary, seconds: float = 60, **values: object) -> IsolatedRule:
    definition = library.get("mine")
    assert isinstance(definition, IsolatedDefinition)
    rule = replace(definition, seconds=seconds).build({"bars": 3, "mode": "ok", **values})  # type: ignore[dict-item]
    assert isinstance(rule, IsolatedRule)
    return rule


@pytest.fixture
def rule(library: OpenLibrary) -> Iterator[IsolatedRule]:
    found = _build(library)
    yield found
    found.close()


def _bars(*closes: float) -> list[Signal]:
    return [make_signal(event_ns=NOW_NS + i * 10**9, close=close) for i, close in enumerate(closes)]


def test_rule_when_opened_then_its_identity_is_known(library: OpenLibrary, rule: IsolatedRule) -> None:
    """Name, version, and a digest that other parameters change."""
    other = _build(library, bars=4)
    other.close()
    assert (rule.name, rule.version, rule.lookback, other.lookback) == ("mine", "7", 3, 4)
    assert len(rule.digest) == 64
    assert rule.digest != other.digest
    assert library.file_names == ("mine",)


def test_propose_when_bars_come_one_by_one_late_or_revised_then_the_window_is_the_one_given(
    rule: IsolatedRule,
) -> None:
    """What was told already is not told again, and never stands for what it is not."""
    bars = _bars(1, 2, 3, 4, 5)
    said = [ask(rule, View(bars[: end + 1]))[0].rationale for end in range(5)]
    assert said == ["1 flat", "1 2 flat", "1 2 3 flat", "2 3 4 flat", "3 4 5 flat"]
    revised = [*bars[:3], make_signal(event_ns=bars[3].event_ns, close=9.0), bars[4]]
    assert ask(rule, View(revised[:4]))[0].rationale == "2 3 9 flat"
    assert ask(rule, View(revised))[0].rationale == "3 9 5 flat"
    held = Held(qty=Decimal("-2.5"), average_price=Decimal(3), bars=1, opened_ns=0)
    [proposal] = ask(rule, View(_bars(8), held))
    assert (proposal.rationale, proposal.limit, proposal.stop) == ("8 -2.5", Decimal("8.0"), Decimal("4.0"))


@pytest.mark.parametrize(
    ("mode", "reason", "said"),
    [
        ("for ever", "deadline", "mine: gave no answer within 0.5 s; its process was ended"),
        ("asleep", "deadline", "mine: gave no answer within 0.5 s; its process was ended"),
        ("exits", "died", "mine: its process ended by itself (code 3)"),
        ("raises", "raised", "mine: raised ZeroDivisionError at mine.py line "),
        ("quits", "raised", "mine: raised SystemExit at mine.py line "),
        ("eats", "raised", "mine: raised MemoryError at mine.py line "),
        ("number", "nonsense", "answered int: must be a Proposal"),
        ("hold", "nonsense", "side='hold': must be buy or sell"),
        ("nan", "nonsense", "qty=nan: must be a number above 0"),
        ("negative", "nonsense", "qty=-1: must be a number above 0"),
    ],
)
def test_propose_when_a_strategy_misbehaves_then_one_sentence(
    library: OpenLibrary, mode: str, reason: str, said: str
) -> None:
    """Also one that catches everything in its loop; whatever its process did, it is gone afterwards or still answers."""
    rule = _build(library, seconds=0.5 if reason == "deadline" else 60, mode=mode)
    try:
        with pytest.raises(RuleFault) as caught:
            ask(rule, View(_bars(1)))
        assert caught.value.reason == reason
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
        is_gone = rule.worker.process_id is None
        assert is_gone is (reason in ("deadline", "died"))
    finally:
        rule.close()


def test_propose_when_credentials_are_in_the_environment_then_a_strategy_sees_none(library: OpenLibrary) -> None:
    """It is told where Python is, and nothing of brokers and databases."""
    rule = _build(library, mode="environment")
    try:
        [proposal] = ask(rule, View(_bars(1)))
    finally:
        rule.close()
    known = {"PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "HOME"}
    assert set(proposal.rationale.split(",")) <= known


def test_catalogue_when_it_names_a_strategy_from_outside_then_its_parameters_are_checked(
    library: OpenLibrary, tmp_path: Path
) -> None:
    """By its own declaration, and by its own check, with line and column."""
    path = tmp_path / "strategies.yaml"
    path.write_text("strategies:\n- {name: a, rule: mine, parameters: {bars: 5}}\n- {name: b, rule: macd-rsi}\n")
    rules, faults = load_rules(read_catalogue(path, library), library)
    assert (rules["a"].lookback, rules["b"].lookback, faults) == (5, 31, {})
    rules["a"].close()  # type: ignore[attr-defined]
    for text, said in (
        (
            "{bars: 21}",
            "line 1, column 55: strategies[0].parameters.bars=21: must be a whole number from 1 to 20 (bars)",
        ),
        ("{speed: 1}", "line 1, column 49: strategies[0].parameters.speed: unknown parameter; mine takes bars, mode"),
        ("{bars: 14, mode: fourteen}", "strategies[0].parameters: mode fourteen does not go with 14 bars"),
        ("{mode: unbuildable}", "strategies[0].parameters: raised RuntimeError at mine.py line "),
    ):
        path.write_text(f"strategies: [{{name: a, rule: mine, parameters: {text}}}]")
        with pytest.raises(InputError) as caught:
            read_catalogue(path, library)
        assert said in str(caught.value)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("1 / 0", "raised ZeroDivisionError at bad.py line 1 when it was loaded"),
        ("def (", "raised SyntaxError"),
        ("raise SystemExit", "raised SystemExit at bad.py line 1 when it was loaded"),
        ("x = 1", "declares no strategy"),
        (SOURCE.replace('name="mine"', 'name="macd-rsi"'), "'macd-rsi' is one that ships"),
        (SOURCE.replace("default=3", "default=30"), "raised ValueError at parameters.py line "),
    ],
)
def test_library_when_a_file_cannot_be_used_then_one_sentence(tmp_path: Path, source: str, said: str) -> None:
    """Whatever its author's module does when it is loaded."""
    file = tmp_path / "bad.py"
    file.write_text(source)
    with pytest.raises(RuleFault) as caught:
        OpenLibrary(SHIPPED, clock=SystemClock(), seconds=1.0, environment=os.environ, files=[file], packages=[])
    assert said in str(caught.value)


def test_library_when_a_package_names_a_strategy_then_it_is_loaded_when_asked_for(tmp_path: Path) -> None:
    """By its entry point, which must be called as the strategy is; one that fails says so where it is named."""
    (tmp_path / "torghut_outside.py").write_text(SOURCE)
    packages = [
        EntryPoint(name=name, value=value, group="torghut.strategies")
        for name, value in (
            ("mine", "torghut_outside:Mine"),
            ("other", "torghut_outside:Mine"),
            ("absent", "torghut_absent:Thing"),
            ("macd-rsi", "torghut_outside:Mine"),
        )
    ]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    library = OpenLibrary(SHIPPED, clock=SystemClock(), seconds=1.0, environment=environment, packages=packages)
    assert library.names == ("absent", "macd-rsi", "mine", "opening-range-breakout", "other")
    definition = library.get("mine")
    assert definition is not None
    assert (definition.name, definition.version) == ("mine", "7")
    assert library.get("macd-rsi") is SHIPPED.get("macd-rsi")
    assert (library.get("other"), library.get("absent"), library.get("moon")) == (None, None, None)
    assert "declares 'mine' under this entry point" in str(library.trouble("other"))
    assert "raised ModuleNotFoundError" in str(library.trouble("absent"))
    path = tmp_path / "strategies.yaml"
    path.write_text("strategies: [{name: a, rule: absent}, {name: b, rule: macd-rsi}]")
    rules, faults = load_rules(read_catalogue(path, library), library)
    assert (sorted(rules), sorted(faults)) == (["b"], ["a"])
    assert "a: rule 'absent': torghut_absent:Thing: raised ModuleNotFoundError" in str(faults["a"])
    path.write_text("strategies: [{name: a, rule: moon}]")
    with pytest.raises(InputError, match="rule='moon': must be one of absent, conditions, macd-rsi, mine, opening"):
        read_catalogue(path, library)


def test_definition_when_read_then_places_are_named(library: OpenLibrary) -> None:
    """As of any other rule."""
    definition = library.get("mine")
    assert definition is not None
    assert definition.read({}, Place()) == {"bars": 3, "mode": "ok"}
