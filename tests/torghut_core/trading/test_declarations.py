"""Declared strategies: what the catalogue takes and refuses, by line and column, and what the rule then proposes."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.trading_values import make_signal
from torghut_core.errors import InputError
from torghut_core.trading.strategies.catalogue import catalogue_path, read_catalogue
from torghut_core.trading.strategies.declared import declared_rule
from torghut_core.trading.strategies.judgement import ask
from torghut_core.trading.strategies.library import load_rules
from torghut_core.trading.strategies.rule import Held, View
from torghut_core.trading.strategies.shipped import SHIPPED

GOOD = """\
strategies:
  - name: dips
    base_timeframe: 1Sec
    entry:
      - close < 0.99 * vwap_session
      - any:
          - rsi14 < 30 within 5 bars
          - not: "time after 15:00"
    exit:
      any: [close > vwap_session, held for 60 bars]
    stop: {percent: 1.5}
    target: {at: vwap_session + 0.05}
    size: {equity_percent: 5}
    version: 3
"""


def _read(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "strategies.yaml"
    path.write_text(text)
    return read_catalogue(path)


def test_catalogue_when_a_strategy_is_declared_then_rule_and_limits_are_known(tmp_path: Path) -> None:
    """Percent stops and shares of equity are the keys that were there before; the rest is the rule's."""
    [entry] = _read(tmp_path, GOOD)
    assert (entry.name, entry.rule) == ("dips", "conditions")
    assert (entry.stop_loss_pct, entry.max_position_pct_equity) == (Decimal("0.015"), Decimal("0.05"))
    assert (entry.take_profit_pct, entry.max_notional_per_trade) == (None, None)
    rules, faults = load_rules([entry], SHIPPED)
    assert faults == {}
    assert (rules["dips"].version, rules["dips"].lookback, len(rules["dips"].digest)) == ("3", 61, 64)


def test_digest_when_declaration_changes_then_another_one(tmp_path: Path) -> None:
    """The same words are the same strategy, whatever it is called; other words are another."""
    [first] = _read(tmp_path, GOOD)
    [renamed] = _read(tmp_path, GOOD.replace("dips", "falls"))
    [changed] = _read(tmp_path, GOOD.replace("60 bars", "61 bars"))
    digests = [load_rules([entry], SHIPPED)[0][entry.name].digest for entry in (first, renamed, changed)]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("vwap_session\n      - any", "moon\n      - any", "line 5, column 24: strategies[0].entry[0]="),
        ("vwap_session\n      - any", "moon\n      - any", "unknown column moon; known are close, macd,"),
        ('"time after 15:00"', '"time after 25:00"', "line 8, column 30: strategies[0].entry[1].any[1].not="),
        ("rsi14 < 30 within", "rsi14 ! 30 within", "line 7, column 19: strategies[0].entry[1].any[0]="),
        ("      - any:", "      - some:", "line 6, column 9: strategies[0].entry[1]: must be a condition"),
        ("held for 60 bars", "held for long", "line 10, column 44: strategies[0].exit.any[1]='held for long': "),
        ("percent: 1.5", "percent: 150", "line 11, column 21: strategies[0].stop.percent=150: must be a number"),
        ("percent: 1.5", "cents: 5", "strategies[0].stop: must hold one of percent, volatility, at"),
        ("vwap_session + 0.05", "100", "strategies[0].target.at='100': must be a price from a column"),
        ("vwap_session + 0.05", "average_price", "strategies[0].target.at='average_price': must be a price"),
        ("equity_percent: 5", "equity_percent: 500", "strategies[0].size.equity_percent=500: must be a number"),
        ("equity_percent: 5", "shares: 5", "strategies[0].size: must hold one of budget, equity_percent, volatility"),
        ("version: 3", "version: []", "line 14, column 14: strategies[0].version="),
        ("version: 3", "side: up", "strategies[0].side='up': must be one of long, short"),
        ("version: 3", "colour: red", "line 14, column 5: strategies[0].colour: unknown key"),
        ("version: 3", "rule: macd-rsi", "is for declared strategies; keep it or rule 'macd-rsi'"),
        ("version: 3", "parameters: {a: 1}", "strategies[0].parameters: a declared strategy takes none"),
        ("version: 3", "stop_loss_pct: 0.1", "stop.percent and stop_loss_pct are one key under two names"),
        ("1Sec", "1Fortnight", "line 3, column 21: strategies[0].base_timeframe='1Fortnight': must be one of"),
        ("{at: vwap_session + 0.05}", "{volatility: 0}", "strategies[0].target.volatility=0: must be a number above 0"),
        ("1Sec\n", "1Min\n    # minute bars\n", None),
    ],
)
def test_catalogue_when_a_declaration_is_wrong_then_line_column_key_value_and_rule(
    tmp_path: Path, old: str, new: str, said: str | None
) -> None:
    """One sentence that names all of it; and what is only different is taken."""
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    if said is None:
        assert len(_read(tmp_path, text)) == 1
        return
    with pytest.raises(InputError) as caught:
        _read(tmp_path, text)
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'strategies.yaml'}: line ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({}, "entry: must be given"),
        ({"entry": []}, "must hold at least one condition"),
        ({"entry": 5}, "must be a condition"),
        ({"entry": {"all": "close > 1"}}, "must be a condition"),
        ({"entry": ["close > 1"] * 51}, "no more than 50 conditions"),
        ({"entry": "close > 1"}, "exit: must be given"),
    ],
)
def test_catalogue_when_conditions_are_missing_or_too_many_then_refused(
    tmp_path: Path, declared: dict[str, Any], said: str
) -> None:
    """What opens must be said, and what closes it."""
    import json

    with pytest.raises(InputError) as caught:
        _read(tmp_path, json.dumps({"strategies": [{"name": "a", "rule": "conditions", **declared}]}))
    assert said in str(caught.value)


def test_catalogue_when_conditions_are_nested_too_deep_then_refused(tmp_path: Path) -> None:
    """Nobody can read them either."""
    text = "{not: " * 12 + "flat" + "}" * 12
    with pytest.raises(InputError, match="nested no deeper than 8"):
        _read(tmp_path, f"strategies: [{{name: a, entry: {text}, stop: {{percent: 1}}}}]")


def test_catalogue_when_volatility_is_asked_of_minute_bars_then_refused(tmp_path: Path) -> None:
    """Their column is null for ever: the strategy would never trade."""
    text = "strategies: [{name: a, entry: close > 1, stop: {volatility: 3}}]"
    with pytest.raises(InputError, match="vol_realized_w60s, which 1Sec bars alone have, not 1Min"):
        _read(tmp_path, text)


def test_catalogue_when_a_file_is_half_written_then_refused_by_line(tmp_path: Path) -> None:
    """Any cut of a good file is refused, or is a smaller good file: never half a strategy."""
    for end in range(len("strategies:\n"), len(GOOD)):
        try:
            entries = _read(tmp_path, GOOD[:end])
        except InputError as error:
            assert "strategies.yaml" in str(error)
        else:
            assert all(entry.rule in ("conditions", "macd-rsi") for entry in entries)


def _view(held: Held | None = None, **columns: Any) -> View:
    values = {"close": 100.0, "rsi14": 20.0, "volatility": 0.001, "boll_lower": 99.0, "boll_mid": 101.0}
    return View([make_signal(**{**values, **columns})], held)


def _held(qty: int) -> Held:
    return Held(qty=Decimal(qty), average_price=Decimal(100), bars=3, opened_ns=0)


BASE: dict[str, Any] = {"entry": "rsi14 < 30", "exit": "rsi14 > 70"}


def test_declared_when_entry_holds_then_one_proposal_with_its_words() -> None:
    """Side and reasons, and nothing that was not asked for."""
    [proposal] = ask(declared_rule(BASE), _view())
    assert (proposal.side, proposal.rationale) == ("buy", "entry: rsi14 < 30")
    assert (proposal.qty, proposal.budget, proposal.limit, proposal.stop, proposal.target) == (None,) * 5


@pytest.mark.parametrize(
    ("held", "rsi", "sides"),
    [
        (None, 20.0, ["buy"]),
        (None, 80.0, []),
        (_held(10), 20.0, []),
        (_held(10), 80.0, ["sell"]),
        (_held(-10), 80.0, ["buy"]),
        (_held(10), None, []),
        (None, None, []),
    ],
)
def test_declared_when_it_is_in_or_out_then_only_the_other_way(
    held: Held | None, rsi: float | None, sides: list[str]
) -> None:
    """It enters while flat, and leaves while it holds something, whichever way."""
    assert [each.side for each in ask(declared_rule(BASE), _view(held, rsi14=rsi))] == sides


def test_declared_when_short_then_it_sells_first() -> None:
    """And its stop lies above."""
    declared = {**BASE, "side": "short", "stop": {"volatility": 10}, "target": {"at": "boll_lower"}}
    [proposal] = ask(declared_rule(declared), _view())
    assert (proposal.side, proposal.stop, proposal.target) == ("sell", Decimal("101.0"), Decimal("99.0"))


def test_declared_when_levels_and_size_are_asked_for_then_they_are_proposed() -> None:
    """A stop by column, a target and a size by volatility: $10 for one σ of 0.1 % of $100 are 100 shares."""
    declared = {
        **BASE,
        "stop": {"at": "boll_lower - 0.5"},
        "target": {"volatility": 20},
        "size": {"volatility": 10},
    }
    [proposal] = ask(declared_rule(declared), _view())
    assert (proposal.stop, proposal.target, proposal.qty) == (Decimal("98.5"), Decimal("102.0"), Decimal("100.0"))


@pytest.mark.parametrize(
    "columns",
    [{"boll_lower": None}, {"boll_lower": 100.6}, {"volatility": None}, {"volatility": 0.0}],
)
def test_declared_when_a_level_cannot_be_placed_then_it_does_not_enter(columns: dict[str, float | None]) -> None:
    """Nothing is bought without the protection, or the size, that was asked for."""
    declared = {**BASE, "stop": {"at": "boll_lower - 0.5"}, "size": {"volatility": 10}}
    assert ask(declared_rule(declared), _view(**columns)) == ()


def test_shipped_catalogues_when_read_then_every_one_loads() -> None:
    """What ships can be named and traded."""
    names = ["default", "bollinger-reversion", "opening-range-breakout"]
    for name in names:
        entries = read_catalogue(catalogue_path(f"shipped:{name}"))
        rules, faults = load_rules(entries, SHIPPED)
        assert (len(rules), faults) == (len(entries), {})
    with pytest.raises(InputError, match="no such catalogue ships; there are bollinger-reversion, default, opening"):
        catalogue_path("shipped:moon")
    assert catalogue_path("a.yaml") == Path("a.yaml")
