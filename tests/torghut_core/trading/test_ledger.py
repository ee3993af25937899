"""What is folded from order events: state, fills, lots, whatever came twice, late or in another order."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torghut_core.trading.model import TERMINAL_ORDER_STATES
from torghut_core.trading.orders.ledger import Fill, Lot, Reading, fills, fold, positions

PROGRESS = (
    "pending_new", "accepted", "accepted_for_bidding", "new", "held", "partially_filled", "pending_replace", "stopped",
    "suspended", "calculated", "done_for_day", "pending_cancel",
)  # fmt: skip
ENDS = ("replaced", "rejected", "expired", "canceled", "filled")


def _reading(
    status: str = "new", filled: int | str = 0, at: int = 0, price: int | str | None = None, qty: int = 10
) -> Reading:
    return Reading(
        status=status,
        qty=Decimal(qty),
        filled_qty=Decimal(filled),
        average_price=None if price is None else Decimal(price),
        updated_ns=at,
    )


_READINGS = st.lists(
    st.builds(
        lambda status, filled, at: Reading(
            status=status,
            qty=Decimal(10),
            filled_qty=Decimal(filled),
            average_price=Decimal(100) if filled else None,
            updated_ns=at,
        ),
        st.sampled_from(["new", "partially_filled", "filled", "canceled", "accepted"]),
        st.integers(0, 10),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=6,
)


@given(_READINGS, st.randoms())
def test_fold_when_readings_come_twice_and_in_any_order_then_the_same_state(
    readings: list[Reading], random: Any
) -> None:
    """Idempotent, and never less filled: an older reading does not win."""
    shuffled = [*readings, *readings]
    random.shuffle(shuffled)
    folded = fold(readings)
    assert fold(shuffled) == folded
    assert folded.filled_qty == max(reading.filled_qty for reading in readings)
    total = sum((fill.qty for fill in fills("AAPL", "buy", shuffled)), Decimal(0))
    assert total == folded.filled_qty


def test_fold_when_an_older_reading_follows_filled_then_filled_stays() -> None:
    """`filled` is the end."""
    filled = Reading(status="filled", qty=Decimal(10), filled_qty=Decimal(10), average_price=Decimal(1), updated_ns=5)
    older = Reading(status="new", qty=Decimal(10), filled_qty=Decimal(0), average_price=None, updated_ns=9)
    assert fold([filled, older]) == Reading(
        status="filled", qty=Decimal(10), filled_qty=Decimal(10), average_price=Decimal(1), updated_ns=9
    )


def test_lot_when_bought_sold_and_turned_then_realised_at_average_cost() -> None:
    """10 at 100, 5 sold at 110, 10 sold at 90: 50 won, 50 lost, 5 short at 90."""
    lot = Lot().after("buy", Decimal(10), Decimal(100)).after("sell", Decimal(5), Decimal(110))
    assert (lot.qty, lot.cost, lot.realised) == (5, 500, 50)
    lot = lot.after("sell", Decimal(10), Decimal(90))
    assert (lot.qty, lot.average_price, lot.realised) == (-5, 90, 0)
    lot = lot.after("buy", Decimal(5), Decimal(80))
    assert (lot.qty, lot.realised) == (0, 50)


def test_fold_when_nothing_was_heard_then_an_error() -> None:
    """An order without a reading has no state that could be told."""
    with pytest.raises(ValueError, match="without a reading"):
        fold([])


@pytest.mark.parametrize(("earlier", "later"), list(pairwise((*PROGRESS, *ENDS))))
def test_fold_when_two_states_are_as_old_and_as_filled_then_the_one_further_along(earlier: str, later: str) -> None:
    """An order goes one way through its states, in whatever order they are heard."""
    assert fold([_reading(later), _reading(earlier)]).status == later
    assert fold([_reading(earlier), _reading(later)]).status == later


def test_fold_when_a_state_is_unknown_then_any_known_one_is_further_along() -> None:
    """A word that nobody has heard of yet says the least."""
    assert fold([_reading("pending_new"), _reading("of_tomorrow")]).status == "pending_new"


@pytest.mark.parametrize("end", sorted(TERMINAL_ORDER_STATES))
def test_fold_when_an_end_was_heard_then_nothing_newer_or_fuller_undoes_it(end: str) -> None:
    """What cannot change does not, though a reading says otherwise later."""
    folded = fold([_reading(end, 4, at=5, price=100), _reading("partially_filled", 6, at=9, price=101)])
    assert (folded.status, folded.filled_qty, folded.average_price) == (end, Decimal(6), Decimal(101))


def test_fold_when_more_is_filled_then_that_state_though_an_emptier_one_is_newer() -> None:
    """Of two open states the fuller is later, whatever the clocks say."""
    assert fold([_reading("partially_filled", 4, at=1, price=9), _reading("new", 0, at=8)]).status == "partially_filled"


def test_fold_when_equally_filled_then_the_newer_state_and_price() -> None:
    """The broker's own time decides between the like: `pending_cancel` was taken back."""
    folded = fold([_reading("pending_cancel", 4, at=1, price=9), _reading("partially_filled", 4, at=2, price=8)])
    assert (folded.status, folded.average_price, folded.updated_ns) == ("partially_filled", Decimal(8), 2)


def test_fold_when_quantities_differ_then_the_largest_and_the_newest_time() -> None:
    """A reading that knows less takes nothing away."""
    folded = fold([_reading(qty=10, at=7), _reading(qty=12, at=3), _reading(qty=8, at=1)])
    assert (folded.qty, folded.updated_ns) == (Decimal(12), 7)


def test_fills_when_the_average_moves_then_each_fill_at_its_own_price() -> None:
    """4 at 100, then 6 more that bring the average to 103: 105 each."""
    assert fills("T", "sell", [_reading(filled=4, price=100), _reading(filled=10, price=103)]) == (
        Fill(symbol="T", side="sell", qty=Decimal(4), price=Decimal(100)),
        Fill(symbol="T", side="sell", qty=Decimal(6), price=Decimal(105)),
    )


@pytest.mark.parametrize(
    "readings",
    [
        [_reading(filled=4, price=100), _reading(filled=4, price=100)],
        [_reading(filled=4, price=100), _reading(filled=4, price=120)],
        [_reading(filled=4, price=100), _reading(filled=2, price=90)],
        [_reading(filled=4, price=100), _reading(filled=9)],
        [_reading(), _reading(filled=4, price=100)],
        [_reading(filled=0, price=50), _reading(filled=4, price=100)],
    ],
)
def test_fills_when_a_reading_adds_no_share_or_no_price_then_no_fill(readings: list[Reading]) -> None:
    """Twice, less, or without a price: the four shares at 100 stay what was traded."""
    assert fills("T", "buy", readings) == (Fill(symbol="T", side="buy", qty=Decimal(4), price=Decimal(100)),)


def test_fills_when_a_price_was_missing_then_the_next_reading_tells_all() -> None:
    """Shares that were heard of without a price are told with the next price."""
    assert fills("T", "buy", [_reading(filled=4), _reading(filled=10, price=103)]) == (
        Fill(symbol="T", side="buy", qty=Decimal(10), price=Decimal(103)),
    )


@pytest.mark.parametrize(
    ("trades", "lot"),
    [
        ([], (0, 0, 0)),
        ([("buy", 10, 100)], (10, 1000, 0)),
        ([("sell", 10, 100)], (-10, -1000, 0)),
        ([("buy", 10, 100), ("buy", 10, 110)], (20, 2100, 0)),
        ([("sell", 10, 100), ("sell", 10, 110)], (-20, -2100, 0)),
        ([("buy", 10, 100), ("sell", 4, 110)], (6, 600, 40)),
        ([("sell", 10, 100), ("buy", 4, 90)], (-6, -600, 40)),
        ([("buy", 10, 100), ("sell", 10, 110)], (0, 0, 100)),
        ([("sell", 10, 100), ("buy", 10, 110)], (0, 0, -100)),
        ([("buy", 10, 100), ("sell", 15, 110)], (-5, -550, 100)),
        ([("sell", 10, 100), ("buy", 15, 90)], (5, 450, 100)),
        ([("buy", 10, 100), ("sell", 4, 110), ("sell", 4, 90)], (2, 200, 0)),
        ([("buy", 10, 100), ("sell", 10, 110), ("sell", 3, 120)], (-3, -360, 100)),
    ],
)
def test_lot_when_traded_then_average_cost_and_profit(
    trades: list[tuple[Any, int, int]], lot: tuple[int, int, int]
) -> None:
    """Adding averages, closing realises against the average, turning starts anew at the price."""
    held = Lot()
    for side, qty, price in trades:
        held = held.after(side, Decimal(qty), Decimal(price))
    assert (held.qty, held.cost, held.realised) == lot
    assert held.average_price == (None if lot[0] == 0 else Decimal(lot[1]) / lot[0])


def test_positions_when_several_symbols_are_traded_then_a_lot_each() -> None:
    """One symbol's trades are no other's."""
    traded = [("A", "buy", 10, 100), ("B", "sell", 2, 50), ("A", "sell", 10, 101)]
    lots = positions(
        Fill(symbol=symbol, side=side, qty=Decimal(qty), price=Decimal(price))  # type: ignore[arg-type]
        for symbol, side, qty, price in traded
    )
    assert {symbol: (lot.qty, lot.realised) for symbol, lot in lots.items()} == {"A": (0, 10), "B": (-2, 0)}
