"""From claim to settlement against a broker over HTTP and a real PostgreSQL: crashes, lost answers, two leaders."""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.trading_desk import Desk, open_desk
from tests.fakes.trading_values import NOW_NS, make_signal
from torghut_core.engines.postgres import Postgres
from torghut_core.trading.leadership import ClaimRequest, ClaimResult
from torghut_core.trading.orders.broker import Broker
from torghut_core.trading.orders.execution import Execution
from torghut_core.trading.store.database import Database

pytestmark = pytest.mark.engine
_ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
async def desk(postgres: Postgres, database: Database, broker_server: Any) -> Any:
    broker = broker_server.client(timeout_seconds=0.5)
    made = open_desk(postgres, database, broker)
    assert made.leadership.check(now_ns=NOW_NS) is True
    yield made
    made.leadership.release()
    await broker.close()


async def test_submit_when_broker_accepts_then_order_decision_and_claim_agree(desk: Desk, broker_server: Any) -> None:
    """One post, one execution, no claim left open; the client id is the key."""
    intent, decision_id = desk.plan()
    assert await desk.execution.submit(desk.request(intent, decision_id)) == "accepted"
    assert broker_server.state.posts == [intent.key]
    assert desk.decision()["status"] == "submitted"
    assert desk.orders.open_claims() == ()
    assert desk.listing.executions(symbol="AAPL", since=None, limit=5)[0]["client_order_id"] == intent.key


async def test_submit_when_filled_at_once_then_decision_says_filled(desk: Desk, broker_server: Any) -> None:
    """What the broker answers is not overwritten by `submitted`."""
    broker_server.state.order_status = "filled"
    await desk.execution.submit(desk.request(*desk.plan()))
    assert desk.decision()["status"] == "filled"


async def test_submit_when_called_twice_then_broker_is_called_once(desk: Desk, broker_server: Any) -> None:
    """The claim is the permission to call, and it is given once."""
    request = desk.request(*desk.plan())
    assert [await desk.execution.submit(request), await desk.execution.submit(request)] == [
        "accepted",
        "already_claimed",
    ]
    assert len(broker_server.state.posts) == 1


async def test_submit_when_raced_then_broker_is_called_once(desk: Desk, broker_server: Any) -> None:
    """Concurrency does not make a second call either."""
    request = desk.request(*desk.plan())
    outcomes = await asyncio.gather(*(desk.execution.submit(request) for _ in range(8)))
    assert sorted(outcomes) == ["accepted"] + ["already_claimed"] * 7
    assert len(broker_server.state.posts) == 1


async def test_submit_when_broker_refuses_then_rejected_with_code(desk: Desk, broker_server: Any) -> None:
    """A refusal is final and named; the broker's own words stay out."""
    broker_server.state.fault = "refused"
    assert await desk.execution.submit(desk.request(*desk.plan())) == "rejected"
    decision = desk.decision()
    assert (decision["status"], decision["risk_reasons"]) == (
        "rejected",
        "alpaca_order_rejected code=40310000 status=403",
    )
    assert desk.orders.open_claims() == ()


async def test_submit_when_nobody_listens_then_rejected_as_unreachable(
    desk: Desk, postgres: Postgres, database: Database
) -> None:
    """An order that never left this machine is not unknown."""
    broker = Broker(base_url="http://127.0.0.1:9", key="k", secret="s", timeout_seconds=1)
    execution = Execution(
        broker=broker,
        leadership=desk.leadership,
        orders=desk.orders,
        clock=desk.wall,
        wall=desk.wall,
        metrics=desk.metrics,
    )
    assert await execution.submit(desk.request(*desk.plan())) == "rejected"
    assert desk.decision()["risk_reasons"] == "broker_unreachable"
    await broker.close()


@pytest.mark.parametrize("fault", ["lost_answer", "garbage"])
async def test_submit_when_answer_is_lost_then_asked_about_and_never_resent(
    desk: Desk, broker_server: Any, fault: str
) -> None:
    """The order exists though the answer did not come: it is found by its client id."""
    broker_server.state.fault = fault
    intent, decision_id = desk.plan()
    assert await desk.execution.submit(desk.request(intent, decision_id)) == "unknown"
    assert (desk.decision()["status"], len(desk.orders.open_claims())) == ("unknown", 1)
    broker_server.state.fault = None
    await desk.reconciler.reconcile()
    assert (desk.decision()["status"], desk.orders.open_claims()) == ("submitted", ())
    assert (broker_server.state.posts, broker_server.state.lookups) == ([intent.key], [intent.key])


async def test_reconcile_when_absent_then_never_arrived_after_three_readings_and_a_minute(
    desk: Desk, broker_server: Any
) -> None:
    """Neither three quick readings nor one slow one are enough; the reservation lasts until then."""
    broker_server.state.fault = "lost_order"
    intent, decision_id = desk.plan()
    assert await desk.execution.submit(desk.request(intent, decision_id)) == "unknown"
    broker_server.state.fault = None
    for _ in range(4):
        await desk.reconciler.reconcile()
    assert desk.decision()["status"] == "unknown"
    desk.wall.advance(59.9)
    await desk.reconciler.reconcile()
    assert [claim.reserved_notional for claim in desk.orders.open_claims()] == [Decimal("1002.5")]
    desk.wall.advance(0.1)
    await desk.reconciler.reconcile()
    assert (desk.decision()["status"], desk.orders.open_claims()) == ("never_arrived", ())
    assert desk.texts == ["buy 10 AAPL never arrived at the broker"]
    assert desk.metrics.get("orders_never_arrived_total") == 1
    assert broker_server.state.posts == [intent.key]


async def test_reconcile_when_a_given_up_order_turns_up_then_it_is_adopted_as_arrived_late_and_blocks_entries(
    desk: Desk, broker_server: Any
) -> None:
    """The order is more than was planned: told once, its fills counted, and nothing is opened while it is open."""
    broker_server.state.fault = "lost_order"
    intent, decision_id = desk.plan()
    await desk.execution.submit(desk.request(intent, decision_id))
    broker_server.state.fault = None
    for _ in range(4):
        await desk.reconciler.reconcile()
        desk.wall.advance(30)
    order = broker_server.state.keep(
        {"client_order_id": intent.key, "qty": "10", "symbol": "AAPL", "side": "buy", "time_in_force": "day"}
    )
    for _ in range(2):
        await desk.reconciler.reconcile()
    assert desk.texts[1:] == [f"AAPL order {order['id']} arrived after it had been given up"]
    assert desk.metrics.get("orders_arrived_late_total") == 1
    assert desk.decision()["status"] == "submitted"
    assert desk.listing.orders(symbol=None, since=None, limit=1)[0]["state"] == "arrived_late"
    later = desk.request(*desk.plan(signal=make_signal(symbol="MSFT")))
    assert await desk.execution.submit(later) == "order_arrived_late"
    order["status"] = "canceled"
    await desk.reconciler.reconcile()
    assert await desk.execution.submit(later) == "accepted"


async def test_reconcile_when_only_two_readings_then_still_unknown(desk: Desk, broker_server: Any) -> None:
    """Time alone proves nothing."""
    broker_server.state.fault = "lost_order"
    await desk.execution.submit(desk.request(*desk.plan()))
    broker_server.state.fault = None
    await desk.reconciler.reconcile()
    desk.wall.advance(600)
    await desk.reconciler.reconcile()
    assert desk.decision()["status"] == "unknown"


async def test_reconcile_when_broker_is_down_then_no_reading_counts(desk: Desk, broker_server: Any) -> None:
    """Only a broker that answers can say that an order is absent."""
    broker_server.state.fault = "lost_order"
    await desk.execution.submit(desk.request(*desk.plan()))
    broker_server.state.fault = "down"
    for _ in range(5):
        with pytest.raises(Exception, match="HTTP 500"):
            await desk.reconciler.reconcile()
        desk.wall.advance(60)
    assert [claim.absent_readings for claim in desk.orders.open_claims()] == [0]


async def test_reconcile_when_only_the_day_lists_the_order_then_found_and_not_given_up(
    desk: Desk, broker_server: Any
) -> None:
    """An order among the day's is there, whatever the lookup by client id says."""
    intent, decision_id = desk.plan()
    broker_server.state.fault = "lost_order"
    await desk.execution.submit(desk.request(intent, decision_id))
    broker_server.state.fault = None
    for _ in range(3):
        await desk.reconciler.reconcile()
        desk.wall.advance(20)
    order = broker_server.state.keep(
        {"client_order_id": intent.key, "qty": "10", "symbol": "AAPL", "side": "buy", "time_in_force": "day"}
    )
    broker_server.state.orders = {"listed-only": order}
    await desk.reconciler.reconcile()
    assert (desk.decision()["status"], desk.orders.open_claims()) == ("submitted", ())


async def test_restart_when_killed_between_claim_and_answer_then_nothing_is_sent_twice(
    desk: Desk, postgres: Postgres, database: Database, broker_server: Any
) -> None:
    """The first process dies while the broker works; the second reads the signal again, claims nothing, and asks."""
    broker_server.state.fault = "lost_answer"
    intent, decision_id = desk.plan()
    first = asyncio.create_task(desk.execution.submit(desk.request(intent, decision_id)))
    await broker_server.state.submitted.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    desk.leadership.release()
    broker_server.state.fault = None

    broker = broker_server.client()
    second = open_desk(postgres, database, broker)
    assert second.leadership.check(now_ns=NOW_NS) is True
    again, row = second.plan(), second.decisions.record([intent], now_ns=NOW_NS)[intent.key]
    assert (again[0].key, row.is_new, row.status) == (intent.key, False, "submitting")
    assert await second.execution.submit(second.request(*again)) == "already_claimed"
    await second.reconciler.reconcile()
    assert (broker_server.state.posts, broker_server.state.lookups) == ([intent.key], [intent.key])
    assert (second.decision()["status"], second.orders.open_claims()) == ("submitted", ())
    second.leadership.release()
    await broker.close()


_VICTIM = """
import asyncio, sys
from tests.fakes.broker_server import KEY, SECRET
from tests.fakes.trading_desk import open_desk
from tests.fakes.trading_values import NOW_NS
from torghut_core.engines.postgres import Postgres
from torghut_core.trading.orders.broker import Broker
from torghut_core.trading.store.database import Database

async def main(dsn, url):
    postgres = Postgres(dsn)
    database = Database(postgres)
    database.open()
    desk = open_desk(postgres, database, Broker(base_url=url, key=KEY, secret=SECRET, timeout_seconds=60))
    assert desk.leadership.check(now_ns=NOW_NS)
    await desk.execution.submit(desk.request(*desk.plan()))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize(("fault", "ends"), [("lost_answer", "submitted"), ("swallowed", "never_arrived")])
async def test_restart_when_process_is_killed_while_broker_works_then_nothing_is_sent_twice(
    postgres: Postgres, database: Database, broker_server: Any, fault: str, ends: str
) -> None:
    """SIGKILL between the claim and the broker's answer, with the order kept by the broker and without."""
    broker_server.state.fault = fault
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _VICTIM, postgres.dsn, broker_server.url, cwd=_ROOT
    )
    await broker_server.state.submitted.wait()
    victim.kill()
    await victim.wait()
    broker_server.state.fault = None

    broker = broker_server.client()
    survivor = open_desk(postgres, database, broker)
    await survivor.lead()
    intent, decision_id = survivor.plan()
    assert await survivor.execution.submit(survivor.request(intent, decision_id)) == "already_claimed"
    for _ in range(4):
        await survivor.reconciler.reconcile()
        survivor.wall.advance(30)
    assert (survivor.decision()["status"], survivor.orders.open_claims()) == (ends, ())
    assert broker_server.state.posts == [intent.key]
    assert set(broker_server.state.lookups) == {intent.key}
    survivor.leadership.release()
    await broker.close()


@pytest.mark.parametrize(("age", "outcome", "posts"), [(5.0, "accepted", 1), (5.001, "rejected", 0)])
async def test_submit_when_process_slept_over_five_seconds_after_claim_then_broker_is_not_called(
    desk: Desk, broker_server: Any, monkeypatch: pytest.MonkeyPatch, age: float, outcome: str, posts: int
) -> None:
    """Whoever wakes up late does not call: the order may have been given up meanwhile."""
    claim = desk.leadership.claim

    def slow_claim(request: ClaimRequest, *, now_ns: int) -> ClaimResult:
        result = claim(request, now_ns=now_ns)
        desk.wall.advance(age)
        return result

    monkeypatch.setattr(desk.leadership, "claim", slow_claim)
    assert await desk.execution.submit(desk.request(*desk.plan())) == outcome
    assert len(broker_server.state.posts) == posts
    assert desk.decision()["risk_reasons"] == ("claim_too_old" if posts == 0 else None)


async def test_leadership_when_two_want_it_then_one_claims_and_the_other_takes_over(
    desk: Desk, postgres: Postgres, database: Database, broker_server: Any
) -> None:
    """The second process claims nothing until the first lets go, and its epoch is higher."""
    broker = broker_server.client()
    other = open_desk(postgres, database, broker)
    assert other.leadership.check(now_ns=NOW_NS) is False
    request = desk.request(*desk.plan())
    assert await other.execution.submit(request) == "not_leader"
    assert broker_server.state.posts == []
    first_epoch = desk.leadership.epoch
    desk.leadership.release()
    assert other.leadership.check(now_ns=NOW_NS) is True
    assert (first_epoch, other.leadership.epoch) == (1, 2)
    assert await desk.execution.submit(request) == "not_leader"
    assert await other.execution.submit(request) == "accepted"
    other.leadership.release()
    await broker.close()


async def test_leadership_when_a_later_epoch_exists_then_claim_fails_and_lock_is_dropped(
    desk: Desk, database: Database, broker_server: Any
) -> None:
    """The fence holds even where the lock seems to."""
    request = desk.request(*desk.plan())
    with database.transaction() as connection:
        connection.execute("UPDATE trading_leadership SET epoch = epoch + 1")
    assert await desk.execution.submit(request) == "not_leader"
    assert (desk.leadership.is_leader, broker_server.state.posts) == (False, [])


async def test_leadership_when_its_connection_is_killed_then_nothing_is_sent(
    desk: Desk, database: Database, broker_server: Any
) -> None:
    """The claim is written on the lock's connection: when that is gone, so is the right."""
    request = desk.request(*desk.plan())
    with database.transaction() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
    with pytest.raises(Exception, match="database unavailable"):
        await desk.execution.submit(request)
    assert (desk.leadership.is_leader, broker_server.state.posts) == (False, [])
    assert desk.leadership.check(now_ns=NOW_NS) is True
    assert desk.leadership.epoch == 2


async def test_kill_switch_when_orders_are_open_then_only_ours_are_canceled_and_not_over_and_over(
    desk: Desk, broker_server: Any
) -> None:
    """A person's order is left alone; each of ours is asked for once in 30 s, leader or not."""
    await desk.execution.submit(desk.request(*desk.plan()))
    ours = next(iter(broker_server.state.orders.values()))["id"]
    broker_server.state.keep(
        {"client_order_id": "mine", "qty": "1", "symbol": "T", "side": "buy", "time_in_force": "day"}
    )
    desk.leadership.release()
    broker_server.state.obeys_cancels = False
    assert [await desk.reconciler.cancel_open_orders() for _ in range(2)] == [1, 0]
    desk.wall.advance(31)
    assert await desk.reconciler.cancel_open_orders() == 1
    assert broker_server.state.cancels == [ours, ours]
    assert desk.reconciler.not_obeyed == {ours}
    assert desk.texts == [f"AAPL order {ours} is open though it was cancelled"]
    next(iter(broker_server.state.orders.values()))["status"] = "canceled"
    await desk.reconciler.cancel_open_orders()
    assert desk.reconciler.not_obeyed == frozenset()


async def test_reconcile_when_order_is_filled_later_then_decision_follows(desk: Desk, broker_server: Any) -> None:
    """Fills reach execution and decision, once."""
    await desk.execution.submit(desk.request(*desk.plan()))
    order = next(iter(broker_server.state.orders.values()))
    order.update(status="partially_filled", filled_qty="4", filled_avg_price="100.25")
    await desk.reconciler.reconcile()
    execution = desk.listing.executions(symbol=None, since=None, limit=1)[0]
    assert (desk.decision()["status"], execution["filled_qty"]) == ("submitted", Decimal(4))
    order.update(status="filled", filled_qty="10")
    for _ in range(2):
        await desk.reconciler.reconcile()
    assert (desk.decision()["status"], desk.metrics.get("reconcile_updates_total")) == ("filled", 2)


async def test_decisions_when_planned_too_long_then_ended_but_never_one_that_was_claimed(desk: Desk) -> None:
    """Age ends what was never submitted; what was, is the reconciler's."""
    claimed = desk.request(*desk.plan())
    await asyncio.to_thread(desk.leadership.claim, claimed, now_ns=NOW_NS)
    desk.plan(signal=make_signal(symbol="MSFT"))
    assert desk.decisions.expire_planned(now_ns=NOW_NS + 599_000_000_000, after_seconds=600) == 0
    assert desk.decisions.expire_planned(now_ns=NOW_NS + 601_000_000_000, after_seconds=600) == 1
    ended = desk.listing.decisions(symbol="MSFT", since=None, limit=1)[0]
    assert (ended["status"], ended["risk_reasons"]) == ("rejected", "decision_timeout_unsubmitted:600s")


async def test_cooldown_when_only_its_own_row_exists_then_there_is_no_last_order(desk: Desk) -> None:
    """A decision does not cool itself down; a later one sees it."""
    intent, decision_id = desk.plan()
    await desk.execution.submit(desk.request(intent, decision_id))
    assert desk.decisions.last_order_ns(desk.strategy.id, "AAPL", but=decision_id) is None
    _, later = desk.plan(side="sell")
    assert desk.decisions.last_order_ns(desk.strategy.id, "AAPL", but=later) == NOW_NS
