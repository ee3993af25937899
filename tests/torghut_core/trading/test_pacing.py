"""The broker's limit of requests: a minute's worth, questions wait first, and a refusal is heeded."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.torghut_core.trading.test_broker import ORDER, REQUEST
from torghut_core.clock import ManualClock
from torghut_core.trading.orders.broker import Broker, BrokerUnavailableError, OrderRefusedError, OrderUnknownError
from torghut_core.trading.orders.pacing import Pacing

URL = "http://broker.test"


def _used(clock: ManualClock, count: int, *, per_minute: int = 10) -> Pacing:
    pacing = Pacing(clock, per_minute=per_minute)
    for _ in range(count):
        assert pacing.delay(is_urgent=True) == 0
    return pacing


def test_pacing_when_questions_have_used_their_part_then_they_wait_and_orders_do_not() -> None:
    """Of ten a minute two are kept for orders and cancellations."""
    pacing = _used(ManualClock(), 0)
    assert [pacing.delay(is_urgent=False) for _ in range(9)] == [0.0] * 8 + [60.0]
    assert [pacing.delay(is_urgent=True) for _ in range(3)] == [0.0, 0.0, 60.0]


def test_pacing_when_a_minute_has_passed_since_the_oldest_then_there_is_room_for_one() -> None:
    """The window slides: the first request's place is free a minute after it, to the instant."""
    clock = ManualClock()
    pacing = _used(clock, 1)
    clock.advance(10)
    for _ in range(9):
        assert pacing.delay(is_urgent=True) == 0
    clock.advance(49.5)
    assert pacing.delay(is_urgent=True) == 0.5
    clock.advance(0.5)
    assert [pacing.delay(is_urgent=True), pacing.delay(is_urgent=True)] == [0.0, 10.0]


def test_pacing_when_orders_have_used_the_questions_part_too_then_questions_wait_longer() -> None:
    """A question waits until there is room below the reserve, not only below the limit."""
    clock = ManualClock()
    pacing = _used(clock, 1)
    clock.advance(20)
    for _ in range(8):
        assert pacing.delay(is_urgent=True) == 0
    # Nine are out, the questions' part is eight: two of them have to be a minute old.
    assert pacing.delay(is_urgent=False) == 60.0


@pytest.mark.parametrize(("per_minute", "reserve"), [(10, 2), (200, 40), (3, 1)])
def test_pacing_when_the_limit_is_small_then_at_least_one_is_kept_for_orders(per_minute: int, reserve: int) -> None:
    """A fifth, and never none."""
    pacing = _used(ManualClock(), max(0, per_minute - reserve), per_minute=per_minute)
    assert pacing.delay(is_urgent=False) > 0
    assert pacing.delay(is_urgent=True) == 0


def test_pacing_when_the_broker_refused_then_questions_rest_and_orders_go() -> None:
    """The longest of several refusals counts."""
    clock = ManualClock()
    pacing = _used(clock, 0)
    pacing.refused(15)
    pacing.refused(5)
    assert (pacing.delay(is_urgent=False), pacing.delay(is_urgent=True)) == (15.0, 0.0)
    clock.advance(15)
    assert pacing.delay(is_urgent=False) == 0.0


async def test_wait_when_time_passes_then_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks again at least every second, and ends as soon as there is room."""
    clock, slept = ManualClock(), []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds)

    pacing = _used(clock, 10)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    await pacing.wait(is_urgent=True)
    assert (len(slept), max(slept), sum(slept)) == (60, 1.0, 60.0)


def _broker(clock: ManualClock, *, timeout_seconds: float = 5.0, per_minute: int = 10) -> Broker:
    return Broker(
        base_url=URL, key="k", secret="s", timeout_seconds=timeout_seconds, per_minute=per_minute, clock=clock
    )


async def test_broker_when_it_says_too_many_then_no_question_for_a_while_and_an_order_goes(respx_mock: Any) -> None:
    """After a 429 the next question is not even asked within its deadline; an order and a cancellation still are."""
    clock = ManualClock()
    account = respx_mock.get(f"{URL}/v2/account").mock(return_value=httpx.Response(429, json={"message": "too many"}))
    orders = respx_mock.post(f"{URL}/v2/orders").mock(return_value=httpx.Response(200, json=ORDER))
    cancel = respx_mock.delete(f"{URL}/v2/orders/o-1").mock(return_value=httpx.Response(204))
    broker = _broker(clock, timeout_seconds=0.05)
    for _ in range(2):
        with pytest.raises(BrokerUnavailableError):
            await broker.account()
    await broker.submit(REQUEST)
    await broker.cancel("o-1")
    assert (account.call_count, orders.call_count, cancel.call_count) == (1, 1, 1)
    clock.advance(15)
    with pytest.raises(BrokerUnavailableError, match="429"):
        await broker.account()
    assert account.call_count == 2
    await broker.close()


async def test_broker_when_an_order_was_too_many_then_questions_rest_too(respx_mock: Any) -> None:
    """Whatever it was that the broker found too many: the order is unknown, and nothing more is asked for a while."""
    respx_mock.post(f"{URL}/v2/orders").mock(return_value=httpx.Response(429))
    account = respx_mock.get(f"{URL}/v2/account")
    broker = _broker(ManualClock(), timeout_seconds=0.05)
    with pytest.raises(OrderUnknownError, match="429"):
        await broker.submit(REQUEST)
    with pytest.raises(BrokerUnavailableError):
        await broker.account()
    assert account.call_count == 0
    await broker.close()


async def test_submit_when_there_is_no_room_within_the_deadline_then_certainly_no_order(respx_mock: Any) -> None:
    """What was never sent is refused, not unknown."""
    orders = respx_mock.post(f"{URL}/v2/orders").mock(return_value=httpx.Response(200, json=ORDER))
    broker = _broker(ManualClock(), timeout_seconds=0.05, per_minute=2)
    for _ in range(2):
        await broker.submit(REQUEST)
    with pytest.raises(OrderRefusedError, match="broker_unreachable"):
        await broker.submit(REQUEST)
    assert orders.call_count == 2
    await broker.close()
