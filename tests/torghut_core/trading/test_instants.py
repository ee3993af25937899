"""Instants: each once, with the marks between, and only when all their rows are surely there."""

from __future__ import annotations

from tests.fakes.signal_recordings import OPEN_NS, SECOND_NS, series
from torghut_core.trading.instants import PATIENCE_SECONDS, SETTLING_SECONDS, Waiting, by_instant, in_turn
from torghut_core.trading.model import Signal

_ROWS = [{}] * 100


def _signal(symbol: str, second: int) -> Signal:
    return series(symbol, _ROWS).signal(second)


def test_by_instant_when_rows_come_in_any_order_then_they_are_by_time_and_symbol() -> None:
    """A batch holds many seconds and symbols, as they were written."""
    found = by_instant([_signal("B", 2), _signal("A", 1), _signal("A", 2)])
    assert [(at - OPEN_NS, [each.symbol for each in rows]) for at, rows in found] == [
        (SECOND_NS, ["A"]),
        (2 * SECOND_NS, ["A", "B"]),
    ]


def test_in_turn_when_there_is_a_backlog_then_what_is_too_old_to_open_anything_is_one_turn() -> None:
    """A restart after an hour must not ask the broker once a second of it before it looks at exits."""
    rows = [_signal("A", second) for second in (1, 2, 3, 50, 51)] + [_signal("B", 50)]
    found = in_turn(rows, fresh_since_ns=OPEN_NS + 50 * SECOND_NS)
    assert [[(each.symbol, (each.event_ns - OPEN_NS) // SECOND_NS) for each in turn] for turn in found] == [
        [("A", 1), ("A", 2), ("A", 3)],
        [("A", 50), ("B", 50)],
        [("A", 51)],
    ]
    assert in_turn([], fresh_since_ns=0) == []


def test_waiting_when_taken_then_marks_stand_between_rows_and_nothing_comes_twice() -> None:
    """Marks are multiples of the period, from the first taking on; a row between them keeps its place."""
    waiting = Waiting(5 * SECOND_NS)
    waiting.add([_signal("A", 1)])
    assert [at for at, _ in waiting.take(OPEN_NS + 2 * SECOND_NS)] == [OPEN_NS + SECOND_NS]
    waiting.add([_signal("A", 7), _signal("A", 30)])
    found = [(at - OPEN_NS) // SECOND_NS for at, _ in waiting.take(OPEN_NS + 12 * SECOND_NS)]
    assert found == [5, 7, 10]
    assert waiting.take(OPEN_NS + 12 * SECOND_NS) == []


def test_ripe_when_one_symbol_lags_then_it_is_waited_for_but_not_for_ever() -> None:
    """A partition that lags would have its rows dealt with after later ones; a symbol that is silent holds nothing up."""
    waiting, speed = Waiting(SECOND_NS), 20.0
    now_ns = OPEN_NS + 200 * SECOND_NS
    settled = round(SETTLING_SECONDS * speed * SECOND_NS)
    waiting.add([_signal("A", 99)])
    assert waiting.ripe(OPEN_NS + 120 * SECOND_NS, speed) == OPEN_NS + 120 * SECOND_NS - settled
    waiting.add([_signal("B", 70)])
    assert waiting.ripe(now_ns, speed) == OPEN_NS + 70 * SECOND_NS
    late_ns = OPEN_NS + (100 + round(PATIENCE_SECONDS * speed)) * SECOND_NS
    assert waiting.ripe(late_ns, speed) == late_ns - settled


def test_ripe_when_a_symbol_has_no_row_yet_then_it_is_waited_for_from_the_start() -> None:
    """After a start one partition's rows may come much later than another's: they are of the same time."""
    waiting = Waiting(SECOND_NS)
    waiting.expect(["A", "B"], OPEN_NS)
    waiting.add([_signal("A", 50)])
    assert waiting.ripe(OPEN_NS + 10 * SECOND_NS, 1.0) == OPEN_NS
    waiting.add([_signal("B", 50)])
    assert waiting.ripe(OPEN_NS + 10 * SECOND_NS, 1.0) == OPEN_NS + 10 * SECOND_NS - round(SETTLING_SECONDS * SECOND_NS)


def test_ripe_when_a_symbol_never_comes_then_a_slow_market_waits_for_seconds_and_goes_on() -> None:
    """Of a universe's quiet symbols there may be no row all day."""
    waiting = Waiting(SECOND_NS)
    waiting.expect(["A"], OPEN_NS)
    now_ns = OPEN_NS + 20 * SECOND_NS
    assert waiting.ripe(now_ns, 1.0) == now_ns - round(SETTLING_SECONDS * SECOND_NS)
    waiting.expect(["A"], now_ns)
    assert waiting.ripe(now_ns, 1.0) == now_ns - round(SETTLING_SECONDS * SECOND_NS)
