"""Days, curve and drawdown of the money."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from tests.fakes.money_values import DAY_NS, FREE, NOON_NS, make_trade
from torghut_core.trading.money.events import Mark
from torghut_core.trading.money.fees import Fees, charged
from torghut_core.trading.money.statement import Drawdown, Point, drawdown, make_statement
from torghut_core.trading.money.tape import Tape

MONDAY, TUESDAY = date(2026, 1, 5), date(2026, 1, 6)


def test_statement_when_a_trade_is_late_in_the_evening_then_its_new_york_day() -> None:
    """04:59 UTC on Tuesday is Monday in New York, 05:00 is Tuesday."""
    midnight_ns = NOON_NS + DAY_NS // 2
    statement = make_statement(
        [make_trade("buy", 1, 100, at_ns=midnight_ns - 1), make_trade("sell", 1, 101, at_ns=midnight_ns)]
    )
    assert list(statement.by_day) == [MONDAY.isoformat(), TUESDAY.isoformat()]


def test_statement_when_of_one_day_then_what_was_before_is_only_its_cost() -> None:
    """Bought on Monday, sold on Tuesday: Tuesday realises, and its curve begins at the start that was given."""
    events = [
        make_trade("buy", 10, 100),
        make_trade("sell", 4, 110, at_ns=NOON_NS + DAY_NS),
        make_trade("sell", 6, 1, at_ns=NOON_NS + 2 * DAY_NS),
    ]
    statement = make_statement(events, rates=FREE, start=Decimal(1000), first=TUESDAY, last=TUESDAY)
    assert (statement.total.realised, statement.total.fills, statement.total.closes, statement.total.wins) == (
        40,
        1,
        1,
        1,
    )
    assert statement.positions == [("s", "AAPL")]
    assert statement.account.lots["s", "AAPL"].qty == 6
    assert statement.curve == (Point(at_ns=NOON_NS + DAY_NS, equity=Decimal(1100)),)


def test_statement_when_prices_are_marked_then_the_curve_follows_and_the_drawdown_is_its_deepest_fall() -> None:
    """Up 50, down to 20 below the start, up again: 70 dollars of 1050 were lost from the best."""

    def mark(price: int, seconds: int) -> Mark:
        return Mark(at_ns=NOON_NS + seconds, symbol="AAPL", price=Decimal(price))

    events: list[Any] = [make_trade("buy", 10, 100), mark(105, 1), mark(98, 2), mark(104, 3)]
    statement = make_statement(events, rates=FREE, start=Decimal(1000))
    assert [point.equity for point in statement.curve] == [1000, 1050, 980, 1040]
    assert statement.drawdown == Drawdown(
        dollars=Decimal(70), share=Decimal(70) / 1050, peak_ns=NOON_NS + 1, trough_ns=NOON_NS + 2
    )


def test_drawdown_when_only_falling_from_the_start_then_from_there() -> None:
    """The start is the first best; where the best is nothing there is no share of it."""
    curve = [Point(at_ns=1, equity=Decimal(-5)), Point(at_ns=2, equity=Decimal(-3))]
    assert drawdown(curve, start=Decimal(0)) == Drawdown(dollars=Decimal(5), share=None, peak_ns=None, trough_ns=1)
    assert drawdown([]) == Drawdown()


def test_charged_when_a_day_ends_then_each_fee_is_rounded_up_to_the_cent() -> None:
    """A tenth of a cent is a cent; a whole one is no more."""
    assert charged(Fees(sec=Decimal("0.001"), taf=Decimal("0.02"))) == Fees(sec=Decimal("0.01"), taf=Decimal("0.02"))
    statement = make_statement(
        [make_trade("buy", 2, 100), make_trade("sell", 1, 100), make_trade("sell", 1, 101, at_ns=NOON_NS + DAY_NS)]
    )
    assert statement.charged == Fees(sec=Decimal("0.02"), taf=Decimal("0.02"))


def test_tape_when_readings_come_twice_late_and_without_a_price_then_each_share_once() -> None:
    """Four at 100, the same again, less, no price, then ten at 103: four at 100 and six at 105."""
    tape = Tape()
    facts: dict[str, Any] = {"at_ns": 1, "order_id": "o", "strategy": "s", "symbol": "T", "side": "buy", "leg": "entry"}
    heard = [(4, 100), (4, 100), (2, 90), (9, None), (10, 103)]
    trades = [
        tape.hear(**facts, filled_qty=Decimal(qty), average_price=None if price is None else Decimal(price))
        for qty, price in heard
    ]
    assert [(trade.qty, trade.price) for trade in trades if trade is not None] == [(4, 100), (6, 105)]
