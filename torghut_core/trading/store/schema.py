"""Brings the PostgreSQL schema to the version this program was built for, and says whether it is there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# At the top on purpose: two threads that import SQLAlchemy for the first time at once find it half made.
import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError

from torghut_core.engines.postgres import Postgres
from torghut_core.errors import ConfigurationError, EngineUnavailableError, TorghutError
from torghut_core.trading.store.database import translated
from torghut_core.trading.store.deadlines import with_deadlines

_FOLDER = Path(__file__).parents[1] / "migrations"
_MIGRATION_SECONDS = 120.0
"""How long one statement of a migration, or another process's migration, is waited for."""
_LOCK_KEY = 0x746F726768757401  # serialises migrations of processes that start together
_VERSION_TABLE = "torghut_schema_version"


@dataclass(frozen=True, kw_only=True)
class SchemaState:
    """Versions in the database and in this program."""

    current_heads: tuple[str, ...]
    expected_heads: tuple[str, ...]

    @property
    def is_current(self) -> bool:
        return self.current_heads == self.expected_heads

    @property
    def is_empty(self) -> bool:
        """Whether no version was ever applied."""
        return not self.current_heads


class SchemaError(TorghutError):
    """The database's schema cannot be brought to this program's version."""


def prepare(postgres: Postgres, *, may_migrate: bool) -> SchemaState:
    """Bring up the schema of a database that is empty, or may be migrated; look at any other.

    Raises ConfigurationError when it is behind and may not be migrated; else as `migrate` does.
    """
    state = read_schema(postgres)
    if state.is_current:
        return state
    if state.is_empty or may_migrate:
        return migrate(postgres)
    raise ConfigurationError(
        f"DB_DSN: the schema is at {', '.join(state.current_heads)}, this program needs {', '.join(state.expected_heads)}",
        hint="run `torghutctl trading migrate`, or set TRADING_MIGRATE_ON_START=true",
    )


def migrate(postgres: Postgres) -> SchemaState:
    """Apply what is missing and return the state after it.

    Several processes may call this at once. Raises EngineUnavailableError when PostgreSQL is away, SchemaError when a
    version fails or the database is ahead of this program (an older image must not run on a newer schema).
    """
    patient = with_deadlines(postgres, answer_seconds=_MIGRATION_SECONDS)
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=patient.connect, poolclass=sqlalchemy.NullPool)
    try:
        with translated(), engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = '60s'")
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (_LOCK_KEY,))
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise SchemaError(
            "PostgreSQL: the schema is of a version this program does not know",
            hint="run the image the schema belongs to, or a newer one",
        ) from error
    except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError) as error:
        raise EngineUnavailableError("DB_DSN: database unavailable") from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise SchemaError("PostgreSQL: a migration failed and was rolled back") from error
    finally:
        engine.dispose()
    return read_schema(postgres)


def read_schema(postgres: Postgres) -> SchemaState:
    """Return both versions. Raises EngineUnavailableError when PostgreSQL is away."""
    expected = tuple(sorted(ScriptDirectory.from_config(_config()).get_heads()))
    with translated(), postgres.connect(autocommit=True) as connection:
        exists = connection.execute("SELECT to_regclass(%s)", (_VERSION_TABLE,)).fetchone()
        if exists is None or exists[0] is None:
            return SchemaState(current_heads=(), expected_heads=expected)
        rows = connection.execute("SELECT version_num FROM torghut_schema_version ORDER BY version_num").fetchall()
    return SchemaState(current_heads=tuple(row[0] for row in rows), expected_heads=expected)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
