"""Strategies, decisions and the signal cursor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg import sql

from torghut_core.trading.decision.intents import Intent
from torghut_core.trading.encoding import datetime_ns, dumps
from torghut_core.trading.inputs.signals import Cursor
from torghut_core.trading.model import Side, Strategy
from torghut_core.trading.store.database import Database, DatabaseError, at, jsonb
from torghut_core.trading.store.exits import OpenExit
from torghut_core.trading.strategies.catalogue import Entry

_SIGNAL_SOURCE = "clickhouse"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A decision's row: whether this call made it, and where it stands."""

    id: UUID
    status: str
    is_new: bool


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A strategy's newest entry into a symbol that was filled: the bar it was decided on, and what it set."""

    signal_ns: int
    price: Decimal
    """Average of its fills, dollars a share."""
    stop: Decimal | None
    target: Decimal | None


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A planned decision, the reasons that end it, and what was computed until then."""

    decision_id: UUID
    reasons: tuple[str, ...]
    facts: dict[str, Any]


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
                values = _entry_columns(entry)
                columns = [*values, "created_at", "updated_at"]
                connection.execute(
                    sql.SQL("INSERT INTO strategies ({}) VALUES ({}) ON CONFLICT (name) DO UPDATE SET {}").format(
                        sql.SQL(", ").join(map(sql.Identifier, columns)),
                        sql.SQL(", ").join(sql.Placeholder() * len(columns)),
                        sql.SQL(", ").join(
                            sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(name))
                            for name in columns
                            if name not in ("name", "created_at")
                        ),
                    ),
                    (*values.values(), now, now),
                )
            if mode == "sync":
                connection.execute(
                    "UPDATE strategies SET enabled = false, updated_at = %s WHERE enabled AND NOT name = ANY(%s)",
                    (now, names),
                )
        return self.strategies()

    def strategies(self) -> tuple[Strategy, ...]:
        """Return every strategy, enabled or not."""
        with self._database.statement() as connection:
            rows = connection.execute("SELECT * FROM strategies ORDER BY name").fetchall()
        return tuple(_strategy(row) for row in rows)

    def record(self, intents: Sequence[Intent], *, now_ns: int) -> dict[str, Recorded]:
        """Store every intent as a planned entry, before anything else is done with it; return the rows by key.

        One statement for all; a row that PostgreSQL refuses is left out alone, and missing from the answer. Raises
        EngineUnavailableError.
        """
        distinct = list({intent.key: intent for intent in intents}.values())
        try:
            return self._record(distinct, now_ns)
        except DatabaseError:
            if len(distinct) <= 1:
                return {}
        found: dict[str, Recorded] = {}
        for intent in distinct:
            found |= self.record([intent], now_ns=now_ns)
        return found

    def _record(self, intents: Sequence[Intent], now_ns: int) -> dict[str, Recorded]:
        if not intents:
            return {}
        keys, legacy = [intent.key for intent in intents], [intent.legacy_key for intent in intents]
        with self._database.transaction() as connection:
            new = connection.execute(
                "INSERT INTO trade_decisions (strategy_id, alpaca_account_label, symbol, timeframe, signal_ts, side,"
                " decision_hash, decision_json, rationale, leg, cause, created_at, updated_at)"
                " SELECT i.strategy_id, %(account)s, i.symbol, i.timeframe, i.signal_ts, i.side, i.key, i.decision,"
                " i.rationale, 'entry', 'signal', %(now)s, %(now)s FROM unnest(%(strategies)s::uuid[], %(symbols)s::text[],"
                " %(timeframes)s::text[], %(signals)s::timestamptz[], %(sides)s::text[], %(keys)s::text[],"
                " %(legacy)s::char(64)[], %(decisions)s::jsonb[], %(rationales)s::text[])"
                " AS i(strategy_id, symbol, timeframe, signal_ts, side, key, legacy, decision, rationale)"
                " WHERE (SELECT d.id FROM trade_decisions d WHERE d.decision_hash = i.legacy) IS NULL"
                " ON CONFLICT (decision_hash) DO NOTHING RETURNING id, status, decision_hash",
                {
                    "account": self._account_label,
                    "now": at(now_ns),
                    "strategies": [intent.strategy.id for intent in intents],
                    "symbols": [intent.symbol for intent in intents],
                    "timeframes": [intent.signal.timeframe for intent in intents],
                    "signals": [at(intent.signal.event_ns) for intent in intents],
                    "sides": [intent.side for intent in intents],
                    "keys": keys,
                    "legacy": legacy,
                    "decisions": [dumps(_entry_json(intent)) for intent in intents],
                    "rationales": [intent.rationale for intent in intents],
                },
            ).fetchall()
            rows = {row["decision_hash"]: Recorded(id=row["id"], status=row["status"], is_new=True) for row in new}
            if len(rows) < len(intents):
                old = connection.execute(
                    "SELECT id, status, decision_hash FROM trade_decisions WHERE decision_hash = ANY(%s::char(64)[])",
                    ([*keys, *legacy],),
                ).fetchall()
                known = {
                    row["decision_hash"]: Recorded(id=row["id"], status=row["status"], is_new=False) for row in old
                }
                for key, before in zip(keys, legacy, strict=True):
                    found = rows.get(key) or known.get(key) or known.get(before)
                    if found is not None:
                        rows[key] = found
        return rows

    def record_exit(
        self, key: str, wish: OpenExit, *, side: Side, qty: Decimal, identity: Mapping[str, str], now_ns: int
    ) -> UUID:
        """Store one attempt of an exit as planned, and count it with its exit; return the row's id, new or old."""
        signal_ts = wish.signal_ts or wish.opened_at
        decision = {
            "strategy_id": wish.strategy_id,
            "strategy": identity["name"],
            "identity": dict(identity),
            "symbol": wish.symbol,
            "event_ts": signal_ts,
            "timeframe": wish.timeframe,
            "action": side,
            "leg": "exit",
            "cause": wish.cause,
            "attempt": wish.attempts + 1,
            "qty": str(qty),
            "order_type": "market",
            "time_in_force": "day",
            "limit_price": None,
            "stop_price": None,
            "rationale": wish.rationale,
            "params": {"holding": wish.holding_number},
        }
        with self._database.transaction() as connection:
            row = connection.execute(
                "INSERT INTO trade_decisions (strategy_id, alpaca_account_label, symbol, timeframe, signal_ts, side,"
                " decision_hash, decision_json, rationale, leg, cause, created_at, updated_at)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, 'exit', %s, %s, %s)"
                " ON CONFLICT (decision_hash) DO UPDATE SET updated_at = EXCLUDED.updated_at RETURNING id",
                (
                    wish.strategy_id,
                    self._account_label,
                    wish.symbol,
                    wish.timeframe,
                    signal_ts,
                    side,
                    key,
                    jsonb(decision),
                    wish.rationale,
                    wish.cause,
                    at(now_ns),
                    at(now_ns),
                ),
            ).fetchone()
            assert row is not None
            connection.execute(
                "UPDATE trading_exits SET attempts = attempts + 1, last_decision_id = %s WHERE id = %s AND attempts = %s",
                (row["id"], wish.id, wish.attempts),
            )
        return UUID(str(row["id"]))

    def annotate(self, decision_id: UUID, facts: dict[str, Any], *, now_ns: int) -> None:
        """Add what was computed (quantity, sizing, price) to a planned decision's JSON."""
        with self._database.statement() as connection:
            connection.execute(
                "UPDATE trade_decisions SET decision_json = decision_json || %s, updated_at = %s WHERE id = %s",
                (jsonb(facts), at(now_ns), decision_id),
            )

    def reject(self, refused: Sequence[Refused], *, now_ns: int) -> None:
        """End planned decisions with the reasons of the gates, joined by `;`. One that went further stays as it is."""
        if not refused:
            return
        with self._database.statement() as connection:
            connection.execute(
                "UPDATE trade_decisions d SET status = 'rejected', risk_reasons = r.reasons, updated_at = %s,"
                " decision_json = d.decision_json || r.facts FROM unnest(%s::uuid[], %s::text[], %s::jsonb[])"
                " AS r(id, reasons, facts) WHERE d.id = r.id AND d.status = 'planned'",
                (
                    at(now_ns),
                    [item.decision_id for item in refused],
                    [";".join(item.reasons) for item in refused],
                    [dumps({**item.facts, "risk_reasons": list(item.reasons)}) for item in refused],
                ),
            )

    def expire_planned(self, *, now_ns: int, after_seconds: float) -> int:
        """End planned decisions older than `after_seconds` that were never claimed; return how many."""
        reason = f"decision_timeout_unsubmitted:{after_seconds:g}s"
        with self._database.statement() as connection:
            return connection.execute(
                "UPDATE trade_decisions d SET status = 'rejected', risk_reasons = %s, updated_at = %s"
                " WHERE d.status = 'planned' AND d.alpaca_account_label = %s AND d.created_at < %s"
                " AND NOT EXISTS (SELECT FROM order_claims c WHERE c.trade_decision_id = d.id)",
                (reason, at(now_ns), self._account_label, at(now_ns) - timedelta(seconds=after_seconds)),
            ).rowcount

    def last_order_ns(self, strategy_id: str, symbol: str, *, but: UUID) -> int | None:
        """Return when the strategy's last order in `symbol` was handed over, the decision `but` left out."""
        with self._database.statement() as connection:
            row = connection.execute(
                "SELECT max(executed_at) AS at FROM trade_decisions WHERE strategy_id = %s AND symbol = %s"
                " AND alpaca_account_label = %s AND id <> %s",
                (strategy_id, symbol, self._account_label, but),
            ).fetchone()
        return datetime_ns(row["at"]) if row is not None and row["at"] is not None else None

    def opened(self, symbols: Sequence[str]) -> Mapping[tuple[str, str], Opened]:
        """Return the newest filled entry into each of the symbols by (strategy id, symbol)."""
        with self._database.statement() as connection:
            rows = connection.execute(
                "SELECT DISTINCT ON (d.strategy_id, d.symbol) d.strategy_id, d.symbol, d.signal_ts, e.avg_fill_price,"
                " d.decision_json #>> '{proposal,stop}' AS stop, d.decision_json #>> '{proposal,target}' AS target"
                " FROM executions e JOIN trade_decisions d ON d.id = e.trade_decision_id"
                " WHERE e.alpaca_account_label = %s AND e.symbol = ANY(%s) AND e.filled_qty > 0"
                " AND e.avg_fill_price IS NOT NULL AND d.leg = 'entry'"
                " ORDER BY d.strategy_id, d.symbol, d.signal_ts DESC",
                (self._account_label, list(symbols)),
            ).fetchall()
        return {
            (str(row["strategy_id"]), row["symbol"]): Opened(
                signal_ns=datetime_ns(row["signal_ts"]),
                price=row["avg_fill_price"],
                stop=None if row["stop"] is None else Decimal(row["stop"]),
                target=None if row["target"] is None else Decimal(row["target"]),
            )
            for row in rows
        }

    def cursor(self) -> Cursor:
        """Return how far signals were dealt with; the beginning when never."""
        with self._database.statement() as connection:
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
        with self._database.statement() as connection:
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


def _entry_columns(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "description": entry.description,
        "rule": entry.rule,
        "parameters": jsonb(dict(entry.parameters)),
        "enabled": entry.enabled,
        "base_timeframe": entry.base_timeframe,
        "universe_type": entry.universe_type,
        "universe_symbols": jsonb(list(entry.symbols)),
        "max_position_pct_equity": entry.max_position_pct_equity,
        "max_notional_per_trade": entry.max_notional_per_trade,
        "max_notional_total": entry.max_notional_total,
        "order_type": entry.order_type,
        "price_offset_bps": entry.price_offset_bps,
        "stop_loss_pct": entry.stop_loss_pct,
        "take_profit_pct": entry.take_profit_pct,
        "trailing_stop_pct": entry.trailing_stop_pct,
    }


def _entry_json(intent: Intent) -> dict[str, Any]:
    signal = intent.signal
    return {
        "strategy_id": intent.strategy.id,
        "strategy": intent.strategy.name,
        "identity": intent.strategy.identity,
        "symbol": intent.symbol,
        "event_ts": at(signal.event_ns),
        "timeframe": signal.timeframe,
        "action": intent.side,
        "leg": "entry",
        "qty": None,
        "order_type": intent.strategy.order_type,
        "time_in_force": "day",
        "limit_price": None,
        "stop_price": None,
        "rationale": intent.rationale,
        "proposal": {
            name: None if value is None else f"{value:f}"
            for name, value in (
                ("qty", intent.qty),
                ("budget", intent.budget),
                ("limit", intent.limit),
                ("stop", intent.stop),
                ("target", intent.target),
            )
        },
        "params": {
            "signal": {
                "seq": signal.seq,
                "close": signal.close,
                "macd": signal.macd,
                "macd_signal": signal.macd_signal,
                "rsi14": signal.rsi14,
                "bid": signal.bid,
                "ask": signal.ask,
            }
        },
    }


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
        max_notional_total=row["max_notional_total"],
        order_type=row["order_type"],
        price_offset_bps=row["price_offset_bps"],
        stop_loss_pct=row["stop_loss_pct"],
        take_profit_pct=row["take_profit_pct"],
        trailing_stop_pct=row["trailing_stop_pct"],
        parameters=row["parameters"],
    )
