"""One embedded PostgreSQL for a test process, a fresh migrated database for each test, and a broker over HTTP."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.fakes.broker_server import KEY, SECRET, BrokerServer, create_broker_app
from torghut_core.engines.postgres import Postgres, open_postgres
from torghut_core.http_server import Binding, serving
from torghut_core.trading.orders.broker import Broker
from torghut_core.trading.store.database import Database
from torghut_core.trading.store.schema import migrate

REUSED = "REUSED_POSTGRES"
"""The address of a migrated database on a server that somebody else started and ends: `make mutants` does."""


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    if REUSED in os.environ:
        yield Postgres(os.environ[REUSED])
        return
    # Not below pytest's own folder: run as root, each pytest that starts closes that folder to the server's user.
    with tempfile.TemporaryDirectory(prefix="torghut-tests-", ignore_cleanup_errors=True) as folder:
        server = open_postgres(f"embedded:{folder}/pg")
        migrate(server)
        yield server
        server.close()


@contextmanager
def fresh_database(server: Postgres, name: str) -> Iterator[Postgres]:
    """Make a migrated database of this name, and drop it again."""
    with psycopg.connect(make_conninfo(server.dsn, dbname="postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE torghut")
    yield Postgres(make_conninfo(server.dsn, dbname=name))
    with psycopg.connect(make_conninfo(server.dsn, dbname="postgres"), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres(postgres_server: Postgres, request: pytest.FixtureRequest) -> Iterator[Postgres]:
    with fresh_database(postgres_server, f"t{abs(hash(request.node.nodeid)) % 10**12}") as found:
        yield found


@pytest.fixture(scope="module")
def shared_postgres(postgres_server: Postgres, request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """One database for all tests of a module, for those that keep out of each other's way."""
    with fresh_database(postgres_server, f"m{abs(hash(request.node.nodeid)) % 10**12}") as found:
        yield found


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Database]:
    pool = Database(postgres)
    pool.open()
    yield pool
    pool.close()


@dataclass(frozen=True)
class BrokerEndpoint:
    """A running broker: its state and its address."""

    state: BrokerServer
    url: str

    def client(self, timeout_seconds: float = 5.0) -> Broker:
        return Broker(base_url=self.url, key=KEY, secret=SECRET, timeout_seconds=timeout_seconds)


@pytest.fixture
async def broker_server() -> AsyncIterator[BrokerEndpoint]:
    state = BrokerServer()
    binding = Binding(port=0, variable="TEST", host="127.0.0.1")
    async with serving(create_broker_app(state), binding) as port:
        yield BrokerEndpoint(state, f"http://127.0.0.1:{port}")
