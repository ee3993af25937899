"""Which prints are prices: every row of the table of sale conditions, on both tapes and none, in and out of hours."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest

from tests.fakes.ta_inputs import START, bar, run_of, trade
from torghut_core.rfc3339 import parse_ns
from torghut_core.ta.decoding.conditions import condition_bits
from torghut_core.ta.engine.engine import EngineSettings
from torghut_core.ta.engine.prices import EVERYTHING, HIGH_LOW, VOLUME, WEIGHS, OddLots, Pricing

REGULAR = parse_ns("2026-06-02T14:00:00Z")
EXTENDED = parse_ns("2026-06-02T12:00:00Z")
LAST_NOT = HIGH_LOW | VOLUME | WEIGHS

# By hand from the table: code, then what it moves on tape A or B, on tape C, and where the tape is not known.
TABLE: dict[str, tuple[int, int, int]] = {
    **dict.fromkeys([" ", "@", *"ADEFKLOSXY1568"], (EVERYTHING, EVERYTHING, EVERYTHING)),
    "B": (VOLUME, EVERYTHING, VOLUME),
    **dict.fromkeys("WCNRP4HV7U", (VOLUME, VOLUME, VOLUME)),
    **dict.fromkeys("GZ", (LAST_NOT, LAST_NOT, LAST_NOT)),
    "I": (EVERYTHING, EVERYTHING, EVERYTHING),
    **dict.fromkeys("MQ9", (0, 0, 0)),
    **dict.fromkeys(["2", "3", "0", "J", "?", "a", "TT"], (VOLUME, VOLUME, VOLUME)),
}
TAPES = (("A", 0), ("B", 0), ("C", 1), ("N", 2), (None, 2))


def _effect(codes: Sequence[str] | None, tape: str | None, at_ns: int = REGULAR, odd_lots: OddLots = "count") -> int:
    pricing = Pricing("sip", odd_lots, "XNYS")
    return int(pricing.effects(np.array([condition_bits(codes, tape)], np.uint64), np.array([at_ns]))[0])


@pytest.mark.parametrize("at_ns", [REGULAR, EXTENDED])
def test_effect_when_a_trade_has_one_condition_then_that_of_the_table(at_ns: int) -> None:
    """Each row alone, each tape; but for T the session changes nothing."""
    for code, effects in TABLE.items():
        for tape, column in TAPES:
            assert (code, tape, effects[column]) == (code, tape, _effect([code], tape, at_ns))
    assert [_effect(None, tape, at_ns) for tape, _ in TAPES] == [EVERYTHING] * 5


@pytest.mark.slow
def test_effect_when_conditions_are_combined_then_the_least_holds_column_by_column() -> None:
    """Any two, in any order, beside a regular one too."""
    for first, second in combinations(TABLE, 2):
        for tape, column in TAPES:
            least = TABLE[first][column] & TABLE[second][column]
            assert (first, second, tape, least) == (first, second, tape, _effect([first, second], tape))
            assert least == _effect(["@", second, " ", first], tape)


def test_effect_when_odd_lots_are_skipped_then_they_move_volume_and_weigh() -> None:
    """Only I says what an odd lot is; combined with what is no price it weighs no more either."""
    assert _effect(["@", "I"], "A", odd_lots="skip") == VOLUME | WEIGHS
    assert _effect(["W", "I"], "C", odd_lots="skip") == VOLUME
    assert _effect(["M", "I"], "C", odd_lots="skip") == 0
    assert _effect(["Z", "I"], "C", odd_lots="skip") == VOLUME | WEIGHS


@pytest.mark.parametrize(
    ("at", "is_regular"),
    [
        ("2026-06-02T13:29:59.999999999Z", False),
        ("2026-06-02T13:30:00Z", True),
        ("2026-06-02T19:59:59.999999999Z", True),
        ("2026-06-02T20:00:00Z", False),
        ("2026-11-27T17:59:59Z", True),  # a half day: it ends at 13:00 New York
        ("2026-11-27T18:00:00Z", False),
        ("2026-06-06T15:00:00Z", False),  # a Saturday
        ("2026-12-25T15:00:00Z", False),
        ("2012-06-05T15:00:00Z", True),  # a year that the calendar does not cover
        ("2012-06-05T20:00:00Z", False),
    ],
)
def test_effect_when_it_is_form_t_then_by_the_calendars_session(at: str, is_regular: bool) -> None:
    """Outside the regular session a regular sale, inside volume alone; half days and holidays included."""
    assert _effect(["@", "T"], "C", parse_ns(at)) == (VOLUME if is_regular else EVERYTHING)
    assert _effect(["U"], "C", parse_ns(at)) == VOLUME
    assert _effect(["T", "Z"], "C", parse_ns(at)) == (VOLUME if is_regular else LAST_NOT)


def test_pricing_when_conditions_pass_then_counted_by_code() -> None:
    """Regular ones are not; what the tape's plan does not have is told apart."""
    pricing = Pricing("sip", "count", "XNYS")
    said = [
        (["@"], "A"),
        (["@", "I"], "A"),
        (["I", "F"], "C"),
        (["W"], "A"),
        (["W"], "C"),
        (["2"], "C"),
        (["xx"], None),
    ]
    pricing.effects(np.array([condition_bits(*each) for each in said], np.uint64), np.full(len(said), REGULAR))
    assert dict(pricing.counts) == {"I": 2, "F": 1, "W": 2, "2": 1, "?": 1}
    assert pricing.unknown == 3
    assert pricing.effect(condition_bits(["M"], "A"), REGULAR) == 0
    assert pricing.counts["M"] == 0


AVERAGE = [
    trade("A", 0.1, 65.0, 100),
    trade("A", 0.2, 15.32, 40, codes="W"),
    trade("A", 0.3, 66.0, 10, codes="@I"),
    trade("A", 0.4, 64.0, 20, codes="Z"),
    trade("A", 0.5, 65.5, 30, codes="M"),
]


def test_bar_when_prints_are_no_prices_then_they_move_what_the_plan_lets_them() -> None:
    """An average price of 15.32 in a 65 dollar stock makes no low; a late report of 64 does, and is no close."""
    row = run_of(AVERAGE).bar("A", 1)
    assert [row[name] for name in ("o", "h", "l", "c", "v", "count")] == [65, 66, 64, 66, 170, 4]
    assert row["vwap"] == (65 * 100 + 66 * 10 + 64 * 20) / 130


def test_bar_when_odd_lots_are_skipped_then_the_vwap_may_lie_outside_the_range() -> None:
    """They weigh, and set no open, high, low or close."""
    records = [trade("A", 0.1, 65.0, 1), trade("A", 0.3, 66.0, 99, codes="@I")]
    row = run_of(records, EngineSettings(odd_lots="skip")).bar("A", 1)
    assert [row[name] for name in ("o", "h", "l", "c", "v", "count")] == [65, 65, 65, 65, 100, 2]
    assert row["vwap"] == (65 + 66 * 99) / 100


def test_bar_when_every_trade_counts_then_all_move_everything() -> None:
    """`all` is the arithmetic of before, official prints included."""
    run = run_of(AVERAGE, EngineSettings(trade_conditions="all"))
    row = run.bar("A", 1)
    assert [row[name] for name in ("o", "h", "l", "c", "v", "count")] == [65, 66, 15.32, 65.5, 200, 5]
    assert dict(run.engine.counts.conditions) == {"W": 1, "I": 1, "Z": 1, "M": 1}


def test_second_when_no_trade_prices_it_then_no_bar_and_its_volume_is_own() -> None:
    """Its trades are counted, enter no VWAP, and are in the own volume that is compared."""
    records = [
        trade("A", 0.5, 10, 100),
        trade("A", 1.5, 11, 40, codes="W"),
        trade("A", 1.6, 12, 2, codes="Z"),
        trade("A", 2.5, 10, 60),
        trade("A", 90, 10, 1),
        bar("A", 0, 10, volume=202),
    ]
    run = run_of(records)
    assert [key[3] for key in run.written if key[0] == "bar" and key[1] == "PT1S"] == [1, 3, 91]
    assert run.engine.counts.unpriced_trades == 2
    assert run.signal("A", 3)["vwap_session"] == 10
    compared = run.engine.compared()
    assert (compared.own.tolist(), compared.theirs.tolist(), compared.end.tolist()) == ([202], [202], [START + 60])
    assert compared.ratio == 1.0


def test_vwap_when_nothing_weighs_then_null() -> None:
    """An unweighed volume leaves every Σps/Σs null, and the bar's own."""
    row = run_of([trade("A", 0.5, 10, 0), trade("A", 0.6, 11, 40, codes="W")]).bar("A", 1)
    assert (row["vwap"], row["v"], row["c"]) == (None, 40, 10)
