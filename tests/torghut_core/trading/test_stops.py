"""Stop beats leadership: recorded stops, the database's kill switch, silent leaders, latches, each read by the claim."""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.signal_tables import SignalTables
from tests.fakes.trading_desk import open_desk
from tests.fakes.trading_service import cross_up, eventually, running, service_environment
from tests.fakes.trading_values import NOW_NS
from torghut_core.clock import ManualClock
from torghut_core.engines.postgres import Postgres
from torghut_core.errors import ConfigurationError
from torghut_core.trading.decision.losses import EquityMarks
from torghut_core.trading.leadership import IDLE_SECONDS, SILENT_SECONDS, Leadership
from torghut_core.trading.store.control import ControlStore
from torghut_core.trading.store.database import Database
from torghut_core.trading.store.orders import OrderStore

_ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def control(database: Database) -> ControlStore:
    return ControlStore(database, account_label="paper")


@pytest.fixture
async def desk(postgres: Postgres, database: Database, broker_server: Any) -> Any:
    broker = broker_server.client(timeout_seconds=0.5)
    made = open_desk(postgres, database, broker)
    assert made.leadership.check(now_ns=NOW_NS) is True
    yield made
    made.leadership.release()
    await broker.close()


@pytest.mark.engine
async def test_claim_when_a_newcomer_recorded_a_stop_then_the_living_leader_sends_nothing(
    desk: Any, control: ControlStore, broker_server: Any
) -> None:
    """The old process leads and is well; the next claim fails all the same, without waiting for its next look."""
    control.register("new-and-paused", now_ns=NOW_NS, stop="trading_disabled")
    assert await desk.execution.submit(desk.request(*desk.plan())) == "trading_stopped"
    assert broker_server.state.posts == []
    assert desk.leadership.is_leader is True


@pytest.mark.engine
async def test_claim_when_the_kill_switch_is_turned_in_the_database_then_nothing_is_sent(
    desk: Any, control: ControlStore, broker_server: Any
) -> None:
    """Read in the claim's own transaction; off again, the same request goes."""
    request = desk.request(*desk.plan())
    control.switch_kill(is_on=True, now_ns=NOW_NS, actor="a", reason="r")
    assert await desk.execution.submit(request) == "kill_switch_enabled"
    control.switch_kill(is_on=False, now_ns=NOW_NS, actor="a", reason="r")
    assert await desk.execution.submit(request) == "accepted"
    assert len(broker_server.state.posts) == 1


@pytest.mark.engine
async def test_claim_when_losses_are_latched_then_entries_fail_and_exits_go(
    desk: Any, control: ControlStore, broker_server: Any
) -> None:
    """The latch holds back what opens alone, until a person resumes."""
    from dataclasses import replace

    request = desk.request(*desk.plan())
    assert control.latch("daily_loss", equity=Decimal(90), mark=Decimal(100), now_ns=NOW_NS) is True
    assert control.latch("drawdown", equity=Decimal(80), mark=Decimal(100), now_ns=NOW_NS) is False
    assert await desk.execution.submit(request) == "loss_limit_latched"
    assert await desk.execution.submit(replace(request, leg="exit")) == "accepted"
    assert control.read().loss_limit == "daily_loss"
    control.save_marks(EquityMarks(day=date(2026, 1, 5), day_equity=Decimal(100), peak_equity=Decimal(100)))
    assert control.resume_losses(now_ns=NOW_NS, actor="a", reason="r") is True
    assert (control.read().loss_limit, control.marks()) == (None, None)


@pytest.mark.engine
def test_lift_when_the_revision_was_seen_before_the_stop_then_it_stands(
    control: ControlStore, postgres: Postgres
) -> None:
    """Only a revision first seen after the stop lifts it, and only the newest epoch; a restarted old pod never does."""
    leadership = Leadership(postgres, lock_name="test")
    assert leadership.check(now_ns=NOW_NS) is True
    assert leadership.epoch is not None

    def lift(revision: str, epoch: int = leadership.epoch) -> bool:
        return control.lift(revision, now_ns=NOW_NS, epoch=epoch, lock_name="test")

    control.register("old", now_ns=NOW_NS, stop=None)
    control.register("paused", now_ns=NOW_NS, stop="trading_disabled")
    control.register("old", now_ns=NOW_NS, stop=None)
    assert (lift("old"), lift("paused"), lift("never-registered")) == (False, False, False)
    control.register("newer", now_ns=NOW_NS, stop=None)
    assert (lift("newer", leadership.epoch + 1), control.read().is_stopped) == (False, True)
    assert (lift("newer"), control.read().is_stopped) == (True, False)
    control.register("paused", now_ns=NOW_NS, stop="trading_disabled")
    assert (lift("newer"), control.read().is_stopped) == (False, True)
    leadership.release()


@pytest.mark.engine
async def test_run_when_a_paused_newcomer_starts_beside_a_live_leader_then_the_next_order_is_not_sent(
    postgres: Postgres, broker_server: Any
) -> None:
    """Two processes on one database: the paused one stands by, and the leader obeys its stop until a newer one leads."""
    tables = SignalTables()
    environment = service_environment(broker_server.url, TRADING_SCHEDULER_LEADERSHIP_CHECK_SECONDS="0.05")
    async with running(environment, tables, postgres) as leader:
        await eventually(leader, "/trading/status", lambda body: body["leader"] and body["account_confirmed"])
        async with running({**environment, "TRADING_ENABLED": "false"}, tables, postgres) as paused:
            await eventually(paused, "/readyz", lambda body: body["gates"]["stop_recorded"])
            cross_up(tables)
            [decision] = await eventually(
                leader, "/trading/decisions", lambda body: bool(body) and body[0]["status"] == "rejected"
            )
            status = await eventually(leader, "/trading/status", lambda body: body["stop"] is not None)
    assert (decision["risk_reasons"], broker_server.state.posts) == ("trading_stopped", [])
    assert (status["leader"], status["stop"]["by"].startswith("start-")) == (True, True)
    async with running(environment, tables, postgres) as resumed:
        await eventually(
            resumed, "/trading/status", lambda body: body["leader"] and body["stop"] is None and body["running"]
        )
        cross_up(tables, "MSFT")
        await eventually(resumed, "/trading/executions", bool)
    assert len(broker_server.state.posts) == 1


@pytest.mark.engine
async def test_run_when_a_cluster_names_no_revision_then_a_start_lifts_nothing(
    postgres: Postgres, broker_server: Any, control: ControlStore
) -> None:
    """In a cluster any pod may be an old one; with TORGHUT_REVISION the new deployment is known."""
    control.register("before", now_ns=NOW_NS, stop="trading_disabled")
    environment = service_environment(
        broker_server.url, KUBERNETES_SERVICE_HOST="10.0.0.1", TRADING_SCHEDULER_LEADERSHIP_CHECK_SECONDS="0.02"
    )
    tables = SignalTables()
    async with running(environment, tables, postgres) as client:
        await eventually(client, "/trading/status", lambda body: body["leader"] and body["account_confirmed"])
        body = await eventually(client, "/trading/status", lambda body: bool(body["last_run_at"]) and body["stop"])
        assert (body["stop"]["by"], body["revision"]) == ("before", None)
    async with running({**environment, "TORGHUT_REVISION": "2026-01-05"}, tables, postgres) as client:
        await eventually(
            client, "/trading/status", lambda body: body["leader"] and body["stop"] is None and body["running"]
        )


@pytest.mark.engine
async def test_run_when_the_kill_switch_is_turned_in_the_database_then_open_orders_are_cancelled_once_and_proved(
    postgres: Postgres, broker_server: Any, control: ControlStore
) -> None:
    """Works while running; what obeys is asked once, a person's order never."""
    tables = SignalTables()
    cross_up(tables)
    broker_server.state.foreign = []
    async with running(service_environment(broker_server.url), tables, postgres) as client:
        await eventually(client, "/trading/executions", bool)
        control.switch_kill(is_on=True, now_ns=NOW_NS, actor="a", reason="r")
        [execution] = await eventually(client, "/trading/executions", lambda body: body[0]["status"] == "canceled")
        status = (await client.get("/trading/status")).json()
    assert broker_server.state.cancels == [execution["alpaca_order_id"]]
    assert (status["kill_switch_enabled"], status["kill_switch"]) == (True, {"environment": False, "database": True})
    assert status["orders_uncertain"]["cancels_not_obeyed"] == 0


@pytest.mark.engine
def test_beat_when_the_loop_does_not_turn_then_withheld_and_the_standby_says_silent(postgres: Postgres) -> None:
    """15 s without a turn end the beat; 10 s without a beat are silence to the standby, by its own clock."""
    clock = ManualClock()
    leader = Leadership(postgres, lock_name="test", clock=clock)
    standby = Leadership(postgres, lock_name="test", clock=clock)
    assert (leader.check(now_ns=NOW_NS), standby.check(now_ns=NOW_NS)) == (True, False)
    clock.advance(IDLE_SECONDS)
    assert leader.beat() is True
    standby.check(now_ns=NOW_NS)
    assert standby.is_leader_silent is False
    clock.advance(0.1)
    assert leader.beat() is False
    clock.advance(SILENT_SECONDS)
    standby.check(now_ns=NOW_NS)
    assert standby.is_leader_silent is True
    leader.turned()
    assert leader.beat() is True
    standby.check(now_ns=NOW_NS)
    assert standby.is_leader_silent is False
    leader.release()
    assert (standby.check(now_ns=NOW_NS), standby.is_leader_silent) == (True, False)
    standby.release()


_LEADER = """
import sys, time
from tests.fakes.trading_values import NOW_NS
from torghut_core.engines.postgres import Postgres
from torghut_core.trading.leadership import Leadership
leadership = Leadership(Postgres(sys.argv[1]), lock_name="test")
assert leadership.check(now_ns=NOW_NS)
leadership.start_beating()
print("leads", flush=True)
time.sleep(600)
"""


@pytest.mark.engine
@pytest.mark.e2e
async def test_leadership_when_the_leader_is_frozen_then_its_session_ends_and_the_standby_takes_over(
    postgres: Postgres,
) -> None:
    """SIGSTOP: the server ends the silent session after 15 s, and the one that watches has the lock."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _LEADER, postgres.dsn, cwd=_ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    standby = Leadership(postgres, lock_name="test")
    assert standby.check(now_ns=NOW_NS) is False
    process.send_signal(signal.SIGSTOP)
    silent = False
    try:
        while not await asyncio.to_thread(standby.check, now_ns=NOW_NS):
            silent = silent or standby.is_leader_silent
            await asyncio.sleep(0.2)
    finally:
        process.kill()
        await process.wait()
    assert (silent, standby.epoch) == (True, 2)
    standby.release()


@pytest.mark.engine
def test_bind_when_the_database_is_anothers_then_said(control: ControlStore) -> None:
    """The first account keeps the database."""
    assert control.bind("PA1", now_ns=NOW_NS).account_number == "PA1"
    assert control.bind("PA2", now_ns=NOW_NS).account_number == "PA1"


@pytest.mark.engine
async def test_run_when_the_database_belongs_to_another_account_then_start_is_refused(
    postgres: Postgres, broker_server: Any, control: ControlStore
) -> None:
    """Exit 2, and nothing is traded."""
    from torghut_core.trading.service import run

    control.bind("PA-another", now_ns=NOW_NS)
    with pytest.raises(ConfigurationError, match="belongs to another account"):
        await run(service_environment(broker_server.url), clickhouse=SignalTables(), postgres=postgres)  # type: ignore[arg-type]


@pytest.mark.engine
async def test_run_when_equity_falls_to_the_limit_then_latched_told_and_entries_refused(
    postgres: Postgres, broker_server: Any
) -> None:
    """The day's first reading is the mark; the latch outlives the recovery."""
    tables = SignalTables()
    environment = service_environment(broker_server.url, TRADING_MAX_DAILY_LOSS="1000")
    async with running(environment, tables, postgres) as client:
        await eventually(
            client, "/trading/status", lambda body: bool(body["account_confirmed"]) and bool(body["last_reconcile_at"])
        )
        before = (await client.get("/trading/status")).json()["last_reconcile_at"]
        await eventually(client, "/trading/status", lambda body: body["leader"] and body["last_reconcile_at"] > before)
        broker_server.state.equity = "99000"
        status = await eventually(client, "/trading/status", lambda body: body["loss_limit"]["latched"])
        broker_server.state.equity = "100000"
        cross_up(tables)
        [decision] = await eventually(
            client, "/trading/decisions", lambda body: bool(body) and body[0]["status"] == "rejected"
        )
    assert decision["risk_reasons"] == "loss_limit_latched"
    assert status["loss_limit"]["since"] is not None
    assert broker_server.state.posts == []


@pytest.mark.engine
async def test_state_when_a_claim_is_settled_then_no_absence_reopens_it(desk: Any, database: Database) -> None:
    """A rejected claim is never turned into unknown, and only an unknown one never arrives."""
    orders = OrderStore(database, account_label="paper")
    intent, decision_id = desk.plan()
    desk.leadership.claim(desk.request(intent, decision_id), now_ns=NOW_NS)
    assert orders.settle_never_arrived(decision_id, now_ns=NOW_NS) is False
    orders.settle_rejected(decision_id, "broker_unreachable", now_ns=NOW_NS)
    assert orders.note_absent(decision_id, now_ns=NOW_NS) is False
    orders.mark_unknown(decision_id, now_ns=NOW_NS)
    assert orders.settle_never_arrived(decision_id, now_ns=NOW_NS) is False
    assert desk.decision()["risk_reasons"] == "broker_unreachable"
