"""PostgreSQL connections of which every wait has an end.

What TCP notices is not enough: where a proxy, a sidecar or a balancer stands between, it keeps acknowledging while
nothing comes through any more, and neither `tcp_user_timeout` nor the server's `statement_timeout` ends the wait then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.conninfo import make_conninfo
from psycopg.rows import Row

from torghut_core.engines.postgres import Postgres
from torghut_core.errors import ConfigurationError, EngineUnavailableError

STATEMENT_SECONDS = 10.0
"""How long the server works on a statement of a pooled connection."""
ANSWER_SECONDS = STATEMENT_SECONDS + 2
"""How long an answer is waited for: the server's own limit, and the way."""
_CONNECT_SECONDS = 5
_INTERVAL_SECONDS = 0.1


class BoundedConnection(psycopg.Connection[Row]):
    """A connection that is closed, with OperationalError, when an answer does not come within `answer_seconds`.

    Whether the statement was done is not known then, as with every connection that breaks.
    """

    answer_seconds: float = ANSWER_SECONDS

    def wait(self, gen: PQGen[RV], interval: float = _INTERVAL_SECONDS, timeout: float | None = None) -> RV:
        try:
            return super().wait(gen, interval, self.answer_seconds if timeout is None else timeout)
        except psycopg.OperationalError:
            # An answer that is late would be taken for the next statement's.
            if self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                self.close()
            raise


@dataclass(frozen=True, repr=False)
class _BoundedPostgres(Postgres):
    answer_seconds: float = ANSWER_SECONDS

    def connect(
        self, *, timeout: float = _CONNECT_SECONDS, autocommit: bool = False
    ) -> psycopg.Connection[tuple[Any, ...]]:
        try:
            connection = BoundedConnection.connect(
                self.dsn, connect_timeout=max(2, round(timeout)), autocommit=autocommit
            )
        except psycopg.OperationalError as error:
            raise EngineUnavailableError("DB_DSN: PostgreSQL does not accept a connection") from error
        connection.answer_seconds = self.answer_seconds
        return connection


def with_deadlines(postgres: Postgres, *, answer_seconds: float = ANSWER_SECONDS) -> Postgres:
    """Return the same server with connections that fail when it does not answer in time, whatever lies between.

    The result does not own an embedded server: closing it closes nothing. Raises ConfigurationError when the address is
    none that libpq understands.
    """
    try:
        dsn = make_conninfo(
            postgres.dsn,
            connect_timeout=_CONNECT_SECONDS,
            tcp_user_timeout=10_000,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
        )
    except psycopg.Error as error:
        raise ConfigurationError("DB_DSN: must be postgresql://USER:PASSWORD@HOST:PORT/NAME or embedded:DIR") from error
    return _BoundedPostgres(dsn, answer_seconds=answer_seconds)
