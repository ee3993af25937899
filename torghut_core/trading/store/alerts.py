"""Alerts, and which of them the webhook has taken."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from torghut_core.trading.store.database import Database, at, jsonb


class AlertStore:
    """Writes alerts once for what they are about."""

    def __init__(self, database: Database, *, account_label: str) -> None:
        self._database = database
        self._account_label = account_label

    def add(self, name: str, dedup_key: str, text: str, *, now_ns: int) -> None:
        """Store an alert unless the same was stored before."""
        with self._database.statement() as connection:
            connection.execute(
                "INSERT INTO trading_alerts (alpaca_account_label, name, dedup_key, body, at)"
                " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (self._account_label, name, dedup_key, jsonb({"text": text}), at(now_ns)),
            )

    def undelivered(self, *, limit: int = 50) -> list[dict[str, Any]]:
        """Return the oldest alerts that the webhook has not taken."""
        with self._database.statement() as connection:
            rows = connection.execute(
                "SELECT id, name, body->>'text' AS text, alpaca_account_label AS account, at FROM trading_alerts"
                " WHERE alpaca_account_label = %s AND delivered_at IS NULL ORDER BY at, id LIMIT %s",
                (self._account_label, limit),
            ).fetchall()
        return [dict(row) for row in rows]

    def delivered(self, alert_id: UUID, *, now_ns: int) -> None:
        """Record that the webhook took an alert."""
        with self._database.statement() as connection:
            connection.execute("UPDATE trading_alerts SET delivered_at = %s WHERE id = %s", (at(now_ns), alert_id))
