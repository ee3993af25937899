"""Strategies, decisions and the signal cursor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from torghut_core.trading.decision.intents import Intent
from torghut_core.trading.encoding import datetime_ns
from torghut_core.trading.inputs.signals import Cursor
from torghut_core.trading.model import Strategy
from torghut_core.trading.store.database import Database, at, jsonb
from torghut_core.trading.strategies.catalogue import Entry

_SIGNAL_SOURCE = "clickhouse"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A decision's row: whether this call made it, and where it stands."""

    id: UUID
    status: str
    is_new: bool


class DecisionStore:
    """What was decided and why."""

    def __init__(self, database: Database, *, account_label: str) -> None:
        self._database = database
        self._account_label = account_label

    def apply_catalogue(self, entries: Iterable[Entry], *, mode: str, now_ns: int) -> tuple[Strategy, ...]:
        """Write the catalogue's entries and return all strategies; `sync` disables those it does not name."""
        now = at(now_ns)
        with self._database.transaction() as connection:
            names = []
            for entry in entries:
                names.append(entry.name)
                connection.execute(
                    "INSERT INTO strategies (name, description, rule, parameters, enabled, base_timeframe, universe_type,"
                    " universe_symbols, max_position_pct_equity, max_notional_per_trade, created_at, updated_at)"
                    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (name) DO UPDATE SET"
                    " description = EXCLUDED.description, rule = EXCLUDED.rule, parameters = EXCLUDED.parameters,"
                    " enabled = EXCLUDED.enabled, base_timeframe = EXCLUDED.base_timeframe,"
                    " universe_type = EXCLUDED.universe_type, universe_symbols = EXCLUDED.universe_symbols,"
                    " max_position_pct_equity = EXCLUDED.max_position_pct_equity,"
                    " max_notional_per_trade = EXCLUDED.max_notional_per_trade, updated_at = EXCLUDED.updated_at",
                    (
                        entry.name,
                        entry.description,
                        entry.rule,
                        jsonb(dict(entry.parameters)),
                        entry.enabled,
                        entry.base_timeframe,
                        entry.universe_type,
                        jsonb(list(entry.symbols)),
                        entry.max_position_pct_equity,
                        entry.max_notional_per_trade,
                        now,
                        now,
                    ),
                )
            if mode == "sync":
                connection.execute(
                    "UPDATE strategies SET enabled = false, updated_at = %s WHERE enabled AND NOT name = ANY(%s)",
                    (now, names),
                )
            rows = connection.execute("SELECT * FROM strategies ORDER BY name").fetchall()
        return tuple(_strategy(row) for row in rows)

    def record(self, intent: Intent, *, now_ns: int) -> Recorded:
        """Store `intent` as planned, before anything else is done with it; return the row of its key, new or old."""
        now = at(now_ns)
        signal = intent.signal
        decision = {
            "strategy_id": intent.strategy.id,
            "strategy": intent.strategy.name,
            "symbol": intent.symbol,
            "event_ts": at(signal.event_ns),
            "timeframe": signal.timeframe,
            "action": intent.side,
            "qty": None,
            "order_type": "market",
            "time_in_force": "day",
            "limit_price": None,
            "stop_price": None,
            "rationale": intent.rationale,
            "params": {
                "signal": {
                    "seq": signal.seq,
                    "close": signal.close,
                    "macd": signal.macd,
                    "macd_signal": signal.macd_signal,
                    "rsi14": signal.rsi14,
                }
            },
        }
        with self._database.transaction() as connection:
            row = connection.execute(
                "INSERT INTO trade_decisions (strategy_id, alpaca_account_label, symbol, timeframe, signal_ts, side,"
                " decision_hash, decision_json, rationale, created_at, updated_at)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (decision_hash) DO NOTHING"
                " RETURNING id, status",
                (
                    intent.strategy.id,
                    intent.account_label,
                    intent.symbol,
                    signal.timeframe,
                    at(signal.event_ns),
                    intent.side,
                    intent.key,
                    jsonb(decision),
                    intent.rationale,
                    now,
                    now,
                ),
            ).fetchone()
            is_new = row is not None
            if row is None:
                row = connection.execute(
                    "SELECT id, status FROM trade_decisions WHERE decision_hash = %s", (intent.key,)
                ).fetchone()
        assert row is not None, "a decision's hash is unique, so its row exists"
        return Recorded(id=row["id"], status=row["status"], is_new=is_new)

    def annotate(self, decision_id: UUID, facts: dict[str, Any], *, now_ns: int) -> None:
        """Add what was computed (quantity, sizing, price) to a planned decision's JSON."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE trade_decisions SET decision_json = decision_json || %s, updated_at = %s WHERE id = %s",
                (jsonb(facts), at(now_ns), decision_id),
            )

    def reject(
        self, decision_id: UUID, reasons: Sequence[str], *, now_ns: int, facts: dict[str, Any] | None = None
    ) -> None:
        """End a planned decision with the reasons of the gates, joined by `;`. One that went further stays as it is."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE trade_decisions SET status = 'rejected', risk_reasons = %s, updated_at = %s,"
                " decision_json = decision_json || %s WHERE id = %s AND status = 'planned'",
                (";".join(reasons), at(now_ns), jsonb({**(facts or {}), "risk_reasons": list(reasons)}), decision_id),
            )

    def expire_planned(self, *, now_ns: int, after_seconds: float) -> int:
        """End planned decisions older than `after_seconds` that were never claimed; return how many."""
        reason = f"decision_timeout_unsubmitted:{after_seconds:g}s"
        with self._database.transaction() as connection:
            return connection.execute(
                "UPDATE trade_decisions d SET status = 'rejected', risk_reasons = %s, updated_at = %s"
                " WHERE d.status = 'planned' AND d.alpaca_account_label = %s AND d.created_at < %s"
                " AND NOT EXISTS (SELECT FROM order_claims c WHERE c.trade_decision_id = d.id)",
                (reason, at(now_ns), self._account_label, at(now_ns) - timedelta(seconds=after_seconds)),
            ).rowcount

    def last_order_ns(self, strategy_id: str, symbol: str, *, but: UUID) -> int | None:
        """Return when the strategy's last order in `symbol` was handed over, the decision `but` left out."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT max(executed_at) AS at FROM trade_decisions WHERE strategy_id = %s AND symbol = %s"
                " AND alpaca_account_label = %s AND id <> %s",
                (strategy_id, symbol, self._account_label, but),
            ).fetchone()
        return datetime_ns(row["at"]) if row is not None and row["at"] is not None else None

    def cursor(self) -> Cursor:
        """Return how far signals were dealt with; the beginning when never."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT cursor_at, cursor_seq, cursor_symbol FROM trade_cursor"
                " WHERE source = %s AND alpaca_account_label = %s",
                (_SIGNAL_SOURCE, self._account_label),
            ).fetchone()
        if row is None:
            return Cursor()
        ingest_ms = datetime_ns(row["cursor_at"]) // 1_000_000
        return Cursor(ingest_ms=ingest_ms, seq=row["cursor_seq"], symbol=row["cursor_symbol"])

    def save_cursor(self, cursor: Cursor, *, now_ns: int) -> None:
        """Store how far signals were dealt with."""
        cursor_at = datetime.fromtimestamp(cursor.ingest_ms // 1000, UTC).replace(
            microsecond=cursor.ingest_ms % 1000 * 1000
        )
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO trade_cursor (source, alpaca_account_label, cursor_at, cursor_seq, cursor_symbol, created_at,"
                " updated_at) VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (source, alpaca_account_label) DO UPDATE"
                " SET cursor_at = EXCLUDED.cursor_at, cursor_seq = EXCLUDED.cursor_seq,"
                " cursor_symbol = EXCLUDED.cursor_symbol, updated_at = EXCLUDED.updated_at",
                (
                    _SIGNAL_SOURCE,
                    self._account_label,
                    cursor_at,
                    cursor.seq,
                    cursor.symbol,
                    at(now_ns),
                    at(now_ns),
                ),
            )


def _strategy(row: dict[str, Any]) -> Strategy:
    return Strategy(
        id=str(row["id"]),
        name=row["name"],
        rule=row["rule"],
        is_enabled=row["enabled"],
        timeframe=row["base_timeframe"],
        symbols=tuple(row["universe_symbols"]),
        max_notional_per_trade=row["max_notional_per_trade"],
        max_position_pct_equity=row["max_position_pct_equity"],
        parameters=row["parameters"],
    )
