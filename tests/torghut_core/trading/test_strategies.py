"""The rule's decision table, and what the catalogue refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.trading_values import make_signal
from torghut_core.errors import InputError
from torghut_core.trading.model import Signal
from torghut_core.trading.strategies import View
from torghut_core.trading.strategies.catalogue import DEFAULT_PATH, read_catalogue
from torghut_core.trading.strategies.macd_rsi import propose


def _window(*bars: tuple[float | None, float | None]) -> list[Signal]:
    return [make_signal(event_ns=i, macd=macd, macd_signal=0.0, rsi14=rsi) for i, (macd, rsi) in enumerate(bars)]


@pytest.mark.parametrize(
    ("bars", "side"),
    [
        ([(-1, 30), (1, 40)], "buy"),
        ([(0, 30), (1, 40)], "buy"),
        ([(-1, 50), (1, 34.9)], "buy"),
        ([(-1, 50), (1, 35)], None),
        ([(-1, 30), (0, 30)], None),
        ([(1, 30), (2, 30)], None),
        ([(1, 70), (-1, 60)], "sell"),
        ([(0, 70), (-1, 60)], "sell"),
        ([(1, 65), (-1, 65)], None),
        ([(1, 70), (0, 70)], None),
        ([(-1, 70), (-2, 70)], None),
        ([(1, 30)], None),
        ([(None, 30), (1, 30)], None),
        ([(-1, None), (1, None)], None),
        ([(-1, 0), (1, 50)], "buy"),
    ],
)
def test_macd_rsi_when_bars_are_these_then_this_side(
    bars: list[tuple[float | None, float | None]], side: str | None
) -> None:
    """Only a transition proposes, only after an extreme, and a zero is a value."""
    proposal = propose(View(_window(*bars)))
    assert (None if proposal is None else proposal.side) == side


def test_macd_rsi_when_level_stays_then_one_proposal() -> None:
    """Five bars above the line are one buy."""
    bars = [(-1.0, 20.0)] + [(1.0, 20.0)] * 5
    sides = [propose(View(_window(*bars[: end + 1]))) is not None for end in range(len(bars))]
    assert sides == [False, True, False, False, False, False]


@pytest.mark.parametrize(("within", "found"), [(3, True), (2, False)])
def test_macd_rsi_when_extreme_is_too_long_ago_then_nothing(within: int, found: bool) -> None:
    """An extreme counts for `within_bars` bars before the cross."""
    bars = [(-1.0, 20.0), (-1.0, 50.0), (-1.0, 50.0), (1.0, 50.0)]
    assert (propose(View(_window(*bars)), within_bars=within) is not None) is found


def test_catalogue_when_default_then_one_enabled_strategy() -> None:
    """The packaged catalogue reads, and its budget is small."""
    [entry] = read_catalogue(DEFAULT_PATH)
    assert (entry.name, entry.base_timeframe, entry.enabled, entry.symbols) == ("macd-rsi", "1Sec", True, ())
    assert entry.max_notional_per_trade == 2000


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("strategies: [{name: a, colour: red}]", "colour: unknown key"),
        ("strategies: [{name: a}, {name: a}]", "'a' stands twice"),
        ("strategies: [{name: a, rule: moon}]", "rule='moon'"),
        ("strategies: [{name: a, base_timeframe: 1Fortnight}]", "base_timeframe"),
        ("strategies: [{name: a, enabled: sure}]", "enabled"),
        ("strategies: [{name: a, max_notional_per_trade: -1}]", "max_notional_per_trade"),
        ("strategies: [{name: a, max_position_pct_equity: 20}]", "at most 1"),
        ("strategies: [{name: a, parameters: {oversold: 90}}]", "oversold < overbought"),
        ("strategies: [{name: a, parameters: {speed: 1}}]", "parameters.speed"),
        ("strategies: [{name: a, symbols: [ON, true]}]", "universe_symbols"),
        ("strategies: [{name: a, symbols: [T], universe_symbols: [T]}]", "keep one"),
        ("strategies: [{enabled: true}]", "name"),
        ("strategy: []", "one key, strategies"),
        ("strategies: [", "not valid YAML"),
        ("strategies: [{name: a, name: b}]", "not valid YAML"),
    ],
)
def test_catalogue_when_a_rule_is_broken_then_file_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    """A file is taken whole or not at all."""
    path = tmp_path / "strategies.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"strategies\.yaml") as caught:
        read_catalogue(path)
    assert named in str(caught.value)
