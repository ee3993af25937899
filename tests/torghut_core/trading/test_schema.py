"""The schema of a database that is behind: refused at start, brought up when told to, what it holds kept."""

from __future__ import annotations

import psycopg
import pytest
import sqlalchemy
from alembic import command
from psycopg.conninfo import make_conninfo

from torghut_core.engines.postgres import Postgres
from torghut_core.errors import ConfigurationError
from torghut_core.trading.store import schema

pytestmark = pytest.mark.engine


def test_prepare_when_a_server_is_behind_then_refused_until_it_may_be_migrated(postgres_server: Postgres) -> None:
    """An order of the version before becomes an execution with its first event, and events cannot be changed."""
    with psycopg.connect(make_conninfo(postgres_server.dsn, dbname="postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE behind")
    server = Postgres(make_conninfo(postgres_server.dsn, dbname="behind"))
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=server.connect, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        config = schema._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    with server.connect(autocommit=True) as connection:
        connection.execute(
            "INSERT INTO executions (alpaca_account_label, alpaca_order_id, client_order_id, symbol, side, order_type,"
            " time_in_force, submitted_qty, filled_qty, avg_fill_price, status, raw_order, created_at, updated_at)"
            " VALUES ('paper', 'o', 'c', 'AAPL', 'buy', 'market', 'day', 10, 4, 100.5, 'partially_filled', '{}', now(), now())"
        )
    with pytest.raises(ConfigurationError, match="the schema is at 0001, this program needs 0003") as caught:
        schema.prepare(server, may_migrate=False)
    assert "TRADING_MIGRATE_ON_START" in str(caught.value.hint)
    assert schema.prepare(server, may_migrate=True).is_current is True
    with server.connect(autocommit=True) as connection:
        rows = connection.execute("SELECT source, status, filled_qty FROM order_events").fetchall()
        assert [(source, status, int(filled)) for source, status, filled in rows] == [("poll", "partially_filled", 4)]
        for statement in ("UPDATE order_events SET status = 'filled'", "DELETE FROM order_events"):
            with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                connection.execute(statement)
    with psycopg.connect(make_conninfo(postgres_server.dsn, dbname="postgres"), autocommit=True) as admin:
        admin.execute("DROP DATABASE behind WITH (FORCE)")
