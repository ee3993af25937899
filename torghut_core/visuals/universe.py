"""The symbol universe in PostgreSQL: what is forwarded and traded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal

import psycopg

from torghut_core.engines.postgres import Postgres
from torghut_core.errors import UpstreamError

AssetClass = Literal["equity", "crypto"]
SYMBOL = re.compile(r"[A-Z0-9._:/-]{1,32}")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS torghut_symbols (
    symbol text NOT NULL,
    asset_class text NOT NULL DEFAULT 'equity',
    enabled boolean NOT NULL DEFAULT true,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (asset_class, symbol)
)
"""


class Universe:
    """Symbols by asset class. Calls block; asynchronous callers use threads."""

    def __init__(self, postgres: Postgres, first: Iterable[str] = ()) -> None:
        """`first` is the content of a table that is empty when it is first reached."""
        self._postgres = postgres
        self._first = tuple(first)
        self._is_prepared = False

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """Yield a connection to a table that is there; one block is one transaction.

        Raises EngineUnavailableError or UpstreamError; neither carries PostgreSQL's text.
        """
        try:
            with self._postgres.connect() as connection:
                if not self._is_prepared:
                    self._prepare(connection)
                    connection.commit()
                    self._is_prepared = True
                yield connection
        except psycopg.Error as error:
            raise UpstreamError(f"symbols: PostgreSQL refused ({error.sqlstate or type(error).__name__})") from error

    def _prepare(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('torghut_symbols'))")
        found = connection.execute("SELECT to_regclass('torghut_symbols')").fetchone()
        if found is None or found[0] is None:  # nothing is created where everything is there: it may be read-only
            connection.execute(_SCHEMA)
        if self._first and connection.execute("SELECT 1 FROM torghut_symbols LIMIT 1").fetchone() is None:
            for symbol in self._first:
                connection.execute("INSERT INTO torghut_symbols (symbol) VALUES (%s) ON CONFLICT DO NOTHING", (symbol,))

    def items(self, asset_class: AssetClass, *, include_disabled: bool) -> list[dict[str, Any]]:
        """Return `{assetClass, enabled, symbol, updatedAt}` per symbol, ordered by symbol."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT symbol, enabled, updated_at FROM torghut_symbols"
                " WHERE asset_class = %s AND (enabled OR %s) ORDER BY symbol",
                (asset_class, include_disabled),
            ).fetchall()
        return [
            {"assetClass": asset_class, "enabled": enabled, "symbol": symbol, "updatedAt": _iso(updated_at)}
            for symbol, enabled, updated_at in rows
        ]

    def put(self, asset_class: AssetClass, symbols: Iterable[str], *, enabled: bool) -> int:
        """Insert or update symbols and return how many."""
        count = 0
        with self._connected() as connection:
            for symbol in symbols:
                connection.execute(
                    "INSERT INTO torghut_symbols (symbol, asset_class, enabled) VALUES (%s, %s, %s)"
                    " ON CONFLICT (asset_class, symbol) DO UPDATE SET enabled = excluded.enabled, updated_at = now()",
                    (symbol, asset_class, enabled),
                )
                count += 1
        return count


def _iso(value: datetime) -> str:
    return value.isoformat()
