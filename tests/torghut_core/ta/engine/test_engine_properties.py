"""Rows are a function of the input alone: no split, no order within the tolerance, no restart changes them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fakes.ta_inputs import Record, Run, bar, cancel, correction, quote, run_of, trade
from torghut_core.ta.checkpoint import Checkpoint, pack, unpack
from torghut_core.ta.engine.engine import EngineSettings

pytestmark = pytest.mark.slow  # hundreds of runs of the engine each

_SYMBOLS = st.sampled_from(["A", "BB", "CCC"])
_TIMES = st.integers(0, 90_000).map(lambda ms: ms / 1000)
_PRICES = st.integers(900, 1100).map(lambda cents: cents / 100)
_SIZES = st.sampled_from([0, 1, 7.5, 100])
_TRADES = st.builds(trade, _SYMBOLS, _TIMES, _PRICES, _SIZES)
_QUOTES = st.builds(quote, _SYMBOLS, _TIMES, _PRICES, _PRICES)
_BARS = st.builds(bar, _SYMBOLS, st.integers(0, 3), _PRICES)
_NUMBERED = st.builds(
    lambda symbol, at, price, number, codes, ingest: trade(
        symbol, at, price, 3, number=number, codes=codes, tape="A", ingest_after=ingest
    ),
    _SYMBOLS,
    st.one_of(_TIMES, st.integers(0, 40_000).map(float)),
    _PRICES,
    st.integers(1, 6),
    st.sampled_from(["@", "@I", "W", "Z", "M", "U"]),
    st.sampled_from([0.1, None, -70.0]),
)
"""Ids that come again, conditions, and clocks that are wrong."""
_CHANGES = st.one_of(
    st.builds(cancel, _SYMBOLS, _TIMES, st.integers(1, 6)),
    st.builds(
        lambda symbol, at, number, price, new: correction(symbol, at, number, price, 2, new=new),
        _SYMBOLS,
        _TIMES,
        st.integers(1, 6),
        _PRICES,
        st.integers(1, 6),
    ),
)
_ANY = st.lists(
    st.one_of(_TRADES, _TRADES, _NUMBERED, _NUMBERED, _CHANGES, _QUOTES, _QUOTES, _BARS), min_size=1, max_size=60
)
_NONE = frozenset[str]()
_PROPERTY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _split_run(records: Sequence[Record], cuts: Sequence[int], chosen: EngineSettings) -> Run:
    run = Run(chosen)
    for start, stop in pairwise([0, *sorted(min(cut, len(records)) for cut in cuts), len(records)]):
        run.feed(records[start:stop])
        run.emit(frozenset())
    run.finish()
    return run


_GOES_BACK = [trade("A", 0, 9.01, 1), trade("A", 4, 9, 1), trade("A", 1, 9, 1), trade("A", 0, 9, 1)]
"""Two late trades, the second of an earlier second than the first."""

_LATER = [quote("A", 300, 7, 8), quote("A", 600, 8, 9), trade("B", 600, 9), bar("B", 9, 9)]
_BACKFILL = [quote("A", 59, 9, 10), *_LATER, bar("A", 0, 9)]
"""A minute bar minutes behind those of other symbols, whose quotes the engine may have forgotten."""


@_PROPERTY
@example(records=_GOES_BACK, cuts=[3], revises=True)
@example(records=_BACKFILL, cuts=[5], revises=False)
@example(records=[*_BACKFILL, bar("A", 0, 8)], cuts=[5, 6], revises=False)
@given(records=_ANY, cuts=st.lists(st.integers(0, 60), max_size=8), revises=st.booleans())
def test_engine_when_input_is_split_otherwise_then_rows_are_the_same(
    records: list[Record], cuts: list[int], revises: bool
) -> None:
    """Any split of any input, late records included, gives identical rows and counts."""
    chosen = EngineSettings(revises_late_trades=revises)
    whole, split = _split_run(records, [], chosen), _split_run(records, cuts, chosen)
    assert whole.rows == split.rows
    assert whole.engine.counts == split.engine.counts
    assert whole.engine.compared().own.tolist() == split.engine.compared().own.tolist()


@_PROPERTY
@given(records=_ANY, cuts=st.lists(st.integers(0, 60), max_size=4), at=st.integers(0, 60), revises=st.booleans())
def test_checkpoint_when_restored_anywhere_then_rows_are_those_of_an_uninterrupted_run(
    records: list[Record], cuts: list[int], at: int, revises: bool
) -> None:
    """A checkpoint, also in the middle of a window, goes on as if nothing had happened."""
    chosen = EngineSettings(revises_late_trades=revises)
    whole = _split_run(records, cuts, chosen)
    first = Run(chosen)
    first.feed(records[:at])
    first.emit(frozenset())
    data = pack(Checkpoint(group="g", partition=0, offsets={}, ingest_ms=7, engine=first.engine))
    second = Run(engine=unpack(data, chosen, "g/x").engine)
    second.feed(records[at:])
    second.finish()
    assert whole.rows == first.rows | second.rows
    assert whole.engine.counts == second.engine.counts


@pytest.mark.parametrize("window", [5, 300])
def test_checkpoint_when_restored_as_windows_slide_then_rows_are_those_of_an_uninterrupted_run(window: int) -> None:
    """Windows that moved to the front of their room, and were packed on the way there, go on with the same bars."""
    chosen = EngineSettings(vwap_window_seconds=window, vol_window_seconds=min(window, 60))
    chance = random.Random(window)
    records = [trade("A", second, round(10 + chance.random(), 2), 1) for second in range(900) if chance.random() < 0.9]
    whole, run = _split_run(records, [], chosen), Run(chosen)
    rows = {}
    for start in range(0, len(records), 67):
        run.feed(records[start : start + 67])
        run.emit(frozenset())
        rows |= run.rows
        data = pack(Checkpoint(group="g", partition=0, offsets={}, ingest_ms=7, engine=run.engine))
        run = Run(engine=unpack(data, chosen, "g/x").engine)
    run.finish()
    assert whole.rows == rows | run.rows


@_PROPERTY
@given(count=st.integers(2, 80), seed=st.integers(0, 10**6))
def test_trades_when_shuffled_within_the_tolerance_then_rows_are_those_in_order(count: int, seed: int) -> None:
    """Trades that come at most two seconds late give the rows of the ordered ones."""
    chance = random.Random(seed)
    at = sorted(chance.sample(range(60_000), count))
    ordered = [
        trade(chance.choice(["A", "B"]), ms / 1000, round(10 + chance.random(), 2), chance.randint(0, 9)) for ms in at
    ]
    shuffled = [ordered[i] for _, i in sorted((ms + chance.randint(0, 1999), i) for i, ms in enumerate(at))]
    assert run_of(ordered).rows == run_of(shuffled).rows


@_PROPERTY
@given(trades=st.lists(_TRADES, min_size=1, max_size=60), cuts=st.lists(st.integers(0, 60), max_size=6))
def test_late_trade_when_it_comes_then_it_is_counted_and_splits_no_bar(trades: list[Record], cuts: list[int]) -> None:
    """Every trade is in exactly one bar or counted late, and no key is written twice."""
    run = _split_run(trades, cuts, EngineSettings())
    bars = [row for key, row in run.rows.items() if key[0] == "bar"]
    assert sum(row["count"] for row in bars) + run.engine.counts.late_trades == len(trades)
    assert len(run.written) == len(set(run.written))


@_PROPERTY
@given(records=_ANY, cuts=st.lists(st.integers(0, 60), max_size=8))
def test_silence_when_it_emits_early_then_the_last_rows_are_the_same(records: list[Record], cuts: list[int]) -> None:
    """Emitting provisionally at any moment changes no last row but its quote columns."""
    records = [record for record in records if b'"T":"' not in record.value]  # a row that was written stays
    if not records:
        return
    whole = _split_run(records, [], EngineSettings())
    run = Run()
    for start, stop in pairwise([0, *sorted(min(cut, len(records)) for cut in cuts), len(records)]):
        run.feed(records[start:stop])
        run.emit(frozenset(["trades", "quotes", "bars"]))
    run.finish()

    def without_quotes(of: Run) -> dict[object, dict[str, object]]:
        return {
            key: {name: value for name, value in row.items() if not name.startswith("imbalance")}
            for key, row in of.rows.items()
        }

    assert without_quotes(whole) == without_quotes(run)
    assert run.engine.seconds_cadence.provisional == {}


@_PROPERTY
@given(trades=st.lists(_TRADES, min_size=1, max_size=40), again=st.lists(st.integers(0, 39), max_size=40))
def test_prints_when_some_come_again_at_once_then_rows_are_those_of_each_once(
    trades: list[Record], again: list[int]
) -> None:
    """A print repeated right behind itself changes nothing, but is counted: once as a repeat, or as late once more."""
    repeats = Counter(again)
    twice = [record for index, each in enumerate(trades) for record in [each] * (1 + repeats[index])]
    once, more = run_of(trades), run_of(twice)
    assert once.rows == more.rows
    told = more.engine.counts.repeated_trades + more.engine.counts.late_trades - once.engine.counts.late_trades
    assert told == len(twice) - len(trades)
