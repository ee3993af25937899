"""Grids and windows: what is tried, and what is refused with a sentence."""

from __future__ import annotations

import pytest

from tests.fakes.signal_recordings import OPEN_NS, SECOND_NS, recording, series
from torghut_core.errors import InputError
from torghut_core.trading.backtest.sweep import choices, folds, read_axis, with_choice
from torghut_core.trading.strategies.catalogue import DEFAULT_PATH, read_catalogue
from torghut_core.trading.strategies.shipped import SHIPPED


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("oversold=20..40:5", (20, 25, 30, 35, 40)),
        ("oversold = 20 .. 22", (20, 21, 22)),
        ("x=0..0.3:0.1", (0, 0.1, 0.2, 0.3)),
        ("x=1,5,2.5", (1, 5, 2.5)),
        ("x=-2..2:2", (-2, 0, 2)),
    ],
)
def test_axis_when_well_formed_then_every_value_is_there_once(text: str, values: tuple[float, ...]) -> None:
    """Ends are included, whole numbers stay whole, tenths are tenths."""
    assert read_axis(text).values == values


@pytest.mark.parametrize(
    "text", ["oversold", "=1..2", "x=", "x=a..b", "x=5..1", "x=1..2:0", "x=1..9999999:0.001", "x=1..2..3"]
)
def test_axis_when_malformed_then_it_is_refused_by_name(text: str) -> None:
    """One sentence with the option and the rule."""
    with pytest.raises(InputError, match="--sweep"):
        read_axis(text)


def test_choices_when_two_axes_then_all_pairs_and_a_name_only_once() -> None:
    """The last axis is the fastest; a parameter given twice means nothing."""
    assert choices([read_axis("a=1,2"), read_axis("b=3,4")]) == [
        (("a", 1), ("b", 3)),
        (("a", 1), ("b", 4)),
        (("a", 2), ("b", 3)),
        (("a", 2), ("b", 4)),
    ]
    with pytest.raises(InputError, match="twice"):
        choices([read_axis("a=1"), read_axis("a=2")])


def test_with_choice_when_no_strategy_has_the_parameter_or_it_is_out_of_bounds_then_it_is_refused() -> None:
    """The catalogue's own checks hold for what is swept too."""
    entries = read_catalogue(DEFAULT_PATH)
    [changed] = with_choice(entries, (("oversold", 20),), SHIPPED)
    assert changed.parameters["oversold"] == 20
    with pytest.raises(InputError, match="no enabled strategy has a parameter nothing"):
        with_choice(entries, (("nothing", 1),), SHIPPED)
    with pytest.raises(InputError, match="oversold"):
        with_choice(entries, (("oversold", 120),), SHIPPED)


def test_folds_when_cut_then_each_is_judged_on_what_comes_after_what_it_was_chosen_on() -> None:
    """Two windows of a recording of three parts; nothing is judged that was seen before."""
    found = list(folds(recording(series(rows=[{}] * 90)), 2, from_ns=0, to_ns=1 << 62))
    seconds = [tuple((at - OPEN_NS) // SECOND_NS for at in (f.chosen_from, f.judged_from, f.judged_to)) for f in found]
    assert seconds == [(0, 30, 60), (30, 60, 89)]
    with pytest.raises(InputError, match="too few"):
        list(folds(recording(series(rows=[{}] * 4)), 3, from_ns=0, to_ns=1 << 62))
