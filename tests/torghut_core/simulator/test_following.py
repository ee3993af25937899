"""A broker that follows its client's time: what an order meets hangs on the instant it names, not on when it comes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from torghut_core.clock import ManualClock
from torghut_core.exchange.broker import Broker
from torghut_core.exchange.ledger import Ledger
from torghut_core.exchange.messages import Message, encode_message
from torghut_core.exchange.orders import ApiError, parse_order
from torghut_core.exchange.prices import Board
from torghut_core.market_calendar import MarketCalendar
from torghut_core.simulator.following import BrokerClock, Following, time_said

_ORDER: dict[str, Any] = {"symbol": "A", "side": "buy", "qty": 5, "type": "market", "time_in_force": "day"}


def _quote(second: int, ask: float, size: int = 100) -> Message:
    at_ns = second * 10**9
    return encode_message(at_ns, at_ns, {"T": "q", "S": "A", "bp": ask - 1, "bs": size, "ap": ask, "as": size})


def _desk() -> tuple[Following, Broker]:
    board, clock = Board(), BrokerClock(ManualClock(10**9))
    broker = Broker(
        ledger=Ledger(cash=Decimal(10_000), multiplier=Decimal(2)),
        prices=board,
        clock=clock,
        calendar=MarketCalendar("always-open"),
        seed=1,
    )
    broker.on_submit = broker.admit
    return Following(broker=broker, board=board, clock=clock), broker


@pytest.mark.parametrize("market_ahead", [3, 9])
def test_follow_when_the_market_is_far_ahead_then_an_order_meets_the_quote_of_the_instant_it_names(
    market_ahead: int,
) -> None:
    """However far the market has run, the order of second 2 fills at the quote of second 2, at that time."""
    following, broker = _desk()
    following.follow(10**9)
    following.take([_quote(at, 100.0 + at) for at in range(1, market_ahead + 1)], market_ahead * 10**9)
    following.follow(2 * 10**9)
    order = broker.submit(parse_order(_ORDER))
    assert (order.filled_value, order.updated_ns) == (Decimal("5") * 102, 2 * 10**9)
    following.follow(10**9)
    assert broker.prices.quote("A") == _quote(2, 102.0)


def test_take_when_no_client_says_a_time_then_the_broker_sees_the_market_at_once() -> None:
    """Clients of the simulator that know nothing of it see what they always saw."""
    following, broker = _desk()
    following.take([_quote(1, 101.0), _quote(2, 102.0)], 2 * 10**9)
    assert broker.prices.quote("A") == _quote(2, 102.0)


def test_take_when_the_client_has_gone_away_then_the_broker_is_not_held_back_for_ever() -> None:
    """Four hours of the market are kept for it, no more."""
    following, broker = _desk()
    following.follow(10**9)
    following.take([_quote(2, 102.0)], 2 * 10**9)
    assert broker.prices.quote("A") is None
    following.take([_quote(18000, 105.0)], 18000 * 10**9)
    assert broker.prices.quote("A") == _quote(2, 102.0)


@pytest.mark.parametrize("text", ["", "now", "-5", "1.5", "9" * 20])
def test_time_when_it_is_none_then_the_request_is_refused(text: str) -> None:
    """Nanoseconds since the epoch, or no header at all."""
    assert time_said({}) is None
    assert time_said({"x-torghut-market-time": "12"}) == 12
    with pytest.raises(ApiError):
        time_said({"x-torghut-market-time": text})
