"""One print once, and what a cancel or a correction does before and after its second closed."""

from __future__ import annotations

import random

import pytest

from tests.fakes.ta_inputs import Run, bar, cancel, correction, run_of, trade
from torghut_core.ta.engine.engine import EngineSettings

REVISE = EngineSettings(revises_late_trades=True)
FIRST = trade("A", 0.5, 10, 100, number=7)


@pytest.mark.parametrize("chosen", [EngineSettings(), REVISE])
def test_trade_when_it_comes_twice_then_it_counts_once(chosen: EngineSettings) -> None:
    """In one batch or in two, among others of the same instant."""
    others = [trade("A", 0.5, 10 + number / 100, 1) for number in range(40)]
    run = Run(chosen)
    run.feed([FIRST, *others, FIRST])
    run.feed([*others, trade("A", 0.6, 11, 5)])
    run.finish()
    row = run.bar("A", 1)
    assert (row["count"], row["v"], run.engine.counts.repeated_trades) == (42, 145, 41)


def test_trade_when_only_some_of_what_names_it_is_the_same_then_it_is_another() -> None:
    """Symbol, exchange, id and time make a print; without an id there is no telling."""
    nameless = trade("A", 0.5, 10, 1).value
    at = nameless.index(b'"i":')
    without = FIRST._replace(value=nameless[:at] + b'"j":' + nameless[at + 4 :])
    elsewhere = FIRST._replace(value=FIRST.value.replace(b'"x":"V"', b'"x":"P"'))
    run = run_of([FIRST, trade("B", 0.5, 10, number=7), trade("A", 0.501, 10, number=7), elsewhere, without, without])
    assert (run.bar("A", 1)["count"], run.bar("B", 1)["count"]) == (5, 1)
    assert run.engine.counts.repeated_trades == 0


def test_repeat_when_its_second_has_closed_then_it_is_late_or_known() -> None:
    """Dropped as late; where late trades revise, known for what it is, and nothing is written again."""
    records = [FIRST, trade("A", 9, 10), FIRST]
    assert run_of(records).engine.counts.late_trades == 1
    run = run_of(records, REVISE)
    assert (run.bar("A", 1)["count"], run.engine.counts.repeated_trades) == (1, 1)


def test_cancel_when_its_second_is_open_then_the_trade_never_was() -> None:
    """The bar is of the others; a repeat of what was cancelled stays cancelled; no watermark moves."""
    run = Run()
    run.feed([FIRST, trade("A", 0.6, 11, 5), cancel("A", 500, 7), FIRST])
    assert run.engine.trades.highest_ns // 10**6 % 1000 == 600
    run.feed([trade("A", 3, 12, 1)])
    run.emit()
    row = run.bar("A", 1)
    assert [row[name] for name in ("o", "l", "v", "count")] == [11, 11, 5, 1]
    assert dict(run.engine.counts.changes) == {"cancel": 1}


def test_correction_when_its_second_is_open_then_the_trade_is_another_at_its_own_time() -> None:
    """It stays where it was in the order; it may be corrected again by its new id; neither id counts again."""
    records = [FIRST, trade("A", 0.5, 11, 5), trade("A", 0.9, 12, 1)]
    once = [*records, correction("A", 1, 7, 10.5, 50, new=8)]
    row = run_of(once).bar("A", 1)
    assert [row[name] for name in ("o", "h", "l", "c", "v", "count")] == [10.5, 12, 10.5, 12, 56, 3]
    again = [*once, correction("A", 1, 8, 9.5, 40, new=9, codes="Z"), FIRST, trade("A", 0.5, 1, 1, number=8)]
    run = run_of(again)
    row = run.bar("A", 1)
    assert [row[name] for name in ("o", "h", "l", "c", "v", "count")] == [11, 12, 9.5, 12, 46, 3]
    assert dict(run.engine.counts.changes) == {"correction": 2}


@pytest.mark.parametrize("kind", ["cancel", "correction"])
def test_change_when_its_second_has_closed_then_it_is_counted(kind: str) -> None:
    """Also while the second still waits for quotes: what stood at the watermark decides, not the split."""
    change = cancel("A", 9, 7) if kind == "cancel" else correction("A", 9, 7, 20, 1, new=8)
    for idle in (frozenset[str](), frozenset(["quotes", "bars"])):
        run = Run()
        run.feed([FIRST, trade("A", 9, 10)])
        run.emit(idle)  # type: ignore[arg-type]
        run.feed([change, cancel("A", 9, 12345), cancel("NONE", 9, 7)])
        run.finish()
        assert run.bar("A", 1)["v"] == 100
        wanted = {"late_cancel": 3} if kind == "cancel" else {"late_correction": 1, "late_cancel": 2}
        assert dict(run.engine.counts.changes) == wanted


def test_change_when_late_trades_revise_then_the_row_is_written_again() -> None:
    """A closed bar is corrected under its key; the own volume too."""
    records = [FIRST, trade("A", 0.7, 12, 5), trade("A", 9, 10), correction("A", 9, 7, 20, 1, new=8), cancel("A", 9, 8)]
    records += [trade("A", 100, 10, 1), bar("A", 0, 10, volume=105)]
    run = run_of(records[:4] + records[5:], REVISE)
    row = run.bar("A", 1)
    assert [row[name] for name in ("o", "h", "l", "c", "v", "count")] == [20, 20, 12, 12, 6, 2]
    run = run_of(records, REVISE)
    assert [run.bar("A", 1)[name] for name in ("o", "l", "v", "count")] == [12, 12, 5, 1]
    assert dict(run.engine.counts.changes) == {"correction": 1, "cancel": 1}
    assert run.engine.compared().own.tolist() == [105]


def test_cancel_when_nothing_would_be_left_of_a_closed_second_then_it_is_counted_and_the_row_stays() -> None:
    """A row cannot be taken back; state and rows agree."""
    run = run_of([FIRST, trade("A", 9, 10), cancel("A", 9, 7)], REVISE)
    assert (run.bar("A", 1)["v"], dict(run.engine.counts.changes)) == (100, {"late_cancel": 1})


def test_change_when_its_trade_is_too_old_to_be_revised_then_it_is_counted() -> None:
    """Five minutes are kept."""
    run = run_of([FIRST, trade("A", 0.6, 11), trade("A", 400, 10), cancel("A", 400, 7)], REVISE)
    assert (run.bar("A", 1)["v"], dict(run.engine.counts.changes)) == (200, {"late_cancel": 1})


def test_cancel_when_silence_had_emitted_the_trade_then_the_row_is_corrected() -> None:
    """What was emitted early is written again; where nothing is left the early row is forgotten, not held for ever."""
    run = Run()
    run.feed([FIRST, trade("A", 0.6, 11, 5)])
    run.emit(frozenset(["trades", "quotes", "bars"]))
    run.feed([cancel("A", 1, 7)])
    run.emit(frozenset(["trades", "quotes", "bars"]))
    assert run.bar("A", 1)["v"] == 5
    run.feed([trade("B", 0.7, 1, 1, number=9)])
    run.emit(frozenset(["trades", "quotes", "bars"]))
    run.feed([cancel("B", 1, 9)])
    run.finish()
    assert run.engine.seconds_cadence.provisional == {}


@pytest.mark.parametrize("count", [150, 900])
def test_trades_when_very_many_share_a_second_then_open_and_close_follow_their_time(count: int) -> None:
    """However they came, and however they are sorted: few of a second are put in place one by one, many at once."""
    chance = random.Random(count)
    times = [chance.randrange(1000) / 1000 for _ in range(count)]
    records = [trade("A", at, 1 + index, 1) for index, at in enumerate(times)] + [trade("B", 86_400, 1, 1)]
    by_time = sorted(range(count), key=lambda index: (times[index], index))
    row = run_of(records).bar("A", 1)
    assert (row["o"], row["c"], row["count"]) == (1 + by_time[0], 1 + by_time[-1], count)
