"""Claims, order events and executions: what was handed to the broker, and what became of it.

The one write that is not here is the claim itself: `leadership` makes it on the connection that holds the lock.
Executions are folded from the events; a settled claim is never unsettled, but that an order given up may arrive late.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from torghut_core.rfc3339 import parse_ns
from torghut_core.trading.encoding import datetime_ns, dumps
from torghut_core.trading.model import TERMINAL_ORDER_STATES, Leg, Order, Side
from torghut_core.trading.orders.ledger import Fill, Reading, fills, fold
from torghut_core.trading.store.database import Connection, Database, at, jsonb
from torghut_core.trading.store.money import EVENTS_LOCK

_IS_OPEN = f"status NOT IN ({', '.join(repr(state) for state in sorted(TERMINAL_ORDER_STATES))})"
"""In words of its own: an index over the open ones is used for a condition that it knows, not for a parameter."""
Source = Literal["submit", "poll", "stream", "found", "cancel"]


@dataclass(frozen=True, kw_only=True)
class OpenClaim:
    """An order whose fate is not known yet."""

    decision_id: UUID
    client_order_id: str
    symbol: str
    side: Side
    leg: Leg
    qty: Decimal
    price: Decimal | None
    strategy_id: UUID | None
    reserved_notional: Decimal
    state: str
    epoch: int
    absent_readings: int
    claimed_at: datetime


@dataclass(frozen=True, kw_only=True)
class OpenExecution:
    """An order the broker knows and may still change."""

    decision_id: UUID | None
    order_id: str
    client_order_id: str
    symbol: str
    side: Side
    qty: Decimal
    filled_qty: Decimal
    """As far as it was heard of."""
    strategy_id: UUID | None
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class GivenUp:
    """An order that ended as never arrived."""

    decision_id: UUID
    client_order_id: str
    symbol: str


class OrderStore:
    """Settles claims and keeps events; each settlement is one transaction over claim, events, execution and decision."""

    def __init__(self, database: Database, *, account_label: str) -> None:
        self._database = database
        self._account_label = account_label

    def open_claims(self) -> tuple[OpenClaim, ...]:
        """Return this account's claims that are not settled, oldest first."""
        with self._database.statement() as connection:
            rows = connection.execute(
                "SELECT trade_decision_id AS decision_id, client_order_id, symbol, side, leg, qty, price, strategy_id,"
                " reserved_notional, state, epoch, absent_readings, claimed_at FROM order_claims"
                " WHERE alpaca_account_label = %s AND state IN ('claimed', 'unknown') ORDER BY claimed_at",
                (self._account_label,),
            ).fetchall()
        return tuple(OpenClaim(**row) for row in rows)

    def given_up(self, *, since_ns: int, limit: int = 20) -> tuple[GivenUp, ...]:
        """Return the newest orders that ended as never arrived since then."""
        with self._database.statement() as connection:
            rows = connection.execute(
                "SELECT trade_decision_id AS decision_id, client_order_id, symbol FROM order_claims"
                " WHERE alpaca_account_label = %s AND state = 'never_arrived' AND settled_at >= %s"
                " ORDER BY settled_at DESC LIMIT %s",
                (self._account_label, at(since_ns), limit),
            ).fetchall()
        return tuple(GivenUp(**row) for row in rows)

    def open_executions(self) -> tuple[OpenExecution, ...]:
        """Return this account's orders that are not in a terminal state and not missing, oldest first."""
        with self._database.statement() as connection:
            rows = connection.execute(
                "SELECT trade_decision_id AS decision_id, alpaca_order_id AS order_id, client_order_id, symbol, side,"  # noqa: S608  a constant of this module
                " submitted_qty AS qty, filled_qty, strategy_id, created_at FROM executions"
                f" WHERE alpaca_account_label = %s AND {_IS_OPEN} AND NOT is_missing ORDER BY created_at",
                (self._account_label,),
            ).fetchall()
        return tuple(OpenExecution(**row) for row in rows)

    def uncertain(self, *, since_ns: int) -> dict[str, int]:
        """Return how many orders never arrived, arrived late, or went missing since then."""
        with self._database.statement() as connection:
            row = connection.execute(
                "SELECT count(*) FILTER (WHERE state = 'never_arrived') AS never_arrived,"
                " count(*) FILTER (WHERE state = 'arrived_late') AS arrived_late,"
                " (SELECT count(*) FROM executions WHERE alpaca_account_label = %(account)s AND is_missing"
                " AND updated_at >= %(since)s) AS missing FROM order_claims"
                " WHERE alpaca_account_label = %(account)s AND state IN ('never_arrived', 'arrived_late')"
                " AND settled_at >= %(since)s",
                {"account": self._account_label, "since": at(since_ns)},
            ).fetchone()
        assert row is not None
        return dict(row)

    def fills(self) -> tuple[Fill, ...]:
        """Return every fill of this account's own orders, in the order of their first event."""
        with self._database.statement() as connection:
            rows = connection.execute(
                "SELECT alpaca_order_id, symbol, side, status, qty, filled_qty, avg_fill_price, broker_updated_at"
                " FROM order_events WHERE alpaca_account_label = %s AND filled_qty > 0 ORDER BY seq",
                (self._account_label,),
            ).fetchall()
        by_order: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            by_order.setdefault(row["alpaca_order_id"], []).append(row)
        return tuple(
            fill
            for events in by_order.values()
            for fill in fills(events[0]["symbol"], events[0]["side"], [_reading(event) for event in events])
        )

    def owner(self, client_order_id: str) -> UUID | None:
        """Return the decision that a client id belongs to, None when this database never claimed it."""
        with self._database.statement() as connection:
            row = connection.execute(
                "SELECT trade_decision_id FROM order_claims WHERE client_order_id = %s", (client_order_id,)
            ).fetchone()
        return None if row is None else row["trade_decision_id"]

    def settle(self, decision_id: UUID, order: Order, *, source: Source, now_ns: int) -> str:
        """Record that the broker has the order, in whatever state it is; return the claim's state.

        A claim that was given up becomes `arrived_late`; any other settled claim stays, and only the event is added.
        """
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT state FROM order_claims WHERE trade_decision_id = %s FOR UPDATE", (decision_id,)
            ).fetchone()
            assert row is not None, "claims are never deleted"
            state = str(row["state"])
            moved = {"claimed": "accepted", "unknown": "accepted", "never_arrived": "arrived_late"}.get(state)
            if moved is not None:
                state = moved
                connection.execute(
                    "UPDATE order_claims SET state = %s, settled_at = %s WHERE trade_decision_id = %s",
                    (state, at(now_ns), decision_id),
                )
            self._hear(connection, order, decision_id, source, now_ns)
        return state

    def settle_rejected(self, decision_id: UUID, reason: str, *, now_ns: int) -> None:
        """Record that the broker said no, or that the order never left this machine, unless more is known already."""
        with self._database.transaction() as connection:
            settled = connection.execute(
                "UPDATE order_claims SET state = 'rejected', settled_at = %s WHERE trade_decision_id = %s"
                " AND state IN ('claimed', 'unknown')",
                (at(now_ns), decision_id),
            )
            if settled.rowcount != 1:
                return
            connection.execute(
                "UPDATE trade_decisions SET status = 'rejected', risk_reasons = %s, updated_at = %s,"
                " decision_json = decision_json || %s WHERE id = %s",
                (reason, at(now_ns), jsonb({"risk_reasons": [reason]}), decision_id),
            )

    def mark_unknown(self, decision_id: UUID, *, now_ns: int) -> None:
        """Record that the broker may or may not have the order: it is asked about from now on, never sent again."""
        with self._database.transaction() as connection:
            self._unknown(connection, decision_id, now_ns)

    def note_absent(self, decision_id: UUID, *, now_ns: int) -> bool:
        """Count one answer of the broker that it has no such order; return whether its fate is still open."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "UPDATE order_claims SET absent_readings = absent_readings + 1, first_absent_at ="
                " coalesce(first_absent_at, %s) WHERE trade_decision_id = %s AND state IN ('claimed', 'unknown')"
                " RETURNING 1",
                (at(now_ns), decision_id),
            ).fetchone()
            if row is None:
                return False
            self._unknown(connection, decision_id, now_ns)
        return True

    def settle_never_arrived(self, decision_id: UUID, *, now_ns: int) -> bool:
        """End an order of unknown fate that the broker never had; return whether it was one."""
        with self._database.transaction() as connection:
            settled = connection.execute(
                "UPDATE order_claims SET state = 'never_arrived', settled_at = %s WHERE trade_decision_id = %s"
                " AND state = 'unknown'",
                (at(now_ns), decision_id),
            )
            if settled.rowcount != 1:
                return False
            connection.execute(
                "UPDATE trade_decisions SET status = 'never_arrived', risk_reasons = 'never_arrived', updated_at = %s"
                " WHERE id = %s",
                (at(now_ns), decision_id),
            )
        return True

    def hear(self, order: Order, *, source: Source, now_ns: int) -> bool:
        """Add what was said of a known order; return whether its state changed. Unknown orders are not kept."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT trade_decision_id FROM executions WHERE alpaca_order_id = %s AND alpaca_account_label = %s",
                (order.id, self._account_label),
            ).fetchone()
            if row is None:
                return False
            return self._hear(connection, order, row["trade_decision_id"], source, now_ns)

    def mark_missing(self, order_id: str, *, now_ns: int) -> None:
        """Record that the broker no longer knows an order: nobody waits for it any more, its last state stays."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "UPDATE executions SET is_missing = true, updated_at = %s WHERE alpaca_order_id = %s"  # noqa: S608  a constant of this module
                f" AND {_IS_OPEN} RETURNING trade_decision_id",
                (at(now_ns), order_id),
            ).fetchone()
            if row is not None:
                connection.execute(
                    "UPDATE trade_decisions SET status = 'order_missing', updated_at = %s WHERE id = %s",
                    (at(now_ns), row["trade_decision_id"]),
                )

    def _unknown(self, connection: Connection, decision_id: UUID, now_ns: int) -> None:
        connection.execute(
            "UPDATE order_claims SET state = 'unknown' WHERE trade_decision_id = %s AND state = 'claimed'",
            (decision_id,),
        )
        connection.execute(
            "UPDATE trade_decisions SET status = 'unknown', updated_at = %s WHERE id = %s AND status = 'submitting'",
            (at(now_ns), decision_id),
        )

    def _hear(
        self, connection: Connection, order: Order, decision_id: UUID | None, source: Source, now_ns: int
    ) -> bool:
        # Two that hear of an order at once fold one after the other; and whoever reads on from an event misses none.
        row = connection.execute(
            f"SELECT {EVENTS_LOCK}, (SELECT strategy_id FROM trade_decisions WHERE id = %(decision)s) AS strategy_id",  # noqa: S608  a constant
            {"account": self._account_label, "decision": decision_id},
        ).fetchone()
        assert row is not None
        strategy_id = row["strategy_id"]
        updated_at = None if order.updated_at is None else at(parse_ns(order.updated_at))
        added = connection.execute(
            "INSERT INTO order_events (alpaca_account_label, trade_decision_id, strategy_id, alpaca_order_id,"
            " client_order_id, symbol, side, source, status, qty, filled_qty, avg_fill_price, broker_updated_at, heard_at,"
            " fingerprint, raw) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (fingerprint) DO NOTHING",
            (
                self._account_label,
                decision_id,
                strategy_id,
                order.id,
                order.client_order_id,
                order.symbol,
                order.side,
                source,
                order.status,
                order.qty,
                order.filled_qty,
                order.filled_avg_price,
                updated_at,
                at(now_ns),
                _fingerprint(self._account_label, order),
                jsonb(dict(order.raw)),
            ),
        )
        if added.rowcount != 1:
            return False
        events = connection.execute(
            "SELECT status, qty, filled_qty, avg_fill_price, broker_updated_at FROM order_events"
            " WHERE alpaca_order_id = %s ORDER BY seq",
            (order.id,),
        ).fetchall()
        state = fold(_reading(event) for event in events)
        self._put_execution(
            connection, order=order, state=state, decision_id=decision_id, strategy_id=strategy_id, now_ns=now_ns
        )
        return True

    def _put_execution(
        self,
        connection: Connection,
        *,
        order: Order,
        state: Reading,
        decision_id: UUID | None,
        strategy_id: UUID | None,
        now_ns: int,
    ) -> None:
        now = at(now_ns)
        connection.execute(
            "INSERT INTO executions (trade_decision_id, strategy_id, alpaca_account_label, alpaca_order_id,"
            " client_order_id, symbol, side, order_type, time_in_force, submitted_qty, filled_qty, avg_fill_price, status,"
            " raw_order, last_update_at, created_at, updated_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (alpaca_order_id) DO UPDATE SET status = EXCLUDED.status, filled_qty = EXCLUDED.filled_qty,"
            " avg_fill_price = EXCLUDED.avg_fill_price, raw_order = EXCLUDED.raw_order, is_missing = false,"
            " last_update_at = EXCLUDED.last_update_at, updated_at = EXCLUDED.updated_at",
            (
                decision_id,
                strategy_id,
                self._account_label,
                order.id,
                order.client_order_id,
                order.symbol,
                order.side,
                order.type,
                order.time_in_force,
                state.qty,
                state.filled_qty,
                state.average_price,
                state.status,
                jsonb(dict(order.raw)),
                now,
                now,
                now,
            ),
        )
        status = state.status if state.status in TERMINAL_ORDER_STATES else "submitted"
        connection.execute(
            "UPDATE trade_decisions SET status = %s, updated_at = %s WHERE id = %s", (status, now, decision_id)
        )


def _reading(row: Mapping[str, Any]) -> Reading:
    updated = row["broker_updated_at"]
    return Reading(
        status=row["status"],
        qty=row["qty"],
        filled_qty=row["filled_qty"],
        average_price=row["avg_fill_price"],
        updated_ns=0 if updated is None else datetime_ns(updated),
    )


def _fingerprint(account_label: str, order: Order) -> str:
    facts = [
        account_label,
        order.id,
        order.status,
        f"{order.filled_qty.normalize():f}",
        None if order.filled_avg_price is None else f"{order.filled_avg_price.normalize():f}",
        order.updated_at,
    ]
    return hashlib.sha256(dumps(facts).encode()).hexdigest()
