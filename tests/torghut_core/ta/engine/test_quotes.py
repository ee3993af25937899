"""The as-of join beside its definition, one quote after the other in plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torghut_core.ta.decoding.columns import NANOS
from torghut_core.ta.engine.quotes import QuoteBuffer

START, TOLERANCE, STALE, SYMBOLS = 1_000, 2, 3, 3
_QUOTES = st.tuples(st.integers(0, SYMBOLS - 1), st.integers(0, 16), st.integers(0, 4), st.integers(0, 4))
"""Symbol, half seconds after the start, bid size, ask size."""
_STEPS = st.lists(st.tuples(st.lists(_QUOTES, min_size=1, max_size=30), st.booleans()), min_size=1, max_size=6)


def _expected(quotes: list[tuple[int, int, int, int]], symbol: int, end: int) -> list[float]:
    """Return the fields by definition: of the quotes the bar may see the newest, of equally new ones the last."""
    newest, highest = None, 0
    for number, (its, halves, bid_size, ask_size) in enumerate(quotes):
        at = START + halves / 2
        second = max(-(-at // 1), (highest - TOLERANCE) // 1 + 1) if highest else -(-at // 1)
        highest = max(highest, at)
        rank = (at, second, number)
        if its == symbol and second <= end and (newest is None or rank > newest[0]):
            newest = rank, bid_size, ask_size
    if newest is None or end - newest[0][0] > STALE:
        return [np.nan] * 6
    bid_size, ask_size = newest[1:]
    total = bid_size + ask_size
    return [1.0, 10.0, 11.0, bid_size, ask_size, (bid_size - ask_size) / total if total else np.nan]


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(steps=_STEPS, ends=st.lists(st.integers(START - 1, START + 9), min_size=1, max_size=8))
def test_quotes_when_bars_ask_for_them_then_each_sees_the_newest_it_may(
    steps: list[tuple[list[tuple[int, int, int, int]], bool]], ends: list[int]
) -> None:
    """Late, repeated, stale, missing and one-sided quotes, bars in any order, whatever was looked through before."""
    buffer = QuoteBuffer(STALE * NANOS, TOLERANCE * NANOS)
    buffer.grow(SYMBOLS)
    seen: list[tuple[int, int, int, int]] = []
    for quotes, is_looked_through in steps:
        symbol, halves, bid_size, ask_size = np.array(quotes, np.int64).T
        values = np.stack([np.full(len(quotes), 10), np.full(len(quotes), 11), bid_size, ask_size], axis=1)
        buffer.add(symbol.copy(), START * NANOS + halves * (NANOS // 2), values.astype(np.float64))
        seen += quotes
        if is_looked_through:
            waiting = buffer.pending
            assert len({*zip(waiting.symbol.tolist(), waiting.second.tolist(), strict=True)}) == len(waiting.symbol)
    asked = [(symbol, end) for end in ends for symbol in range(SYMBOLS)]
    columns = np.array(asked, np.int64).T
    found = buffer.as_of(columns[0].copy(), columns[1].copy())
    np.testing.assert_array_equal(found, [_expected(seen, *each) for each in asked])
    buffer.forget(min(ends) - 1)
    kept = buffer.as_of(columns[0].copy(), columns[1].copy())
    np.testing.assert_array_equal(kept[columns[1] >= min(ends)], found[columns[1] >= min(ends)])


def _quoted(buffer: QuoteBuffer, at: int, bid: float, symbol: int = 0) -> None:
    buffer.add(np.array([symbol]), np.array([at * NANOS]), np.array([[bid, bid + 1, 1.0, 1.0]]))


def _bid(buffer: QuoteBuffer, end: int) -> float:
    return float(buffer.as_of(np.array([0]), np.array([end]))[0, 1])


def test_quotes_when_two_are_of_one_instant_then_the_last_that_came_stands() -> None:
    """In one second, from two seconds on (the later one came late), and beside one that was forgotten but for its value."""
    together, apart, forgotten = (QuoteBuffer(1000 * NANOS, TOLERANCE * NANOS) for _ in range(3))
    for buffer in (together, apart, forgotten):
        buffer.grow(2)
        _quoted(buffer, START, 9)
    _quoted(together, START, 10)
    assert _bid(together, START) == 10
    for buffer in (apart, forgotten):
        _quoted(buffer, START + 10, 1, symbol=1)
    forgotten.forget(START + 5)
    for buffer in (apart, forgotten):
        _quoted(buffer, START, 10)
        assert (_bid(buffer, START + 8), _bid(buffer, START + 9)) == (9, 10)
    forgotten.forget(START + 9)
    assert _bid(forgotten, START + 9) == 10
