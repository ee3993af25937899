"""What became of each intent, read from the store: the same words for a backtest and for a live run.

Ids are left out: strategies go by name, orders by the intent's own key.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from torghut_core.rfc3339 import format_ns
from torghut_core.trading.encoding import datetime_ns
from torghut_core.trading.store.database import Database


@dataclass(frozen=True, kw_only=True)
class OutcomeFill:
    """Shares that an order got, in one or several prints between two readings of it."""

    at_ns: int
    """The exchange's own time."""
    qty: Decimal
    price: Decimal


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One decision and what came of it."""

    key: str
    strategy: str
    symbol: str
    timeframe: str
    leg: str
    cause: str
    side: str
    signal_ns: int
    decided_ns: int
    status: str
    reasons: tuple[str, ...]
    rationale: str | None
    facts: dict[str, Any]
    """The decision's own JSON."""
    order_status: str | None
    qty: Decimal | None
    fills: tuple[OutcomeFill, ...]

    @property
    def filled_qty(self) -> Decimal:
        return sum((fill.qty for fill in self.fills), Decimal(0))

    def fields(self) -> dict[str, Any]:
        """Return the outcome as a JSON object; the same for the same intent and outcome, whatever the ids."""
        return {
            "key": self.key,
            "strategy": self.strategy,
            "symbol": self.symbol,
            "timeframe": self.timeframe,
            "leg": self.leg,
            "cause": self.cause,
            "side": self.side,
            "signalTs": format_ns(self.signal_ns),
            "decidedAt": format_ns(self.decided_ns),
            "status": self.status,
            "reasons": list(self.reasons),
            "rationale": self.rationale,
            "orderStatus": self.order_status,
            "qty": None if self.qty is None else _plain(self.qty),
            "fills": [
                {"at": format_ns(fill.at_ns), "qty": _plain(fill.qty), "price": _plain(fill.price)}
                for fill in self.fills
            ],
            "facts": {key: value for key, value in self.facts.items() if key not in _TOLD},
        }


_TOLD = frozenset(
    [
        "strategy_id",
        "strategy",
        "symbol",
        "timeframe",
        "action",
        "leg",
        "cause",
        "event_ts",
        "rationale",
        "risk_reasons",
    ]
)


def read_outcomes(database: Database) -> tuple[Outcome, ...]:
    """Return every decision by signal time, then the time it was made, symbol, strategy and key."""
    with database.transaction() as connection:
        decisions = connection.execute(
            "SELECT d.id, d.decision_hash, s.name, d.symbol, d.timeframe, d.leg, d.cause, d.side, d.signal_ts,"
            " d.created_at, d.status, d.risk_reasons, d.rationale, d.decision_json, e.status AS order_status,"
            " e.submitted_qty FROM trade_decisions d JOIN strategies s ON s.id = d.strategy_id"
            " LEFT JOIN executions e ON e.trade_decision_id = d.id"
            " ORDER BY d.signal_ts, d.created_at, d.symbol, s.name, d.leg, d.decision_hash"
        ).fetchall()
        events = connection.execute(
            "SELECT trade_decision_id, filled_qty, avg_fill_price, broker_updated_at, heard_at FROM order_events"
            " WHERE filled_qty > 0 AND avg_fill_price IS NOT NULL ORDER BY broker_updated_at, filled_qty"
        ).fetchall()
    fills: dict[Any, list[OutcomeFill]] = {}
    done: dict[Any, tuple[Decimal, Decimal]] = {}
    for event in events:
        key = event["trade_decision_id"]
        before, paid = done.get(key, (Decimal(0), Decimal(0)))
        if event["filled_qty"] <= before:
            continue
        qty, value = event["filled_qty"] - before, event["filled_qty"] * event["avg_fill_price"]
        at: datetime = event["broker_updated_at"] or event["heard_at"]
        fills.setdefault(key, []).append(
            OutcomeFill(at_ns=datetime_ns(at), qty=qty, price=round((value - paid) / qty, 8))
        )
        done[key] = (event["filled_qty"], value)
    return tuple(_outcome(row, tuple(fills.get(row["id"], ()))) for row in decisions)


def _outcome(row: dict[str, Any], fills: tuple[OutcomeFill, ...]) -> Outcome:
    return Outcome(
        key=row["decision_hash"],
        strategy=row["name"],
        symbol=row["symbol"],
        timeframe=row["timeframe"],
        leg=row["leg"],
        cause=row["cause"],
        side=row["side"],
        signal_ns=datetime_ns(row["signal_ts"]),
        decided_ns=datetime_ns(row["created_at"]),
        status=row["status"],
        reasons=tuple((row["risk_reasons"] or "").split(";")) if row["risk_reasons"] else (),
        rationale=row["rationale"],
        facts=row["decision_json"],
        order_status=row["order_status"],
        qty=row["submitted_qty"],
        fills=fills,
    )


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"
