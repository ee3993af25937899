"""The symbol universe in PostgreSQL: what is forwarded and traded."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

from torghut_core.engines.postgres import Postgres

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
        self._postgres = postgres
        with postgres.connect(autocommit=True) as connection:
            connection.execute("SELECT pg_advisory_lock(hashtext('torghut_symbols'))")
            connection.execute(_SCHEMA)
            if connection.execute("SELECT 1 FROM torghut_symbols LIMIT 1").fetchone() is None:
                for symbol in first:
                    connection.execute(
                        "INSERT INTO torghut_symbols (symbol) VALUES (%s) ON CONFLICT DO NOTHING", (symbol,)
                    )

    def items(self, asset_class: AssetClass, *, include_disabled: bool) -> list[dict[str, Any]]:
        """Return `{assetClass, enabled, symbol, updatedAt}` per symbol, ordered by symbol."""
        with self._postgres.connect(autocommit=True) as connection:
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
        with self._postgres.connect() as connection:
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
