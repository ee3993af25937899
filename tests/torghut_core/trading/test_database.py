"""The pool: a statement by itself, and transactions after it as before."""

from __future__ import annotations

import pytest

from torghut_core.engines.postgres import Postgres
from torghut_core.errors import EngineUnavailableError
from torghut_core.trading.store.database import Database, DatabaseError

pytestmark = pytest.mark.engine


def _names(database: Database) -> list[str]:
    with database.statement() as connection:
        return [row["name"] for row in connection.execute("SELECT name FROM strategies ORDER BY name").fetchall()]


def _insert(name: str) -> str:
    return (
        "INSERT INTO strategies (name, rule, enabled, base_timeframe, universe_type, created_at, updated_at)"
        f" VALUES ('{name}', 'r', true, '1Sec', 'static', now(), now())"
    )


def test_statement_when_it_is_done_then_it_stays_whatever_comes_after_it_in_the_block(database: Database) -> None:
    """It is a transaction by itself: nothing has to end it."""
    with pytest.raises(ZeroDivisionError), database.statement() as connection:
        connection.execute(_insert("one"))
        raise ZeroDivisionError
    assert _names(database) == ["one"]


@pytest.mark.parametrize("own", [False, True])
def test_transaction_when_a_statement_was_before_then_it_is_still_one(postgres: Postgres, own: bool) -> None:
    """The connection that was lent for a statement, refused or not, begins transactions again."""
    pool = Database(postgres, is_own_server=own)
    pool.open()
    try:
        assert _names(pool) == []
        with pytest.raises(DatabaseError), pool.statement() as connection:
            connection.execute("SELECT nothing")
        with pytest.raises(ZeroDivisionError), pool.transaction() as connection:
            connection.execute(_insert("two"))
            raise ZeroDivisionError
        assert _names(pool) == []
    finally:
        pool.close()


def test_transaction_when_the_server_ends_it_then_unavailable_says_why_and_not_what(database: Database) -> None:
    """A deadlock or a full disk is no server that is away, though it is dealt with alike; its words may hold values."""
    with (
        pytest.raises(EngineUnavailableError, match=r"^DB_DSN: database unavailable \(SQLSTATE 40P01\)$"),
        database.transaction() as connection,
    ):
        connection.execute("DO $$ BEGIN RAISE EXCEPTION 'hunter22' USING ERRCODE = '40P01'; END $$")
