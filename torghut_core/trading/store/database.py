"""A pool of PostgreSQL connections whose failures are Torghut's own errors."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool, PoolTimeout

from torghut_core.clock import utc_datetime
from torghut_core.engines.postgres import Postgres
from torghut_core.errors import EngineUnavailableError, UpstreamError
from torghut_core.trading.encoding import dumps
from torghut_core.trading.store.deadlines import ANSWER_SECONDS, STATEMENT_SECONDS, BoundedConnection, with_deadlines

# The pool logs every failed attempt in the server's words; the loops report an outage once, in ours.
logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)

Connection = psycopg.Connection[DictRow]
_CHECK_SECONDS = 2.0
_IDLE_MARGIN_SECONDS = 3.0
_UNAVAILABLE = "DB_DSN: database unavailable"


class DatabaseError(UpstreamError):
    """PostgreSQL refused a statement; the message carries its SQLSTATE, never its text."""


def _limits(answer_seconds: float) -> str:
    """Return the server's own limits: a transaction whose client was cut off gives its locks back too."""
    statement_ms, idle_ms = round(STATEMENT_SECONDS * 1000), round((answer_seconds + _IDLE_MARGIN_SECONDS) * 1000)
    return f"-c statement_timeout={statement_ms:d} -c idle_in_transaction_session_timeout={idle_ms:d}"


class Database:
    """A pool that opens lazily and heals itself; no wait of its connections is without an end."""

    def __init__(
        self, postgres: Postgres, *, answer_seconds: float = ANSWER_SECONDS, is_own_server: bool = False
    ) -> None:
        """`is_own_server`: it lives as long as this process, so nobody asks it before each use whether it is there."""
        self._answer_seconds = answer_seconds
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            with_deadlines(postgres).dsn,
            connection_class=BoundedConnection[DictRow],
            kwargs={"row_factory": dict_row, "options": _limits(answer_seconds)},
            configure=self._bound,
            min_size=1,
            max_size=6,
            timeout=5,
            reconnect_timeout=30,
            check=None if is_own_server else self._check,
            open=False,
            name="trading",
        )

    def open(self) -> None:
        """Start filling the pool; a server that is away is waited for in the background."""
        self._pool.open(wait=False)

    def close(self) -> None:
        self._pool.close(timeout=2)

    def _bound(self, connection: Connection) -> None:
        assert isinstance(connection, BoundedConnection)
        connection.answer_seconds = self._answer_seconds

    def _check(self, connection: Connection) -> None:
        """Ask whether a pooled connection still answers: several may have to be asked within one wait for the pool."""
        assert isinstance(connection, BoundedConnection)
        connection.answer_seconds = min(_CHECK_SECONDS, self._answer_seconds)
        try:
            ConnectionPool.check_connection(connection)
        finally:
            connection.answer_seconds = self._answer_seconds

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Lend a connection for one transaction, committed when the block ends well.

        Raises EngineUnavailableError when no connection can be had or it breaks, DatabaseError for a refused statement.
        """
        with translated(), self._pool.connection() as connection:
            yield connection

    @contextmanager
    def statement(self) -> Iterator[Connection]:
        """Lend a connection for one statement, which is a transaction by itself: one way to the server instead of three.

        Raises like `transaction`.
        """
        with translated(), self._pool.connection() as connection:
            connection.autocommit = True
            try:
                yield connection
            finally:
                if not connection.closed:
                    connection.autocommit = False


def _why(error: Exception) -> str:
    """Say which kind of outage it is, never in the server's words: they may hold a statement's values."""
    if isinstance(error, PoolTimeout):
        return "no connection in time"
    if isinstance(error, EngineUnavailableError):
        return "no new connection"
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    return "the connection broke, or no answer in time" if state is None else f"SQLSTATE {state}"


@contextmanager
def translated() -> Iterator[None]:
    """Turn errors into EngineUnavailableError (no connection, timeout), in these words and why, or DatabaseError."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, EngineUnavailableError) as error:
        raise EngineUnavailableError(f"{_UNAVAILABLE} ({_why(error)})") from error
    except psycopg.Error as error:
        raise DatabaseError(f"PostgreSQL refused a statement (SQLSTATE {error.sqlstate})") from error


def jsonb(value: Any) -> Jsonb:
    """Return `value` for a jsonb column, through the strict encoder."""
    return Jsonb(value, dumps=dumps)


def at(ns: int) -> datetime:
    """Return nanoseconds since the epoch for a timestamptz column; below a microsecond is cut."""
    return utc_datetime(ns)
