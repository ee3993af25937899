"""A PostgreSQL behind a wire that keeps everything to itself: no wait for it is without an end, and what is mended heals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from tests.fakes.cut_wire import CutWire, cut_wire
from tests.fakes.trading_desk import open_desk
from tests.fakes.trading_values import NOW_NS
from torghut_core.engines.postgres import Postgres
from torghut_core.errors import EngineUnavailableError
from torghut_core.trading import leadership
from torghut_core.trading.leadership import Leadership
from torghut_core.trading.store.database import Database
from torghut_core.trading.store.deadlines import with_deadlines
from torghut_core.trading.store.schema import read_schema

pytestmark = pytest.mark.engine
_ANSWER_SECONDS = 0.3


@pytest.fixture
async def wire(postgres: Postgres) -> AsyncIterator[CutWire]:
    async with cut_wire(postgres) as made:
        yield made


@pytest.fixture
async def pool(wire: CutWire) -> AsyncIterator[Database]:
    made = Database(wire.postgres, answer_seconds=_ANSWER_SECONDS)
    made.open()
    yield made
    await asyncio.to_thread(made.close)


@pytest.fixture
async def leader(wire: CutWire) -> AsyncIterator[Leadership]:
    made = Leadership(wire.postgres, lock_name="test", answer_seconds=_ANSWER_SECONDS)
    assert await asyncio.to_thread(made.check, now_ns=NOW_NS) is True
    yield made
    wire.mend()
    await asyncio.to_thread(made.release)


def _ask(pool: Database) -> object:
    with pool.transaction() as connection:
        return connection.execute("SELECT 7 AS seven").fetchone()


async def test_transaction_when_a_statement_is_not_answered_then_unavailable_and_the_next_goes_on(
    wire: CutWire, pool: Database
) -> None:
    """A proxy that acknowledges is no dead peer to TCP: without a deadline of ours the thread would wait for ever."""

    def cut_within() -> None:
        with pool.transaction() as connection:
            connection.execute("SELECT 1")
            wire.hold()
            connection.execute("SELECT 2")

    with pytest.raises(
        EngineUnavailableError, match=r"database unavailable \(the connection broke, or no answer in time\)"
    ):
        await asyncio.to_thread(cut_within)
    wire.mend()
    assert await asyncio.to_thread(_ask, pool) == {"seven": 7}


async def test_transaction_when_the_commit_is_not_answered_then_unavailable(wire: CutWire, pool: Database) -> None:
    """The end of the block waits too."""

    def cut_before_commit() -> None:
        with pool.transaction() as connection:
            connection.execute("SELECT 1")
            wire.hold()

    with pytest.raises(EngineUnavailableError, match="database unavailable"):
        await asyncio.to_thread(cut_before_commit)


async def test_transaction_when_a_pooled_connection_is_dead_then_the_wait_for_another_ends(
    wire: CutWire, pool: Database
) -> None:
    """The pool asks a connection before it lends it: that is a wait as well, and closing the pool is none."""
    await asyncio.to_thread(_ask, pool)
    wire.hold()
    with pytest.raises(EngineUnavailableError, match=r"database unavailable \(no connection in time\)"):
        await asyncio.to_thread(_ask, pool)
    await asyncio.to_thread(pool.close)


async def test_connection_when_its_answer_is_late_then_it_is_never_the_next_statements(wire: CutWire) -> None:
    """The connection is closed: what arrives after all would answer another question."""
    connection = await asyncio.to_thread(with_deadlines(wire.postgres, answer_seconds=_ANSWER_SECONDS).connect)
    wire.hold()
    with pytest.raises(psycopg.OperationalError):
        await asyncio.to_thread(connection.execute, "SELECT 1")
    wire.mend()
    assert connection.closed is True


async def test_connect_when_nothing_answers_then_unavailable(wire: CutWire) -> None:
    """Taken by the proxy is not connected."""
    wire.hold()
    server = with_deadlines(wire.postgres)
    with pytest.raises(EngineUnavailableError):
        await asyncio.to_thread(server.connect, timeout=2)


async def test_schema_when_every_connection_is_reset_then_unavailable(wire: CutWire) -> None:
    """A cut that TCP does notice is the same outage."""
    wire.reset()
    with pytest.raises(EngineUnavailableError):
        await asyncio.to_thread(read_schema, with_deadlines(wire.postgres))


async def test_beat_when_it_is_not_answered_then_not_leader_and_leader_again_once_mended(
    wire: CutWire, leader: Leadership
) -> None:
    """A leader that cannot be heard knows it; its check does not wait behind a beat that never ends."""
    wire.hold()
    assert await asyncio.to_thread(leader.beat) is False
    assert leader.is_leader is False
    wire.mend()
    while not await asyncio.to_thread(leader.check, now_ns=NOW_NS):
        await asyncio.sleep(0.02)
    assert leader.epoch == 2


async def test_check_when_it_is_not_answered_then_said_and_not_leader(wire: CutWire, leader: Leadership) -> None:
    """The look at the lock ends by itself and leaves no leadership behind."""
    wire.hold()
    with pytest.raises(EngineUnavailableError, match="database unavailable"):
        await asyncio.to_thread(leader.check, now_ns=NOW_NS)
    assert leader.is_leader is False


async def test_release_when_nothing_is_answered_then_it_ends(wire: CutWire, leader: Leadership) -> None:
    """A process that is told to end does not wait for a server it cannot reach."""
    wire.hold()
    await asyncio.to_thread(leader.release)
    assert leader.is_leader is False


async def test_claim_when_it_is_not_answered_then_raised_so_that_nothing_is_sent(
    wire: CutWire, leader: Leadership, postgres: Postgres, broker_server: Any
) -> None:
    """Whether the claim was committed is not known: the broker must not be called, and this process leads no more."""
    books = Database(postgres)
    books.open()
    broker = broker_server.client()
    desk = open_desk(postgres, books, broker)
    request = desk.request(*desk.plan())
    wire.hold()
    with pytest.raises(EngineUnavailableError, match="database unavailable"):
        await asyncio.to_thread(leader.claim, request, now_ns=NOW_NS)
    assert (leader.is_leader, broker_server.state.posts) == (False, [])
    await broker.close()
    books.close()


async def test_lock_when_the_answer_that_grants_it_is_lost_then_its_session_ends_and_another_leads(
    wire: CutWire, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server holds the lock for a process that does not know it leads and cannot say that it does not."""
    monkeypatch.setattr(leadership, "IDLE_SECONDS", 0.5)
    cut_off = Leadership(wire.postgres, lock_name="test", answer_seconds=_ANSWER_SECONDS)
    wire.hold_after(b"pg_try_advisory_lock")
    with pytest.raises(EngineUnavailableError, match="database unavailable"):
        await asyncio.to_thread(cut_off.check, now_ns=NOW_NS)
    other = Leadership(postgres, lock_name="test")
    assert await asyncio.to_thread(other.check, now_ns=NOW_NS) is False
    while not await asyncio.to_thread(other.check, now_ns=NOW_NS):
        await asyncio.sleep(0.02)
    assert (other.epoch, cut_off.epoch) == (1, None)
    await asyncio.to_thread(other.release)


async def test_transaction_when_it_is_cut_in_the_middle_then_the_server_gives_its_locks_back(
    wire: CutWire, pool: Database, postgres: Postgres
) -> None:
    """A process that is cut off must not keep rows from the one that takes over, though nothing closes its connection."""

    def cut_within() -> None:
        with pool.transaction() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(7)")
            wire.hold()

    with pytest.raises(EngineUnavailableError, match="database unavailable"):
        await asyncio.to_thread(cut_within)
    with postgres.connect(autocommit=True) as other:
        await asyncio.to_thread(other.execute, "SELECT pg_advisory_lock(7)")
        other.execute("SELECT pg_advisory_unlock(7)")
