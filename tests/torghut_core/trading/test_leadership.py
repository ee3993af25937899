"""The lock and the claim against a real PostgreSQL: each rule of a claim for itself, races included."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import psycopg
import pytest

from tests.fakes.trading_desk import open_desk
from tests.fakes.trading_values import NOW_NS, make_signal
from torghut_core.clock import ManualClock
from torghut_core.engines.postgres import Postgres
from torghut_core.errors import UpstreamError
from torghut_core.trading import leadership
from torghut_core.trading.leadership import ClaimResult, Leadership, lock_key
from torghut_core.trading.store.database import Database

pytestmark = pytest.mark.engine


@pytest.fixture
async def desk(postgres: Postgres, database: Database, broker_server: Any) -> Any:
    broker = broker_server.client(timeout_seconds=0.5)
    made = open_desk(postgres, database, broker)
    assert made.leadership.check(now_ns=NOW_NS) is True
    yield made
    made.leadership.release()
    await broker.close()


def test_lock_key_when_named_then_this_number() -> None:
    """Every version must ask for the same lock, or two would lead during an upgrade."""
    assert lock_key("torghut:trading-scheduler") == -5582680098985332512


def _claims(database: Database) -> list[dict[str, Any]]:
    with database.transaction() as connection:
        return connection.execute("SELECT * FROM order_claims").fetchall()


async def test_claim_when_granted_then_its_row_says_everything_and_the_decision_is_on_its_way(
    desk: Any, database: Database
) -> None:
    """The permission is the row: whoever comes after must know what was asked for, by whom, for how much."""
    request = desk.request(*desk.plan())
    assert desk.leadership.claim(request, now_ns=NOW_NS) is ClaimResult.GRANTED
    [row] = _claims(database)
    assert {key: row[key] for key in ("trade_decision_id", "client_order_id", "symbol", "side", "leg", "state")} == {
        "trade_decision_id": request.decision_id,
        "client_order_id": request.order.client_order_id,
        "symbol": "AAPL",
        "side": "buy",
        "leg": "entry",
        "state": "claimed",
    }
    assert (row["qty"], row["price"], row["reserved_notional"], row["epoch"], str(row["strategy_id"])) == (
        request.order.qty,
        request.price,
        request.reserved_notional,
        1,
        request.strategy_id,
    )
    assert (row["alpaca_account_label"], row["claimed_at"].timestamp()) == ("paper", NOW_NS / 1e9)
    decision = desk.decision()
    assert (decision["status"], decision["executed_at"].timestamp()) == ("submitting", NOW_NS / 1e9)


@pytest.mark.parametrize("status", ["rejected", "submitted", "filled", "unknown", "never_arrived", "submitting"])
async def test_claim_when_the_decision_is_not_planned_any_more_then_no_permission(
    desk: Any, database: Database, status: str
) -> None:
    """A decision that ended, or is another's already, is never sent, though no claim stands in the way."""
    request = desk.request(*desk.plan())
    with database.transaction() as connection:
        connection.execute("UPDATE trade_decisions SET status = %s", (status,))
    assert desk.leadership.claim(request, now_ns=NOW_NS) is ClaimResult.ALREADY_CLAIMED
    assert (_claims(database), desk.decision()["status"]) == ([], status)


async def test_claim_when_the_key_was_claimed_before_then_no_permission_though_the_decision_is_planned(
    desk: Any, database: Database
) -> None:
    """The claim's own row stands against a second call, whatever became of the decision's status."""
    request = desk.request(*desk.plan())
    assert desk.leadership.claim(request, now_ns=NOW_NS) is ClaimResult.GRANTED
    with database.transaction() as connection:
        connection.execute("UPDATE trade_decisions SET status = 'planned'")
    assert desk.leadership.claim(request, now_ns=NOW_NS) is ClaimResult.ALREADY_CLAIMED
    assert (len(_claims(database)), desk.decision()["status"]) == (1, "planned")


async def test_claim_when_nobody_ever_led_then_not_leader(postgres: Postgres, desk: Any, database: Database) -> None:
    """Without the lock there is no permission, and nothing is written."""
    request = desk.request(*desk.plan())
    other = Leadership(postgres, lock_name="test")
    assert other.claim(request, now_ns=NOW_NS) is ClaimResult.NOT_LEADER
    assert _claims(database) == []


def _wait_for_a_blocked_session(address: str, stopped: threading.Event) -> None:
    """Return once a session of this database waits for a lock, or the work ended without waiting."""
    with psycopg.connect(address, autocommit=True) as watcher:
        while not stopped.is_set():
            row = watcher.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ).fetchone()
            if row is not None and row[0]:
                return


async def test_claim_when_a_later_leader_is_just_being_written_then_it_waits_and_fails(
    desk: Any, postgres: Postgres, database: Database
) -> None:
    """The claim and a later epoch never pass each other unseen: it waits for the other's commit, and obeys it."""
    request, ended = desk.request(*desk.plan()), threading.Event()

    def claim() -> ClaimResult:
        try:
            return desk.leadership.claim(request, now_ns=NOW_NS)
        finally:
            ended.set()

    with psycopg.connect(postgres.dsn) as later:
        later.execute("UPDATE trading_leadership SET epoch = epoch + 1")
        work = asyncio.create_task(asyncio.to_thread(claim))
        await asyncio.to_thread(_wait_for_a_blocked_session, postgres.dsn, ended)
        assert ended.is_set() is False
        later.commit()
    assert (await work, _claims(database), desk.leadership.is_leader) == (ClaimResult.NOT_LEADER, [], False)


async def test_claim_when_the_decision_is_just_being_ended_then_it_waits_and_is_not_sent(
    desk: Any, postgres: Postgres, database: Database
) -> None:
    """What ends a decision and what claims it do not both win."""
    request, ended = desk.request(*desk.plan()), threading.Event()

    def claim() -> ClaimResult:
        try:
            return desk.leadership.claim(request, now_ns=NOW_NS)
        finally:
            ended.set()

    with psycopg.connect(postgres.dsn) as other:
        other.execute("UPDATE trade_decisions SET status = 'rejected'")
        work = asyncio.create_task(asyncio.to_thread(claim))
        await asyncio.to_thread(_wait_for_a_blocked_session, postgres.dsn, ended)
        other.commit()
    assert (await work, _claims(database)) == (ClaimResult.ALREADY_CLAIMED, [])


async def test_check_when_the_session_lost_the_lock_but_not_the_connection_then_it_leads_no_more(
    desk: Any, database: Database
) -> None:
    """A leader without the lock is none, though nobody else has written an epoch."""
    desk.leadership._connection.execute("SELECT pg_advisory_unlock_all()")
    assert (desk.leadership.check(now_ns=NOW_NS), desk.leadership.is_leader) == (False, False)
    assert desk.leadership.check(now_ns=NOW_NS) is True
    assert desk.leadership.epoch == 2


async def test_claim_when_the_session_lost_the_lock_then_not_leader(desk: Any, database: Database) -> None:
    """The claim looks for the lock itself, in its own transaction, and does not wait for the next check."""
    request = desk.request(*desk.plan())
    desk.leadership._connection.execute("SELECT pg_advisory_unlock_all()")
    assert desk.leadership.claim(request, now_ns=NOW_NS) is ClaimResult.NOT_LEADER
    assert (_claims(database), desk.leadership.is_leader) == ([], False)


async def test_check_when_another_took_a_later_epoch_then_it_leads_no_more(desk: Any, database: Database) -> None:
    """The epoch decides as well as the lock."""
    with database.transaction() as connection:
        connection.execute("UPDATE trading_leadership SET epoch = epoch + 1")
    assert (desk.leadership.check(now_ns=NOW_NS), desk.leadership.epoch) == (False, None)


async def test_lock_when_names_differ_then_both_lead(postgres: Postgres, desk: Any) -> None:
    """A lock is its name's: two systems in one database do not wait for each other."""
    other = Leadership(postgres, lock_name="another")
    assert (other.check(now_ns=NOW_NS), desk.leadership.check(now_ns=NOW_NS), other.epoch) == (True, True, 1)
    other.release()


async def test_session_when_it_leads_then_the_server_bounds_its_statements_and_its_silence(desk: Any) -> None:
    """No statement hangs for ever, and a silent leader's session is ended by the server."""
    connection = desk.leadership._connection
    shown = [
        connection.execute(f"SHOW {name}").fetchone()[0]
        for name in ("statement_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout")
    ]
    assert shown == ["5s", "15s", "15s"]


async def test_session_when_it_stands_by_then_its_silence_is_not_bounded(postgres: Postgres, desk: Any) -> None:
    """A standby may wait for days; only the leader has to give signs of life."""
    other = Leadership(postgres, lock_name="test")
    assert other.check(now_ns=NOW_NS) is False
    connection: Any = other._connection
    assert connection.execute("SHOW idle_session_timeout").fetchone()[0] == "0"
    other.release()


async def test_beat_when_a_later_epoch_exists_then_not_given_and_the_lock_is_dropped(
    desk: Any, database: Database
) -> None:
    """A former leader gives no sign of life in another's name."""
    with database.transaction() as connection:
        connection.execute("UPDATE trading_leadership SET epoch = epoch + 1")
    assert (desk.leadership.beat(), desk.leadership.is_leader) == (False, False)
    with database.transaction() as connection:
        assert connection.execute("SELECT beats FROM trading_leadership").fetchone() == {"beats": 0}


async def test_beat_when_it_leads_then_counted_and_when_not_then_not(
    postgres: Postgres, desk: Any, database: Database
) -> None:
    """Each sign of life is one more; who does not lead gives none."""
    assert [desk.leadership.beat(), desk.leadership.beat()] == [True, True]
    assert Leadership(postgres, lock_name="test").beat() is False
    with database.transaction() as connection:
        assert connection.execute("SELECT beats FROM trading_leadership").fetchone() == {"beats": 2}


async def test_beat_when_started_then_given_by_a_thread_of_its_own_until_released(
    desk: Any, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to call it: the lock's session is kept alive while the loop turns, and no thread is left behind."""
    monkeypatch.setattr(leadership, "BEAT_SECONDS", 0.01)
    for _ in range(2):
        desk.leadership.start_beating()
    beats = 0
    while beats < 3:
        with database.transaction() as connection:
            row = connection.execute("SELECT beats FROM trading_leadership").fetchone()
            beats = 0 if row is None else row["beats"]
        await asyncio.sleep(0.01)
    assert [thread.name for thread in threading.enumerate()].count("leader-beat") == 1
    desk.leadership.release()
    while any(thread.name == "leader-beat" for thread in threading.enumerate()):
        await asyncio.sleep(0.01)


async def test_beat_when_the_connection_is_gone_then_not_given_and_not_leader(desk: Any) -> None:
    """A beat that fails ends the leadership at once, without an error of its own."""
    desk.leadership._connection.close()
    assert (desk.leadership.beat(), desk.leadership.is_leader) == (False, False)


async def test_check_when_the_database_is_away_then_said_and_not_leader(postgres: Postgres) -> None:
    """An outage is told by the error; leadership is not assumed meanwhile."""
    away = Leadership(Postgres("host=127.0.0.1 port=9 connect_timeout=1 dbname=x"), lock_name="test")
    with pytest.raises(UpstreamError):
        away.check(now_ns=NOW_NS)
    assert (away.is_leader, away.epoch, away.is_leader_silent) == (False, None, False)


async def test_release_when_given_back_then_the_next_takes_it_at_once_with_the_next_epoch(
    postgres: Postgres, desk: Any
) -> None:
    """Whoever waits does not wait for the server to notice; a process that gave it back claims nothing."""
    request = desk.request(*desk.plan(signal=make_signal(symbol="MSFT")))
    other = Leadership(postgres, lock_name="test", holder="b", clock=ManualClock())
    assert other.check(now_ns=NOW_NS) is False
    desk.leadership.release()
    assert (other.check(now_ns=NOW_NS), other.epoch, other.is_leader) == (True, 2, True)
    assert desk.leadership.claim(request, now_ns=NOW_NS) is ClaimResult.NOT_LEADER
    other.release()
