"""The condition language: what each line means, what it refuses, and that its masks never miss a row."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from tests.fakes.trading_values import make_signal
from torghut_core.trading.model import Signal
from torghut_core.trading.strategies.columns import ATTRIBUTES, columns_of
from torghut_core.trading.strategies.conditions import KNOWN, SESSION_COLUMNS, Operand
from torghut_core.trading.strategies.declared import declared_rule
from torghut_core.trading.strategies.definition import definition_of
from torghut_core.trading.strategies.language import UnreadableError, parse_condition, parse_operand
from torghut_core.trading.strategies.macd_rsi import propose
from torghut_core.trading.strategies.opening_range import propose as propose_opening_range
from torghut_core.trading.strategies.rule import Held, View

OPEN_NS = 1_767_623_400_000_000_000  # 2026-01-05T14:30:00Z, 09:30 in New York
MINUTE = 60_000_000_000


def _bars(column: str, *values: float | None, **others: float | None) -> list[Signal]:
    """Return minute bars from 09:31 on, a column's values in turn."""
    attribute = ATTRIBUTES[column]
    return [
        make_signal(event_ns=OPEN_NS + (i + 1) * MINUTE, **{**others, attribute: value})
        for i, value in enumerate(values)
    ]


def _held(bars: int = 5, price: int = 100, minutes: int = 5) -> Held:
    return Held(qty=Decimal(10), average_price=Decimal(price), bars=bars, opened_ns=OPEN_NS + MINUTE - minutes * MINUTE)


@pytest.mark.parametrize(
    ("text", "values", "holds"),
    [
        ("rsi14 < 35", [34.9], True),
        ("rsi14 < 35", [35.0], False),
        ("rsi14 <= 35", [35.0], True),
        ("35 > rsi14", [34.0], True),
        ("rsi14 >= 35", [None], False),
        ("rsi14 < 35", [20.0, 50.0], False),
        ("rsi14 < 35 within 1 bars", [20.0, 50.0], True),
        ("rsi14 < 35 within 1 bar", [20.0, 50.0, 50.0], False),
        ("rsi14 < 35 within 2 bars", [20.0, None, 50.0], True),
        ("rsi14 crosses above 50", [50.0, 50.1], True),
        ("rsi14 crosses above 50", [50.1, 50.2], False),
        ("rsi14 crosses above 50", [None, 60.0], False),
        ("rsi14 crosses above 50", [60.0], False),
        ("rsi14 crosses below 50", [50.0, 49.0], True),
        ("rsi14 crosses below 50", [51.0, 50.0], False),
        ("rsi14 crosses above 50 within 2 bars", [40.0, 60.0, 61.0, 62.0], True),
        ("rsi14 crosses above 50 within 1 bars", [40.0, 60.0, 61.0, 62.0], False),
        ("2 * rsi14 + 1 > 100.5", [50.0], True),
        ("rsi14 * 2 - 1 > 99", [50.0], False),
        ("rsi14 > -1.5", [0.0], True),
        ("-1 * rsi14 < -10", [11.0], True),
    ],
)
def test_condition_when_the_column_is_so_then_it_holds_or_not(
    text: str, values: list[float | None], holds: bool
) -> None:
    """Each form, at its border, with a null, and with too few bars."""
    condition = parse_condition(text)
    assert condition.holds(View(_bars("rsi14", *values))) is holds
    assert condition.lookback <= 4


@pytest.mark.parametrize(
    ("text", "minute", "holds"),
    [
        ("time after 09:31", 1, True),
        ("time after 09:32", 1, False),
        ("time before 09:31", 1, False),
        ("time between 09:31 and 09:32", 1, True),
        ("time between 09:31 and 09:32", 2, False),
        ("minutes_from_open >= 15", 15, True),
        ("minutes_from_open >= 15", 14, False),
        ("minutes_to_close < 10", 381, True),
        ("minutes_to_close < 10", 380, False),
    ],
)
def test_condition_when_the_time_is_so_then_it_holds_or_not(text: str, minute: int, holds: bool) -> None:
    """New York's times, at the bar's end: the first counts, the second no longer."""
    assert parse_condition(text).holds(View([make_signal(event_ns=OPEN_NS + minute * MINUTE)])) is holds


def test_condition_when_the_exchange_is_closed_all_day_then_minutes_are_null() -> None:
    """On a Saturday nothing is before or after the open."""
    saturday = View([make_signal(event_ns=OPEN_NS + 5 * 1440 * MINUTE)])
    assert not parse_condition("minutes_from_open > -10000").holds(saturday)
    assert not parse_condition("minutes_to_close < 10000").holds(saturday)


@pytest.mark.parametrize(
    ("text", "held", "holds"),
    [
        ("flat", None, True),
        ("flat", _held(), False),
        ("held", _held(), True),
        ("held", None, False),
        ("held for 5 bars", _held(bars=5), True),
        ("held for 5 bars", _held(bars=4), False),
        ("held under 5 bars", _held(bars=4), True),
        ("held under 5 bars", _held(bars=5), False),
        ("held under 5 bars", None, False),
        ("bars_held >= 5", _held(bars=5), True),
        ("bars_held >= 5", None, False),
        ("minutes_held >= 5", _held(minutes=5), True),
        ("minutes_held >= 5", _held(minutes=4), False),
        ("close > 0.99 * average_price", _held(price=101), True),
        ("close > 0.99 * average_price", _held(price=102), False),
    ],
)
def test_condition_when_the_position_is_so_then_it_holds_or_not(text: str, held: Held | None, holds: bool) -> None:
    """The strategy's own position, and null figures of it while there is none."""
    window = [make_signal(event_ns=OPEN_NS + MINUTE, close=100.0)]
    assert parse_condition(text).holds(View(window, held)) is holds


@pytest.mark.parametrize(
    ("text", "said", "offset"),
    [
        ("moon > 1", "unknown column moon; known are close, macd", 0),
        ("close > moon", "unknown column moon", 8),
        ("close ! 1", "'!' has no meaning", 6),
        ("close", "here must stand <", 5),
        ("close > ", "here must stand a column or a number", 8),
        ("close > 1 2", "nothing may follow", 10),
        ("1 > 2", "must compare with a column", 0),
        ("close crosses over 1", "above or below", 14),
        ("close > 1 within 0 bars", "from 1 to 500", 17),
        ("close > 1 within 501 bars", "from 1 to 500", 17),
        ("close > 1 within 1.5 bars", "whole number", 17),
        ("close > 1 within 5 days", "bars", 19),
        ("close > -macd", "a minus needs a number", 9),
        ("close * macd > 1", "a number", 8),
        ("time after 25:00", "time of day", 11),
        ("time after noon", "time of day", 11),
        ("time between 10:00 and 09:00", "before the second", 13),
        ("time at 10:00", "after or before or between", 5),
        ("held until 5 bars", "for or under", 5),
        ("bars_held > 1 within 5 bars", "within needs a column of the signals", 0),
        ("average_price crosses above close", "crosses needs a column of the signals", 0),
        ("close > 1e13", "at most 1e12", 8),
        ("x" * 201, "no longer than 200", 0),
        ("", "here must stand a column or a number", 0),
    ],
)
def test_condition_when_it_cannot_be_read_then_what_and_where(text: str, said: str, offset: int) -> None:
    """The rule that is broken, and the character at which it is."""
    with pytest.raises(UnreadableError) as caught:
        parse_condition(text)
    assert said in str(caught.value)
    assert caught.value.offset == offset


def test_operand_when_it_has_factor_and_offset_then_both_are_read() -> None:
    """As a stop's price is written."""
    assert parse_operand("0.5 * boll_lower - 0.05") == Operand(column="boll_lower", factor=0.5, offset=-0.05)
    with pytest.raises(UnreadableError, match="nothing may follow"):
        parse_operand("close > 1")


_ROUGH = st.sampled_from([None, 0.0, 1.0, 2.0, 3.0])
_SIDES = (*ATTRIBUTES, *SESSION_COLUMNS)
_column = st.sampled_from([name for name in _SIDES if name != "warm"])
_number = st.sampled_from(["0", "1", "1.5", "2", "30"])


@st.composite
def _operands(draw: st.DrawFn) -> str:
    name = draw(_column)
    return draw(st.sampled_from([name, f"0.5 * {name}", f"{name} - 1", f"{name} * 2 + 1"]))


@st.composite
def _lines(draw: st.DrawFn) -> str:
    left, right = draw(_operands()), draw(st.one_of(_operands(), _number))
    middle = draw(st.sampled_from(["<", "<=", ">", ">=", "crosses above", "crosses below"]))
    within = draw(st.sampled_from(["", " within 1 bars", " within 3 bars"]))
    return draw(
        st.sampled_from(
            [
                f"{left} {middle} {right}{within}",
                "time between 09:32 and 09:35",
                "flat",
                "held for 2 bars",
                "close > average_price",
            ]
        )
    )


_trees: st.SearchStrategy[Any] = st.recursive(
    _lines(),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3),
        st.fixed_dictionaries({"any": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"not": inner}),
    ),
    max_leaves=5,
)


@st.composite
def _series(draw: st.DrawFn) -> list[Signal]:
    steps = draw(st.lists(st.integers(1, 30), min_size=1, max_size=12))
    # Over the open, the close and a weekend as well.
    at = OPEN_NS + draw(st.sampled_from([-3, 0, 387, 5 * 1440 - 3])) * MINUTE
    bars = []
    for step in steps:
        at += step * MINUTE // 10
        values = {name: draw(_ROUGH) for name in ("macd", "macd_signal", "rsi14", "boll_lower", "vwap_w5m", "ema12")}
        bars.append(make_signal(event_ns=at, close=draw(st.sampled_from([1.0, 2.0, 3.0])), bid=draw(_ROUGH), **values))
    return bars


@settings(max_examples=150, deadline=None)
@given(entry=_trees, leaving=_trees, bars=_series(), held=st.sampled_from([None, _held(bars=1), _held(price=2)]))
def test_candidates_when_propose_answers_then_the_mask_has_the_row(
    entry: Any, leaving: Any, bars: list[Signal], held: Held | None
) -> None:
    """Whatever is declared and held: a row that the mask leaves out is one that the rule is silent on."""
    rule = declared_rule({"entry": entry, "exit": leaving})
    mask = rule.candidates(columns_of(bars))
    answered = [bool(rule.propose(View(bars[: end + 1], held))) for end in range(len(bars))]
    assert [row for row, is_answer in enumerate(answered) if is_answer and not mask[row]] == []


@settings(max_examples=150, deadline=None)
@given(entry=_trees, bars=_series(), held=st.sampled_from([None, _held(bars=1)]))
def test_lookback_when_the_window_is_no_longer_then_the_same_answer(
    entry: Any, bars: list[Signal], held: Held | None
) -> None:
    """A rule is asked over its lookback alone."""
    rule = declared_rule({"entry": entry, "exit": "held for 1 bars"})
    assert rule.propose(View(bars[-rule.lookback :], held)) == rule.propose(View(bars, held))


@settings(max_examples=150, deadline=None)
@given(tree=_trees.filter(lambda tree: "held" not in str(tree) and "flat" not in str(tree)), bars=_series())
def test_possible_when_no_position_is_asked_for_then_the_mask_is_exact(tree: Any, bars: list[Signal]) -> None:
    """Columns and times alone decide: the mask is not only a superset."""
    if "average_price" in str(tree):
        return
    rule = declared_rule({"entry": tree, "stop": {"percent": 1}})
    answered = [bool(rule.propose(View(bars[: end + 1]))) for end in range(len(bars))]
    assert rule.candidates(columns_of(bars)).tolist() == answered


@settings(max_examples=100, deadline=None)
@given(bars=_series())
def test_candidates_when_a_shipped_rule_in_python_answers_then_its_mask_has_the_row(bars: list[Signal]) -> None:
    """The masks written by hand miss nothing either."""
    for declared, values in ((propose, {}), (propose_opening_range, {"range_minutes": 2, "entry_minutes": 60})):
        definition = definition_of(declared)
        assert definition is not None
        from torghut_core.trading.strategies.places import Place

        rule = definition.build(definition.read(values, Place()))
        mask = rule.candidates(columns_of(bars))
        assert mask is not None
        for held in (None, _held()):
            answered = np.array([bool(rule.propose(View(bars[: end + 1], held))) for end in range(len(bars))])
            assert not (answered & ~mask).any()


_MACD_RSI = {
    "entry": ["macd crosses above macd_signal", "rsi14 < 35 within 30 bars"],
    "exit": ["macd crosses below macd_signal", "rsi14 > 65 within 30 bars"],
}


@settings(max_examples=100, deadline=None)
@given(bars=_series())
def test_declared_when_it_says_what_macd_rsi_says_then_the_same_sides(bars: list[Signal]) -> None:
    """The language can say what the rule in Python says: buys while flat, sells while holding."""
    scaled = [make_signal(event_ns=b.event_ns, macd=b.macd, macd_signal=b.macd_signal, rsi14=_scaled(b)) for b in bars]
    rule = declared_rule(_MACD_RSI)
    for end in range(len(scaled)):
        window = scaled[: end + 1]
        answer = propose(View(window))
        side = None if answer is None else answer.side
        assert [each.side for each in rule.propose(View(window))] == (["buy"] if side == "buy" else [])
        assert [each.side for each in rule.propose(View(window, _held()))] == (["sell"] if side == "sell" else [])


def _scaled(bar: Signal) -> float | None:
    return None if bar.rsi14 is None else bar.rsi14 * 30


def test_known_when_listed_then_every_column_of_the_contract_is_there() -> None:
    """What a rule may speak of is every column of a signal but its keys."""
    from pathlib import Path

    import torghut_core.ta

    assert torghut_core.ta.__file__ is not None
    schema = Path(torghut_core.ta.__file__).with_name("schema.sql").read_text()
    table = schema.split("torghut.ta_signals{on_cluster} (")[1].split(") ENGINE")[0]
    columns = {line.split()[0] for line in table.strip().splitlines()}
    keys = {"symbol", "event_ts", "seq", "ingest_ts", "is_final", "source", "version"}
    keys |= {"window_size", "window_step", "window_start", "window_end"}
    assert columns - keys == set(ATTRIBUTES)
    assert set(ATTRIBUTES) < set(KNOWN)


@pytest.mark.parametrize(
    ("text", "lookback"),
    [
        ("close > 1", 1),
        ("close > 1 within 30 bars", 31),
        ("close crosses above 1 within 30 bars", 32),
        ("held for 60 bars", 61),
        ("held under 60 bars", 61),
        ("held for 599 bars", 600),
        ("bars_held > 5", 600),
        ("minutes_held > 500", 1),
    ],
)
def test_lookback_when_bars_are_counted_then_it_reaches_as_far(text: str, lookback: int) -> None:
    """Bars since the entry are counted over the bars that are seen: there must be enough of them."""
    assert parse_condition(text).lookback == lookback
