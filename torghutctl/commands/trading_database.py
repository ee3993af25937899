"""The trading database that a command reads or writes: the environment's, or that of a folder on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torghutctl.errors import ConfigurationError

if TYPE_CHECKING:
    from torghut_core.engines.postgres import Postgres
    from torghut_core.trading.settings import TradingSettings
    from torghut_core.trading.store.database import Database


@dataclass(frozen=True, kw_only=True)
class TradingDatabase:
    """An open database, its server, and the settings it was found by."""

    settings: TradingSettings
    server: Postgres
    database: Database


@contextmanager
def open_trading(local: Path | None, environment: Mapping[str, str]) -> Iterator[TradingDatabase]:
    """Open the database of the folder `local`, else the one at DB_DSN, and close it when the block ends.

    Raises ConfigurationError when neither names one, EngineUnavailableError when it does not answer.
    """
    from torghut_core.engines.postgres import open_postgres
    from torghut_core.settings import load, reveal
    from torghut_core.trading.settings import TradingSettings
    from torghut_core.trading.store.database import Database
    from torghut_core.trading.store.deadlines import with_deadlines

    settings = load(TradingSettings, environment)
    if local is not None:
        folder = local / "engines" / "postgres"
        if not folder.is_dir():
            raise ConfigurationError(f"--local {local}: holds no trading database")
        address = f"embedded:{folder}"
    else:
        given = reveal(settings.db_dsn)
        if given is None:
            raise ConfigurationError("DB_DSN: must be set to the trading database, or give --local DIR")
        address = given
    server = open_postgres(address)
    try:
        database = Database(with_deadlines(server))
        database.open()
        try:
            yield TradingDatabase(settings=settings, server=server, database=database)
        finally:
            database.close()
    finally:
        server.close()
