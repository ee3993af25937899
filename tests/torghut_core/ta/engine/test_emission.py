"""When a window is emitted, what revises it, and what a quote may be to a bar."""

from __future__ import annotations

import pytest

from tests.fakes.ta_inputs import ALL_IDLE, ONLY_TRADES, START, Run, bar, quote, run_of, trade
from torghut_core.ta.engine.engine import EngineSettings

BAR_1 = ("bar", "PT1S", "A", 1)


def test_bar_when_two_trades_share_a_second_then_ordered_by_event_time() -> None:
    """Open and close follow event time, not arrival; vwap is Σps/Σs."""
    run = run_of([trade("A", 0.9, 12, 1), trade("A", 0.1, 10, 3), trade("A", 0.5, 8, 0)])
    row = run.bar("A", 1)
    assert [row[name] for name in ("o", "h", "l", "c", "v", "vwap", "count")] == [10, 12, 8, 12, 4, 10.5, 3]
    assert (row["seq"], row["window_size"], row["is_final"], row["source"]) == (
        row["event_ts"] // 1000,
        "PT1S",
        1,
        "ta",
    )


@pytest.mark.parametrize("behind", ["trades", "quotes", "bars"])
def test_window_when_one_source_has_not_passed_its_end_then_it_waits(behind: str) -> None:
    """All three sources must have passed the end, unless one is idle."""
    later = {"trades": trade("B", 9, 5), "quotes": quote("B", 9, 1, 2), "bars": bar("B", 1, 5)}
    run = Run()
    run.feed([trade("A", 0.5, 10)])
    run.feed([record for source, record in later.items() if source != behind])
    assert BAR_1 not in run.emit(frozenset())
    assert BAR_1 in run.emit(frozenset([behind]))  # type: ignore[list-item]


def test_window_when_the_watermark_is_exactly_its_end_then_it_closes() -> None:
    """Watermark = highest event time − 2 s; a window whose end is at it is final, one a millisecond later is not."""
    run = Run()
    run.feed([trade("A", 0.5, 10), trade("A", 2.999, 11)])
    assert run.emit() == []
    run.feed([trade("A", 3, 12)])
    assert run.emit() == [BAR_1, ("signal", "PT1S", "A", 1)]


def test_trade_when_its_window_ends_at_the_watermark_then_late() -> None:
    """Late is: the window's end at or before the watermark that stood when the trade came."""
    run = Run()
    run.feed([trade("A", 3, 12), trade("A", 0.999, 10), trade("A", 1.0, 11)])
    run.finish()
    assert run.engine.counts.late_trades == 1
    assert [key[3] for key in run.written if key[0] == "bar"] == [2, 4]


def test_silence_when_a_window_is_open_then_it_is_emitted_and_a_later_trade_revises_it() -> None:
    """Silence emits early once; a trade that is not late then corrects bar and signal under the same key."""
    run = Run()
    run.feed([trade("A", 0.5, 10, 1)])
    assert run.emit(ALL_IDLE) == [BAR_1, ("signal", "PT1S", "A", 1)]
    assert run.emit(ALL_IDLE) == []
    run.feed([trade("A", 0.7, 11, 1)])
    assert run.emit(ALL_IDLE) == [BAR_1, ("signal", "PT1S", "A", 1)]
    assert (run.bar("A", 1)["c"], run.signal("A", 1)["close"], run.bar("A", 1)["count"]) == (11, 11, 2)
    run.feed([trade("A", 5, 12, 1)])
    assert BAR_1 not in run.emit(ONLY_TRADES)  # it was told already, and has not changed


def test_late_trade_when_policy_is_revise_then_the_same_row_is_corrected() -> None:
    """revise: the bar is written again under its key, the signal only when it is the newest."""
    run = Run(EngineSettings(revises_late_trades=True))
    run.feed([trade("A", 0.5, 10, 1), trade("B", 9, 1)])
    run.emit()
    run.feed([trade("A", 0.6, 20, 1)])
    assert run.emit() == [BAR_1, ("signal", "PT1S", "A", 1)]
    assert (run.bar("A", 1)["c"], run.bar("A", 1)["count"], run.signal("A", 1)["ema12"]) == (20, 2, 20)
    assert run.engine.counts.late_trades == 0


def test_updated_bar_when_it_is_the_newest_then_bar_and_signal_change_else_the_bar_alone() -> None:
    """updatedBars rewrite the bar; the signal only of the newest minute."""
    run = Run()
    run.feed([bar("A", 0, 10), bar("A", 1, 20)])
    run.emit(ALL_IDLE)
    run.feed([bar("A", 1, 26)])
    assert run.emit(ALL_IDLE) == [("bar", "PT1M", "A", 120), ("signal", "PT1M", "A", 120)]
    assert run.signal("A", 120, "PT1M")["ema12"] == pytest.approx(10 + 16 * 2 / 13)
    run.feed([bar("A", 0, 11)])
    assert run.emit(ALL_IDLE) == [("bar", "PT1M", "A", 60)]
    assert (run.bar("A", 60, "PT1M")["c"], run.signal("A", 60, "PT1M")["close"]) == (11, 10)


def test_signal_when_quotes_lie_around_the_bar_end_then_the_last_at_or_before_it_counts() -> None:
    """No look-ahead: a quote at the end counts, one a millisecond later does not."""
    run = run_of([trade("A", 0.5, 10), quote("A", 0.2, 9, 10), quote("A", 1.0, 9.5, 10, 6, 2), quote("A", 1.001, 1, 2)])
    row = run.signal("A", 1)
    fields = ("imbalance_bid_px", "imbalance_ask_px", "imbalance_spread", "imbalance_bid_sz", "imbalance_ratio")
    assert [row[name] for name in fields] == [9.5, 10, 0.5, 6, 0.5]


@pytest.mark.parametrize(("age_ms", "expected"), [(15_000, 9.0), (15_001, None)])
def test_signal_when_the_quote_is_old_then_null_past_the_limit(age_ms: int, expected: float | None) -> None:
    """A quote exactly as old as the limit counts."""
    run = run_of([quote("A", 20 - age_ms / 1000, 9, 10), trade("A", 19.5, 10)])
    assert run.signal("A", 20)["imbalance_bid_px"] == expected


def test_signal_when_sizes_are_zero_then_the_ratio_is_null() -> None:
    """0/0 never leaves as a number."""
    row = run_of([quote("A", 0.1, 9, 10, 0, 0), trade("A", 0.5, 10)]).signal("A", 1)
    assert (row["imbalance_ratio"], row["imbalance_spread"]) == (None, 1.0)


def test_replay_when_it_begins_then_first_second_and_unwarmed_signals_are_held_back() -> None:
    """A replay writes no bar of its first second, and no signal before 35 bars and a session reset."""
    before_open = -1800 - 20
    records = [trade("A", before_open + i + 0.5, 10 + i % 3) for i in range(60)]
    run = Run(EngineSettings(is_replay=True))
    run.feed(records)
    run.finish()
    bars = sorted(key[3] for key in run.written if key[0] == "bar")
    signals = sorted(key[3] for key in run.written if key[0] == "signal")
    assert (bars[0], len(bars)) == (before_open + 2, 59)
    assert signals == list(range(before_open + 35, before_open + 61))


def test_replay_when_no_session_reset_was_passed_then_no_signal() -> None:
    """Warm is not enough: vwap_session would be worse than what is there."""
    run = Run(EngineSettings(is_replay=True))
    run.feed([trade("A", i + 0.5, 10 + i % 3) for i in range(60)])
    run.finish()
    assert [key for key in run.written if key[0] == "signal"] == []


def test_symbols_when_ten_thousand_come_then_each_has_state_of_bounded_size() -> None:
    """State of a symbol is below 20 kB, so ten thousand fit into 200 MB."""
    run = run_of(trade(f"S{i}", 0.5, 10) for i in range(10_000))
    state = run.engine.seconds_cadence.state
    assert sum(array.nbytes for array in state) / len(state.bars) < 20_000
    assert len([key for key in run.written if key[0] == "bar"]) == 10_000


@pytest.mark.parametrize(
    ("newest", "ahead_ms", "end"),
    [(2.7, 250, None), (2.8, 250, 1), (2.999, 250, 1), (3.0, 250, None), (2.8, 1250, 1)],
    ids=["far from it", "near", "nearer", "closed", "further ahead"],
)
def test_closes_within_when_a_second_is_near_its_close_then_it_is_told(
    newest: float, ahead_ms: int, end: int | None
) -> None:
    """By the trades' watermark alone, two seconds behind the newest; only where trades wait."""
    run = Run(EngineSettings(max_out_of_order_ms=2000))
    assert run.engine.closes_within(ahead_ms * 1_000_000) is None
    run.feed([trade("A", 0.5, 10), trade("A", newest, 11)])
    run.engine.emit(ONLY_TRADES)
    assert run.engine.closes_within(ahead_ms * 1_000_000) == (None if end is None else START + end)
