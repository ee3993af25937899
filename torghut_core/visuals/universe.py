"""The symbol universe in PostgreSQL: what is forwarded and traded, and who changed it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal

import psycopg

from torghut_core.engines.postgres import Postgres
from torghut_core.errors import UpstreamError
from torghut_core.visuals.access import Actor

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
_AUDIT = """
CREATE TABLE IF NOT EXISTS torghut_symbol_changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    who text NOT NULL,
    address text NOT NULL,
    token_id text NOT NULL,
    asset_class text NOT NULL,
    symbol text NOT NULL,
    was text NOT NULL CHECK (was IN ('absent', 'disabled', 'enabled')),
    became text NOT NULL CHECK (became IN ('absent', 'disabled', 'enabled'))
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
        """Yield a connection to tables that are there; one block is one transaction.

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
        for table, schema in (("torghut_symbols", _SCHEMA), ("torghut_symbol_changes", _AUDIT)):
            found = connection.execute("SELECT to_regclass(%s)", (table,)).fetchone()
            if found is None or found[0] is None:  # nothing is created where everything is there: it may be read-only
                connection.execute(schema)
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

    def put(self, asset_class: AssetClass, symbols: Iterable[str], *, enabled: bool, actor: Actor) -> int:
        """Insert or update symbols, all or none, and return how many. What is as wanted already is no change."""
        count = 0
        with self._connected() as connection:
            for symbol in symbols:
                was = self._state(connection, asset_class, symbol)
                connection.execute(
                    "INSERT INTO torghut_symbols (symbol, asset_class, enabled) VALUES (%s, %s, %s)"
                    " ON CONFLICT (asset_class, symbol) DO UPDATE SET enabled = excluded.enabled, updated_at = now()"
                    " WHERE torghut_symbols.enabled <> excluded.enabled",
                    (symbol, asset_class, enabled),
                )
                _record(connection, actor, asset_class, symbol, (was, "enabled" if enabled else "disabled"))
                count += 1
        return count

    def delete(self, asset_class: AssetClass, symbol: str, *, actor: Actor) -> bool:
        """Delete a symbol; return whether there was one."""
        with self._connected() as connection:
            was = self._state(connection, asset_class, symbol)
            connection.execute(
                "DELETE FROM torghut_symbols WHERE asset_class = %s AND symbol = %s", (asset_class, symbol)
            )
            _record(connection, actor, asset_class, symbol, (was, "absent"))
        return was != "absent"

    def changes(self, *, limit: int) -> list[dict[str, Any]]:
        """Return the newest `limit` changes, newest first: who, from where, what, when."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT at, who, address, token_id, asset_class, symbol, was, became FROM torghut_symbol_changes"
                " ORDER BY id DESC LIMIT %s",
                (limit,),
            ).fetchall()
        names = ("at", "who", "address", "tokenId", "assetClass", "symbol", "was", "became")
        return [dict(zip(names, (_iso(row[0]), *row[1:]), strict=True)) for row in rows]

    @staticmethod
    def _state(connection: psycopg.Connection[tuple[Any, ...]], asset_class: AssetClass, symbol: str) -> str:
        # One writer per symbol at a time, so that two changes at once are recorded in the order they took effect.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"torghut_symbols {asset_class} {symbol}",))
        found = connection.execute(
            "SELECT enabled FROM torghut_symbols WHERE asset_class = %s AND symbol = %s", (asset_class, symbol)
        ).fetchone()
        if found is None:
            return "absent"
        return "enabled" if found[0] else "disabled"


def _record(
    connection: psycopg.Connection[tuple[Any, ...]],
    actor: Actor,
    asset_class: AssetClass,
    symbol: str,
    change: tuple[str, str],
) -> None:
    was, became = change
    if was == became:
        return
    connection.execute(
        "INSERT INTO torghut_symbol_changes (who, address, token_id, asset_class, symbol, was, became)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (actor.who, actor.address, actor.token_id, asset_class, symbol, was, became),
    )


def _iso(value: datetime) -> str:
    return value.isoformat()
