"""What the HTTP API shows: decisions and executions, newest first, and counts for promotion."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from torghut_core.trading.store.database import Database

MAX_ROWS = 500


class Listing:
    """Read-only views."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def decisions(self, *, symbol: str | None, since: datetime | None, limit: int) -> list[dict[str, Any]]:
        """Return up to `limit` decisions, newest first; `symbol` is exact, `since` is the earliest creation."""
        with self._database.statement() as connection:
            return connection.execute(
                "SELECT id, strategy_id, symbol, timeframe, status, rationale, risk_reasons, leg, cause, decision_json AS decision,"
                " created_at, executed_at, alpaca_account_label FROM trade_decisions"
                " WHERE (%(symbol)s::text IS NULL OR symbol = %(symbol)s)"
                " AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s)"
                " ORDER BY created_at DESC, id LIMIT %(limit)s",
                {"symbol": symbol, "since": since, "limit": limit},
            ).fetchall()

    def executions(self, *, symbol: str | None, since: datetime | None, limit: int) -> list[dict[str, Any]]:
        """Return up to `limit` executions, newest first; `symbol` is exact, `since` is the earliest creation."""
        with self._database.statement() as connection:
            return connection.execute(
                "SELECT id, trade_decision_id, symbol, side, order_type, time_in_force, submitted_qty, filled_qty,"
                " avg_fill_price, submitted_qty::text AS submitted_qty_text, filled_qty::text AS filled_qty_text,"
                " avg_fill_price::text AS avg_fill_price_text, status, created_at, last_update_at, alpaca_order_id, client_order_id FROM executions"
                " WHERE (%(symbol)s::text IS NULL OR symbol = %(symbol)s)"
                " AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s)"
                " ORDER BY created_at DESC, id LIMIT %(limit)s",
                {"symbol": symbol, "since": since, "limit": limit},
            ).fetchall()

    def orders(self, *, symbol: str | None, since: datetime | None, limit: int) -> list[dict[str, Any]]:
        """Return up to `limit` orders with what was claimed, what is known of them, and their events, newest first."""
        with self._database.statement() as connection:
            return connection.execute(
                "SELECT c.trade_decision_id, c.client_order_id, c.symbol, c.side, c.leg, c.qty, c.qty::text AS qty_text,"
                " c.state, c.epoch, c.absent_readings, c.claimed_at, c.settled_at, e.alpaca_order_id, e.status,"
                " e.filled_qty, e.filled_qty::text AS filled_qty_text, e.avg_fill_price,"
                " e.avg_fill_price::text AS avg_fill_price_text, coalesce(e.is_missing, false) AS is_missing,"
                " coalesce((SELECT jsonb_agg(jsonb_build_object('seq', v.seq, 'source', v.source, 'status', v.status,"
                " 'filled_qty', v.filled_qty::text, 'heard_at', v.heard_at) ORDER BY v.seq) FROM order_events v"
                " WHERE v.alpaca_order_id = e.alpaca_order_id), '[]'::jsonb) AS events"
                " FROM order_claims c LEFT JOIN executions e ON e.client_order_id = c.client_order_id"
                " WHERE (%(symbol)s::text IS NULL OR c.symbol = %(symbol)s)"
                " AND (%(since)s::timestamptz IS NULL OR c.claimed_at >= %(since)s)"
                " ORDER BY c.claimed_at DESC, c.client_order_id LIMIT %(limit)s",
                {"symbol": symbol, "since": since, "limit": limit},
            ).fetchall()

    def counts(self, *, since: datetime, until: datetime) -> dict[str, int]:
        """Return how many decisions and trades (orders with a fill) fall into [since, until)."""
        with self._database.statement() as connection:
            row = connection.execute(
                "SELECT (SELECT count(*) FROM trade_decisions WHERE created_at >= %(since)s AND created_at < %(until)s)"
                " AS decisions, (SELECT count(*) FROM executions WHERE filled_qty > 0 AND created_at >= %(since)s"
                " AND created_at < %(until)s) AS trades",
                {"since": since, "until": until},
            ).fetchone()
        assert row is not None
        return {"decisions": row["decisions"], "trades": row["trades"]}
