"""Claims and executions: what was handed to the broker, and what became of it.

The one write that is not here is the claim itself: `leadership` makes it on the connection that holds the lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from torghut_core.trading.model import Order, Side
from torghut_core.trading.store.database import Connection, Database, at, jsonb

_TERMINAL = ["filled", "canceled", "expired", "rejected", "replaced"]


@dataclass(frozen=True, kw_only=True)
class OpenClaim:
    """An order whose fate is not known yet."""

    decision_id: UUID
    client_order_id: str
    symbol: str
    side: Side
    qty: Decimal
    reserved_notional: Decimal
    state: str
    epoch: int
    absent_readings: int
    first_absent_at: datetime | None
    claimed_at: datetime


@dataclass(frozen=True, kw_only=True)
class OpenExecution:
    """An order the broker knows and may still change."""

    order_id: str
    symbol: str
    side: Side
    remaining: Decimal
    reserved_notional: Decimal
    """Dollars set aside when it was submitted; 0 for what reduces."""


class OrderStore:
    """Settles claims; each settlement is one transaction over claim, execution and decision."""

    def __init__(self, database: Database, *, account_label: str) -> None:
        self._database = database
        self._account_label = account_label

    def open_claims(self) -> tuple[OpenClaim, ...]:
        """Return this account's claims that are not settled, oldest first."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT trade_decision_id, client_order_id, symbol, side, qty, reserved_notional, state, epoch,"
                " absent_readings, first_absent_at, claimed_at FROM order_claims"
                " WHERE alpaca_account_label = %s AND state IN ('claimed', 'unknown') ORDER BY claimed_at",
                (self._account_label,),
            ).fetchall()
        return tuple(OpenClaim(decision_id=row.pop("trade_decision_id"), **row) for row in rows)

    def given_up(self, *, since_ns: int, limit: int = 20) -> tuple[tuple[str, str], ...]:
        """Return client id and symbol of the newest orders that ended as never arrived since then."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT client_order_id, symbol FROM order_claims WHERE alpaca_account_label = %s"
                " AND state = 'never_arrived' AND settled_at >= %s ORDER BY settled_at DESC LIMIT %s",
                (self._account_label, at(since_ns), limit),
            ).fetchall()
        return tuple((row["client_order_id"], row["symbol"]) for row in rows)

    def open_executions(self) -> tuple[OpenExecution, ...]:
        """Return this account's orders that are not in a terminal state, oldest first."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT e.alpaca_order_id AS order_id, e.symbol, e.side, e.submitted_qty - e.filled_qty AS remaining,"
                " coalesce(c.reserved_notional, 0) AS reserved_notional FROM executions e"
                " LEFT JOIN order_claims c ON c.trade_decision_id = e.trade_decision_id"
                " WHERE e.alpaca_account_label = %s AND e.status <> ALL(%s) ORDER BY e.created_at",
                (self._account_label, _TERMINAL),
            ).fetchall()
        return tuple(OpenExecution(**row) for row in rows)

    def settle_accepted(self, decision_id: UUID, order: Order, *, now_ns: int) -> None:
        """Record that the broker has the order, in whatever state it is."""
        with self._database.transaction() as connection:
            self._settle(connection, decision_id, "accepted", now_ns)
            self._put_execution(connection, decision_id, order, now_ns)

    def settle_rejected(self, decision_id: UUID, reason: str, *, now_ns: int) -> None:
        """Record that the broker said no, or that the order never left this machine."""
        with self._database.transaction() as connection:
            self._settle(connection, decision_id, "rejected", now_ns)
            connection.execute(
                "UPDATE trade_decisions SET status = 'rejected', risk_reasons = %s, updated_at = %s,"
                " decision_json = decision_json || %s WHERE id = %s",
                (reason, at(now_ns), jsonb({"risk_reasons": [reason]}), decision_id),
            )

    def mark_unknown(self, decision_id: UUID, *, now_ns: int) -> None:
        """Record that the broker may or may not have the order: it is asked about from now on, never sent again."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE order_claims SET state = 'unknown' WHERE trade_decision_id = %s AND state = 'claimed'",
                (decision_id,),
            )
            connection.execute(
                "UPDATE trade_decisions SET status = 'unknown', updated_at = %s WHERE id = %s AND status = 'submitting'",
                (at(now_ns), decision_id),
            )

    def note_absent(self, decision_id: UUID, *, at_ns: int) -> tuple[int, datetime]:
        """Count one answer of the broker that it has no such order; return how many there are, and when the first was."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "UPDATE order_claims SET state = 'unknown', absent_readings = absent_readings + 1,"
                " first_absent_at = coalesce(first_absent_at, %s) WHERE trade_decision_id = %s"
                " RETURNING absent_readings, first_absent_at",
                (at(at_ns), decision_id),
            ).fetchone()
        assert row is not None, "claims are never deleted"
        return row["absent_readings"], row["first_absent_at"]

    def settle_never_arrived(self, decision_id: UUID, *, now_ns: int) -> None:
        """End an order that the broker never had; its reservation ends with the claim."""
        with self._database.transaction() as connection:
            self._settle(connection, decision_id, "never_arrived", now_ns)
            connection.execute(
                "UPDATE trade_decisions SET status = 'never_arrived', risk_reasons = 'never_arrived', updated_at = %s"
                " WHERE id = %s",
                (at(now_ns), decision_id),
            )

    def update_execution(self, order: Order, *, now_ns: int) -> bool:
        """Bring a known order up to date; return whether anything changed."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "UPDATE executions SET status = %s, filled_qty = %s, avg_fill_price = %s, raw_order = %s,"
                " last_update_at = %s, updated_at = %s WHERE alpaca_order_id = %s"
                " AND (status, filled_qty, avg_fill_price) IS DISTINCT FROM (%s, %s::numeric, %s::numeric)"
                " RETURNING trade_decision_id",
                (
                    order.status,
                    order.filled_qty,
                    order.filled_avg_price,
                    jsonb(dict(order.raw)),
                    at(now_ns),
                    at(now_ns),
                    order.id,
                    order.status,
                    order.filled_qty,
                    order.filled_avg_price,
                ),
            ).fetchone()
            if row is None:
                return False
            connection.execute(
                "UPDATE trade_decisions SET status = %s, updated_at = %s WHERE id = %s",
                (_decision_status(order), at(now_ns), row["trade_decision_id"]),
            )
        return True

    def _settle(self, connection: Connection, decision_id: UUID, state: str, now_ns: int) -> None:
        connection.execute(
            "UPDATE order_claims SET state = %s, settled_at = %s WHERE trade_decision_id = %s",
            (state, at(now_ns), decision_id),
        )

    def _put_execution(self, connection: Connection, decision_id: UUID, order: Order, now_ns: int) -> None:
        now = at(now_ns)
        connection.execute(
            "INSERT INTO executions (trade_decision_id, alpaca_account_label, alpaca_order_id, client_order_id, symbol,"
            " side, order_type, time_in_force, submitted_qty, filled_qty, avg_fill_price, status, raw_order,"
            " last_update_at, created_at, updated_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (client_order_id) DO UPDATE SET status = EXCLUDED.status, filled_qty = EXCLUDED.filled_qty,"
            " avg_fill_price = EXCLUDED.avg_fill_price, raw_order = EXCLUDED.raw_order,"
            " last_update_at = EXCLUDED.last_update_at, updated_at = EXCLUDED.updated_at",
            (
                decision_id,
                self._account_label,
                order.id,
                order.client_order_id,
                order.symbol,
                order.side,
                order.type,
                order.time_in_force,
                order.qty,
                order.filled_qty,
                order.filled_avg_price,
                order.status,
                jsonb(dict(order.raw)),
                now,
                now,
                now,
            ),
        )
        connection.execute(
            "UPDATE trade_decisions SET status = %s, updated_at = %s WHERE id = %s",
            (_decision_status(order), now, decision_id),
        )


def _decision_status(order: Order) -> str:
    return order.status if order.is_terminal else "submitted"
