"""A pool of PostgreSQL connections whose failures are Torghut's own errors."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from torghut_core.clock import utc_datetime
from torghut_core.engines.postgres import Postgres
from torghut_core.errors import ConfigurationError, EngineUnavailableError, UpstreamError
from torghut_core.trading.encoding import dumps

# The pool logs every failed attempt in the server's words; the loops report an outage once, in ours.
logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)

Connection = psycopg.Connection[DictRow]
STATEMENT_TIMEOUT_MS = 10_000
_UNAVAILABLE = "DB_DSN: database unavailable"


class DatabaseError(UpstreamError):
    """PostgreSQL refused a statement; the message carries its SQLSTATE, never its text."""


def with_deadlines(postgres: Postgres) -> Postgres:
    """Return the same server with connections that notice within about ten seconds when the network is gone.

    Raises ConfigurationError when the address is none that libpq understands.
    """
    try:
        dsn = make_conninfo(
            postgres.dsn, tcp_user_timeout=10_000, keepalives_idle=5, keepalives_interval=2, keepalives_count=3
        )
    except psycopg.Error as error:
        raise ConfigurationError("DB_DSN: must be postgresql://USER:PASSWORD@HOST:PORT/NAME or embedded:DIR") from error
    return Postgres(dsn)


class Database:
    """A pool that opens lazily and heals itself."""

    def __init__(self, postgres: Postgres) -> None:
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            postgres.dsn,
            connection_class=psycopg.Connection[DictRow],
            kwargs={"row_factory": dict_row, "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS}"},
            min_size=1,
            max_size=6,
            timeout=5,
            reconnect_timeout=30,
            check=ConnectionPool.check_connection,
            open=False,
            name="trading",
        )

    def open(self) -> None:
        """Start filling the pool; a server that is away is waited for in the background."""
        self._pool.open(wait=False)

    def close(self) -> None:
        self._pool.close(timeout=2)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Lend a connection for one transaction, committed when the block ends well.

        Raises EngineUnavailableError when no connection can be had or it breaks, DatabaseError for a refused statement.
        """
        with translated(), self._pool.connection() as connection:
            yield connection


@contextmanager
def translated() -> Iterator[None]:
    """Turn errors into EngineUnavailableError (no connection, timeout), always in these words, or DatabaseError."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, EngineUnavailableError) as error:
        raise EngineUnavailableError(_UNAVAILABLE) from error
    except psycopg.Error as error:
        raise DatabaseError(f"PostgreSQL refused a statement (SQLSTATE {error.sqlstate})") from error


def jsonb(value: Any) -> Jsonb:
    """Return `value` for a jsonb column, through the strict encoder."""
    return Jsonb(value, dumps=dumps)


def at(ns: int) -> datetime:
    """Return nanoseconds since the epoch for a timestamptz column; below a microsecond is cut."""
    return utc_datetime(ns)
