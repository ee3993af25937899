"""The money as stored: order events and corrections in the order they were written, and the fold over them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from torghut_core.trading.encoding import datetime_ns
from torghut_core.trading.money.account import Account, Key
from torghut_core.trading.money.attribution import Settled
from torghut_core.trading.money.events import Correction, Event, Trade
from torghut_core.trading.money.fees import FeeRates
from torghut_core.trading.money.tape import Tape
from torghut_core.trading.orders.ledger import Lot
from torghut_core.trading.store.database import Connection, Database, at

_EVENTS = """
SELECT * FROM (
    SELECT e.seq AS position, 0 AS tier, e.seq AS id, coalesce(e.broker_updated_at, e.heard_at) AS at,
        e.strategy_id::text AS strategy, e.symbol, e.side, coalesce(d.leg, 'entry') AS leg,
        e.alpaca_order_id AS order_id, e.filled_qty, e.avg_fill_price, NULL AS kind, NULL::numeric AS qty
    FROM order_events e LEFT JOIN trade_decisions d ON d.id = e.trade_decision_id
    WHERE e.alpaca_account_label = %(account)s AND e.seq > %(seq)s AND e.filled_qty > 0
    UNION ALL
    SELECT c.after_seq, 1, c.id, c.at, c.strategy_id::text, c.symbol, NULL, NULL, NULL, NULL, NULL, c.kind, c.qty
    FROM ownership_corrections c WHERE c.alpaca_account_label = %(account)s AND c.id > %(correction)s
) AS heard ORDER BY position, tier, id
"""


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Each strategy's position in each symbol, and the place of the newest own event of each symbol."""

    lots: Mapping[Key, Lot]
    owned: Mapping[Key, Decimal]
    newest: Mapping[str, int]
    opened_ns: Mapping[Key, int] = field(default_factory=dict)
    """When each open position began."""
    realised: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    """Dollars since the first event."""


class MoneyStore:
    """Folds an account's events; what was folded once is not read again."""

    def __init__(self, database: Database, *, account_label: str, rates: FeeRates | None = None) -> None:
        self._database = database
        self._account_label = account_label
        self._lock = threading.Lock()
        self._reader = _Reader()
        self._account = Account(rates=rates or FeeRates())
        self._shares: Shares | None = None

    def shares(self) -> Shares:
        """Return positions by strategy as of now: the same object while nothing was heard. Raises EngineUnavailableError."""
        with self._lock:
            with self._database.statement() as connection:
                rows = self._rows(connection, self._reader)
            for event in self._reader.read(rows):
                self._account.take(event)
            if self._shares is not None and not rows:
                return self._shares
            account = self._account
            self._shares = Shares(
                lots=dict(account.lots),
                owned=dict(account.owned),
                newest=dict(self._reader.newest),
                opened_ns=dict(account.opened_ns),
                realised=account.realised,
                fees=account.fees.total,
            )
            return self._shares

    def owned(self) -> Mapping[Key, Decimal]:
        """Return each strategy's signed shares by (strategy id, symbol). Raises EngineUnavailableError."""
        return self.shares().owned

    def events(self) -> tuple[Event, ...]:
        """Return every trade and correction, in the order they were heard. Raises EngineUnavailableError."""
        reader = _Reader()
        with self._database.statement() as connection:
            rows = self._rows(connection, reader)
        return tuple(reader.read(rows))

    def names(self) -> dict[str, str]:
        """Return the strategies' names by id."""
        with self._database.statement() as connection:
            rows = connection.execute("SELECT id::text AS id, name FROM strategies").fetchall()
        return {row["id"]: row["name"] for row in rows}

    def order_ids(self) -> frozenset[str]:
        """Return the broker's ids of all own orders, filled or not."""
        with self._database.statement() as connection:
            rows = connection.execute(
                "SELECT alpaca_order_id FROM executions WHERE alpaca_account_label = %s", (self._account_label,)
            ).fetchall()
        return frozenset(row["alpaca_order_id"] for row in rows)

    def settled(self) -> dict[str, Settled]:
        """Return what was held of each symbol when last nothing was on its way."""
        with self._database.statement() as connection:
            rows = connection.execute(
                "SELECT symbol, qty, entry_price, after_seq FROM position_readings WHERE alpaca_account_label = %s",
                (self._account_label,),
            ).fetchall()
        return {
            row["symbol"]: Settled(qty=row["qty"], entry_price=row["entry_price"], after=row["after_seq"])
            for row in rows
        }

    def settle(self, symbol: str, reading: Settled, found: Iterable[Correction], *, now_ns: int) -> bool:
        """Record a settled reading and the corrections it asks for; return whether it was.

        Nothing is recorded when an event of the symbol was heard since: the reading may be older than it.
        """
        with self._database.transaction() as connection:
            lock_events(connection, self._account_label)
            row = connection.execute(
                "SELECT coalesce((SELECT max(seq) FROM order_events WHERE alpaca_account_label = %(account)s), 0) AS newest,"
                " EXISTS (SELECT FROM order_events WHERE alpaca_account_label = %(account)s AND symbol = %(symbol)s"
                " AND filled_qty > 0 AND seq > %(after)s) AS is_older",
                {"account": self._account_label, "symbol": symbol, "after": reading.after},
            ).fetchone()
            assert row is not None
            if row["is_older"]:
                return False
            for correction in found:
                connection.execute(
                    "INSERT INTO ownership_corrections (alpaca_account_label, after_seq, strategy_id, symbol, kind, qty,"
                    " at) VALUES (%s, %s, %s, %s, %s, %s, %s)",
                    (
                        self._account_label,
                        row["newest"],
                        correction.strategy,
                        symbol,
                        correction.kind,
                        correction.qty,
                        at(correction.at_ns),
                    ),
                )
            connection.execute(
                "INSERT INTO position_readings (alpaca_account_label, symbol, qty, entry_price, after_seq, at)"
                " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (alpaca_account_label, symbol) DO UPDATE SET"
                " qty = EXCLUDED.qty, entry_price = EXCLUDED.entry_price, after_seq = EXCLUDED.after_seq,"
                " at = EXCLUDED.at",
                (self._account_label, symbol, reading.qty, reading.entry_price, reading.after, at(now_ns)),
            )
        return True

    def _rows(self, connection: Connection, reader: _Reader) -> list[dict[str, Any]]:
        return connection.execute(
            _EVENTS, {"account": self._account_label, "seq": reader.seq, "correction": reader.correction}
        ).fetchall()


EVENTS_LOCK = "pg_advisory_xact_lock(hashtextextended('torghut:events:' || %(account)s, 0))"


def lock_events(connection: Connection, account_label: str) -> None:
    """Let one writer at a time add events of an account: the order of their numbers is that in which they are seen."""
    connection.execute(f"SELECT {EVENTS_LOCK}", {"account": account_label})


class _Reader:
    """Makes events of rows, and knows how far it read."""

    def __init__(self) -> None:
        self.seq = 0
        self.correction = 0
        self.newest: dict[str, int] = {}
        self._tape = Tape()

    def read(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Event]:
        for row in rows:
            event = self._correction(row) if row["kind"] is not None else self._trade(row)
            if event is not None:
                yield event

    def _correction(self, row: Mapping[str, Any]) -> Correction:
        self.correction = max(self.correction, row["id"])
        return Correction(
            at_ns=datetime_ns(row["at"]),
            strategy=row["strategy"],
            symbol=row["symbol"],
            kind=row["kind"],
            qty=row["qty"],
        )

    def _trade(self, row: Mapping[str, Any]) -> Trade | None:
        self.seq = max(self.seq, row["id"])
        self.newest[row["symbol"]] = row["id"]
        return self._tape.hear(
            at_ns=datetime_ns(row["at"]),
            order_id=row["order_id"],
            strategy=row["strategy"],
            symbol=row["symbol"],
            side=row["side"],
            leg=row["leg"],
            filled_qty=row["filled_qty"],
            average_price=row["avg_fill_price"],
        )
