"""What became of orders: absence is believed late, what is found is adopted, and one order's trouble is its own."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.trading_desk import open_desk
from tests.fakes.trading_values import NOW_NS, make_order, make_signal
from torghut_core.engines.postgres import Postgres
from torghut_core.errors import UpstreamError
from torghut_core.trading.store.database import Database

pytestmark = pytest.mark.engine
NEW_DAY_BEFORE = "2026-01-05T03:00:00Z"
"""Twelve hours before NOW_NS."""


@pytest.fixture
async def desk(postgres: Postgres, database: Database, broker_server: Any) -> Any:
    broker = broker_server.client(timeout_seconds=0.5)
    made = open_desk(postgres, database, broker)
    assert made.leadership.check(now_ns=NOW_NS) is True
    yield made
    made.leadership.release()
    await broker.close()


async def _lost(desk: Any, broker_server: Any, symbol: str = "AAPL") -> str:
    """Send an order that the broker loses with its answer; return its key."""
    broker_server.state.fault = "lost_order"
    intent, decision_id = desk.plan(signal=make_signal(symbol=symbol))
    assert await desk.execution.submit(desk.request(intent, decision_id)) == "unknown"
    broker_server.state.fault = None
    return str(intent.key)


async def _kept(desk: Any, broker_server: Any, symbol: str = "AAPL") -> dict[str, Any]:
    """Send an order that the broker keeps; return the broker's own record of it."""
    intent, decision_id = desk.plan(signal=make_signal(symbol=symbol))
    assert await desk.execution.submit(desk.request(intent, decision_id)) == "accepted"
    order: dict[str, Any] = broker_server.state.orders[intent.key]
    return order


def _body(key: str, symbol: str = "AAPL") -> dict[str, Any]:
    return {"client_order_id": key, "qty": "10", "symbol": symbol, "side": "buy", "time_in_force": "day"}


async def test_reconcile_when_the_third_reading_comes_after_a_minute_then_it_is_the_last(
    desk: Any, broker_server: Any
) -> None:
    """Three readings over sixty seconds are enough, and the orders of the day are asked for once, from its eve on."""
    await _lost(desk, broker_server)
    for _ in range(2):
        await desk.reconciler.reconcile()
    assert broker_server.state.days_asked == []
    desk.wall.advance(60)
    await desk.reconciler.reconcile()
    assert (desk.decision()["status"], broker_server.state.days_asked) == ("never_arrived", [NEW_DAY_BEFORE])


async def test_reconcile_when_an_order_is_given_up_then_told_once_with_its_side_and_size(
    desk: Any, broker_server: Any
) -> None:
    """A person hears of it by the order's own key."""
    key = await _lost(desk, broker_server)
    for _ in range(5):
        await desk.reconciler.reconcile()
        desk.wall.advance(30)
    assert desk.alerts == [("order_never_arrived", key, "buy 10 AAPL never arrived at the broker")]
    assert desk.metrics.get("orders_never_arrived_total") == 1


async def test_reconcile_when_the_order_is_found_in_between_then_adopted_and_patience_begins_anew(
    desk: Any, broker_server: Any
) -> None:
    """Absence that was counted says nothing of an order that is there."""
    key = await _lost(desk, broker_server)
    for _ in range(2):
        await desk.reconciler.reconcile()
    broker_server.state.keep(_body(key))
    await desk.reconciler.reconcile()
    assert (desk.decision()["status"], desk.orders.open_claims(), desk.alerts) == ("submitted", (), [])
    assert desk.metrics.get("reconcile_updates_total") >= 1


async def test_reconcile_when_one_claim_cannot_be_asked_about_then_the_others_are_and_the_error_is_raised(
    desk: Any, broker_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One order's trouble is its own; that there was some is said at the end."""
    first, second = await _lost(desk, broker_server, "AAPL"), await _lost(desk, broker_server, "MSFT")
    broker_server.state.keep(_body(first, "AAPL"))
    broker_server.state.keep(_body(second, "MSFT"))
    find = desk.reconciler._broker.find

    async def failing(key: str) -> Any:
        if key == first:
            raise UpstreamError("of the first")
        return await find(key)

    monkeypatch.setattr(desk.reconciler._broker, "find", failing)
    with pytest.raises(UpstreamError, match="of the first"):
        await desk.reconciler.reconcile()
    assert [claim.client_order_id for claim in desk.orders.open_claims()] == [first]


async def test_reconcile_when_a_call_is_in_flight_then_its_claim_is_left_alone(
    desk: Any, broker_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is calling the broker settles the claim itself."""
    await _lost(desk, broker_server)
    monkeypatch.setattr(desk.execution, "is_in_flight", lambda _: True)
    await desk.reconciler.reconcile()
    assert broker_server.state.lookups == []


async def test_refresh_when_nothing_changed_then_nothing_is_counted(desk: Any, broker_server: Any) -> None:
    """The same reading again is no update."""
    await _kept(desk, broker_server)
    for _ in range(3):
        await desk.reconciler.refresh_executions()
    assert desk.metrics.get("reconcile_updates_total") == 0


async def test_refresh_when_the_broker_knows_the_order_no_more_then_missing_told_once_and_not_waited_for(
    desk: Any, broker_server: Any
) -> None:
    """Believed as late as a lost order; then its symbol is free, and a person hears of it."""
    order = await _kept(desk, broker_server)
    broker_server.state.orders.clear()
    for _ in range(2):
        await desk.reconciler.reconcile()
    assert (desk.decision()["status"], broker_server.state.days_asked) == ("submitted", [])
    desk.wall.advance(59.9)
    await desk.reconciler.reconcile()
    assert [item.order_id for item in desk.orders.open_executions()] == [order["id"]]
    desk.wall.advance(0.1)
    for _ in range(2):
        await desk.reconciler.reconcile()
    assert (desk.decision()["status"], desk.orders.open_executions()) == ("order_missing", ())
    assert desk.alerts == [("order_missing", order["id"], f"the broker no longer knows AAPL order {order['id']}")]
    assert broker_server.state.days_asked == [NEW_DAY_BEFORE]


async def test_refresh_when_only_the_days_orders_list_it_then_it_is_not_missing(desk: Any, broker_server: Any) -> None:
    """What is listed is there; its state is taken from the list."""
    order = await _kept(desk, broker_server)
    broker_server.state.orders.clear()
    broker_server.state.foreign = [{**order, "status": "filled", "filled_qty": "10", "filled_avg_price": "101"}]
    for _ in range(3):
        await desk.reconciler.refresh_executions()
        desk.wall.advance(30)
    assert (desk.decision()["status"], desk.alerts) == ("filled", [])


async def test_refresh_when_one_order_cannot_be_read_then_the_others_are(
    desk: Any, broker_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error on one execution keeps no other from its news."""
    first, second = await _kept(desk, broker_server, "AAPL"), await _kept(desk, broker_server, "MSFT")
    second.update(status="canceled", updated_at="2026-01-05T15:01:00Z")
    ask = desk.reconciler._broker.order

    async def failing(order_id: str) -> Any:
        if order_id == first["id"]:
            raise UpstreamError("of the first")
        return await ask(order_id)

    monkeypatch.setattr(desk.reconciler._broker, "order", failing)
    with pytest.raises(UpstreamError, match="of the first"):
        await desk.reconciler.refresh_executions()
    assert [item.order_id for item in desk.orders.open_executions()] == [first["id"]]


async def test_heard_when_the_order_is_ours_then_folded_and_another_persons_is_left_out(
    desk: Any, broker_server: Any
) -> None:
    """The stream says the same as polling, sooner; who has no claim here is not kept."""
    order = await _kept(desk, broker_server)
    said = make_order(
        id=order["id"],
        client_order_id=order["client_order_id"],
        status="filled",
        filled_qty=Decimal(10),
        filled_avg_price=Decimal(101),
    )
    assert await desk.reconciler.heard(said) is True
    assert await desk.reconciler.heard(make_order(client_order_id="a person's")) is False
    assert (desk.decision()["status"], len(desk.listing.executions(symbol=None, since=None, limit=9))) == ("filled", 1)


async def test_heard_when_the_stream_is_faster_than_the_answer_then_the_claim_is_settled_by_it(
    desk: Any, broker_server: Any
) -> None:
    """A lost answer's order that the stream tells of needs no asking."""
    key = await _lost(desk, broker_server)
    await desk.reconciler.heard(make_order(id="s1", client_order_id=key, status="new"))
    assert (desk.decision()["status"], desk.orders.open_claims()) == ("submitted", ())


async def test_late_when_given_up_over_a_day_ago_then_not_asked_about_any_more(desk: Any, broker_server: Any) -> None:
    """Each round asks about what was given up within a day, and about nothing older."""
    key = await _lost(desk, broker_server)
    for _ in range(3):
        await desk.reconciler.reconcile()
        desk.wall.advance(30)
    assert desk.decision()["status"] == "never_arrived"
    broker_server.state.lookups.clear()
    await desk.reconciler.reconcile()
    assert broker_server.state.lookups == [key]
    desk.wall.advance(24 * 3600 + 1)
    await desk.reconciler.reconcile()
    assert broker_server.state.lookups == [key]


async def test_cancel_when_one_cannot_be_cancelled_then_the_others_are_and_the_error_is_raised(
    desk: Any, broker_server: Any
) -> None:
    """The kill switch gets as far as it can, and says that it did not get all the way."""
    stubborn, other = await _kept(desk, broker_server, "AAPL"), await _kept(desk, broker_server, "MSFT")
    broker_server.state.uncancellable = {stubborn["id"]}
    with pytest.raises(UpstreamError, match="HTTP 500 to a cancellation"):
        await desk.reconciler.cancel_open_orders()
    assert (broker_server.state.cancels, other["status"]) == ([stubborn["id"], other["id"]], "canceled")
    assert desk.metrics.get("orders_canceled_total") == 1
    # The one that failed is asked for again at once, not only after half a minute.
    broker_server.state.uncancellable = set()
    assert await desk.reconciler.cancel_open_orders() == 1
    assert stubborn["status"] == "canceled"


@pytest.mark.parametrize(("waited", "asked"), [(29.9, 1), (30.0, 2)])
async def test_cancel_when_asked_for_again_then_not_before_half_a_minute(
    desk: Any, broker_server: Any, waited: float, asked: int
) -> None:
    """One order, wanted gone twice: for an exit's room as for the kill switch."""
    record = await _kept(desk, broker_server)
    broker_server.state.obeys_cancels = False
    order = make_order(id=record["id"], client_order_id=record["client_order_id"])
    await desk.reconciler.cancel(order)
    desk.wall.advance(waited)
    await desk.reconciler.cancel(order)
    assert len(broker_server.state.cancels) == asked


@pytest.mark.parametrize(("waited", "is_told"), [(29.9, False), (30.0, True)])
async def test_cancel_when_not_obeyed_for_half_a_minute_then_told_once(
    desk: Any, broker_server: Any, waited: float, is_told: bool
) -> None:
    """Counted from the first request, however often it was repeated."""
    record = await _kept(desk, broker_server)
    broker_server.state.obeys_cancels = False
    await desk.reconciler.cancel_open_orders()
    desk.wall.advance(waited)
    for _ in range(2):
        await desk.reconciler.reconcile()
    assert desk.reconciler.not_obeyed == (frozenset({record["id"]}) if is_told else frozenset())
    assert [name for name, _, _ in desk.alerts] == (["cancel_not_obeyed"] if is_told else [])


async def test_orphans_when_an_order_of_our_shape_is_nobodys_then_named_told_and_forgotten_when_gone(
    desk: Any, broker_server: Any
) -> None:
    """Ours by its id and in no row here: another database's, or a lost row's. A person's order is only counted."""
    assert (desk.reconciler.orphans, desk.reconciler.foreign_orders) == (frozenset(), 0)
    await _kept(desk, broker_server)
    orphan = broker_server.state.keep(_body("f" * 64, "T"))
    broker_server.state.keep(_body("a person's", "T"))
    for _ in range(2):
        await desk.reconciler.reconcile()
    assert (desk.reconciler.orphans, desk.reconciler.foreign_orders) == (frozenset({orphan["id"]}), 1)
    assert {about for name, about, _ in desk.alerts if name == "order_orphaned"} == {orphan["id"]}
    orphan["status"] = "canceled"
    await desk.reconciler.reconcile()
    assert desk.reconciler.orphans == frozenset()


async def test_events_when_heard_in_different_ways_then_each_says_how(desk: Any, broker_server: Any) -> None:
    """The source of each reading stays on record: the answer, the question by client id, the stream."""
    key = await _lost(desk, broker_server)
    record = broker_server.state.keep(_body(key))
    await desk.reconciler.reconcile()
    await desk.reconciler.heard(make_order(id=record["id"], client_order_id=key, status="new"))
    [order] = desk.listing.orders(symbol=None, since=None, limit=1)
    assert [event["source"] for event in order["events"]] == ["found", "stream"]
