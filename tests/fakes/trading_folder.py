"""The trading database of a folder of `up`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torghut_core.engines.postgres import open_postgres
from torghut_core.trading.store.control import ControlStore
from torghut_core.trading.store.database import Database
from torghut_core.trading.store.schema import migrate


@contextmanager
def paper_account(folder: Path) -> Iterator[ControlStore]:
    """Make the database of a new folder, bound to the paper account, and hold it open."""
    (folder / "engines" / "postgres").mkdir(parents=True)
    server = open_postgres(f"embedded:{folder}/engines/postgres")
    migrate(server)
    database = Database(server)
    database.open()
    try:
        store = ControlStore(database, account_label="paper")
        store.bind("PA0000001", now_ns=1)
        yield store
    finally:
        database.close()
        server.close()
