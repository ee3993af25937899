"""One wrong clock is not the time: a jump that nothing confirms moves no watermark and writes nothing."""

from __future__ import annotations

import pytest

from tests.fakes.ta_inputs import Record, Run, bar, cancel, quote, run_of, trade

HOURS = 5 * 3600


def _without_ingest(*at: float, symbol: str = "A") -> list[Record]:
    return [trade(symbol, each, 10, 1, ingest_after=None) for each in at]


def _ends(run: Run) -> list[int]:
    return sorted(key[3] for key in run.rows if key[0] == "bar" and key[1] == "PT1S")


def test_clock_when_it_jumps_once_then_only_that_trade_goes() -> None:
    """A trade stamped five hours ahead leaves the seconds after it on time."""
    run = run_of(_without_ingest(0.5, 1.5, HOURS, *(second + 0.5 for second in range(2, 30))))
    assert _ends(run) == list(range(1, 31))
    assert (run.engine.counts.rejected["outlier_trades"], run.engine.counts.late_trades) == (1, 0)


def test_clock_when_it_jumps_and_stays_then_the_new_time_is_the_time() -> None:
    """Two records in a row confirm each other; what comes from before them is late."""
    run = run_of(_without_ingest(0.5, HOURS + 0.5, HOURS + 1.5, 2.5, HOURS + 2.5))
    assert _ends(run) == [1, HOURS + 1, HOURS + 2, HOURS + 3]
    assert (run.engine.counts.rejected.total(), run.engine.counts.late_trades) == (0, 1)


def test_first_trade_of_a_day_when_it_follows_a_night_then_it_waits_for_the_next_and_is_taken_before_it() -> None:
    """Held until the next record, or the end of the input, which accepts."""
    run = Run()
    run.feed(_without_ingest(0.5, 1.5))
    run.feed(_without_ingest(12 * 3600))
    assert run.engine.trades.highest_ns == run.engine.guards["trades"].held_at_ns - (12 * 3600 * 10**9 - 1_500_000_000)
    run.feed(_without_ingest(12 * 3600 + 30))
    run.emit(frozenset(["quotes", "bars"]))
    assert _ends(run) == [1, 2, 12 * 3600 + 1]
    assert _ends(run_of(_without_ingest(0.5, 12 * 3600))) == [1, 12 * 3600 + 1]


def test_first_record_when_its_clock_is_wrong_then_the_second_says_so() -> None:
    """Nothing was accepted before it, so the next one decides; that one is then the first."""
    run = run_of(_without_ingest(HOURS, 0.5, 1.5))
    assert _ends(run) == [1, 2]
    assert run.engine.counts.rejected["outlier_trades"] == 1


def test_symbol_when_it_is_alone_in_its_partition_then_its_trade_a_minute_on_is_no_outlier() -> None:
    """Up to a minute ahead nothing waits; beyond it the trade does, and is accepted by the next."""
    run = Run()
    run.feed(_without_ingest(0.5, 0.6, 60.6))
    assert run.engine.guards["trades"].held is None
    run.feed(_without_ingest(120.7))
    assert run.engine.guards["trades"].held is not None
    run.feed(_without_ingest(60.8))
    run.finish()
    assert (_ends(run), run.engine.counts.rejected.total()) == ([1, 61, 121], 0)


@pytest.mark.parametrize("ahead", [59.9, 60.2])
def test_record_when_it_says_its_ingest_time_then_judged_by_that_alone(ahead: float) -> None:
    """A night between records is no fault where the ingest time has seen it; a minute before the event is."""
    run = run_of([trade("A", 0.5, 10), trade("A", 12 * 3600, 10), trade("A", 12 * 3600 + 1, 10, ingest_after=-ahead)])
    assert run.engine.counts.rejected["outlier_trades"] == (ahead > 60)
    assert _ends(run) == [1, 12 * 3600 + 1, *([12 * 3600 + 2] if ahead < 60 else [])]


def test_quotes_and_bars_when_a_clock_jumps_then_the_same_rule_holds() -> None:
    """Each source by itself: a quote's time says nothing of the trades'."""
    run = Run()
    run.feed([trade("A", 0.5, 10), trade("A", 30, 10)])
    run.feed([quote("A", at, 9, 11, ingest_after=None) for at in (0.1, HOURS, 0.2, 30)])
    run.feed([Record("bars", each.value.replace(b'"ingest_ts"', b'"other_ts"')) for each in _bars()])
    run.finish()
    assert run.signal("A", 1)["imbalance_bid_px"] == 9
    assert dict(run.engine.counts.rejected) == {"outlier_quotes": 1, "outlier_bars": 1}
    assert sorted(key[3] for key in run.rows if key[:2] == ("bar", "PT1M")) == [60, 120, 180]


def _bars() -> list[Record]:
    return [bar("A", minute, 10) for minute in (0, 1, 300, 2)]


def test_cancel_when_its_trade_is_held_then_it_waits_too() -> None:
    """Held records and what amends them are taken in order, however the input was split."""
    records = [trade("A", 0.5, 10, 1), trade("A", HOURS, 99, 1, number=7, ingest_after=None), cancel("A", HOURS, 7)]
    records += [trade("A", HOURS + 0.1, 11, 1)]
    whole, split = run_of(records), Run()
    for record in records:
        split.feed([record])
        split.emit(frozenset())
    split.finish()
    assert whole.rows == split.rows
    assert (whole.bar("A", HOURS + 1)["o"], dict(whole.engine.counts.changes)) == (11, {"cancel": 1})
