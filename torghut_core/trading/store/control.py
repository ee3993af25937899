"""Stops, revisions, switches, loss latches and the bound account: what a person or a deployment decided.

Every claim reads them in its own transaction, on the connection that holds the lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from torghut_core.trading.decision.losses import EquityMarks, Limit
from torghut_core.trading.encoding import datetime_ns
from torghut_core.trading.risk.context import Control
from torghut_core.trading.store.database import Connection, Database, at

STANDING_STOP = "SELECT recorded FROM trading_stops WHERE alpaca_account_label = %(account)s AND lifted_at IS NULL"
KILL_SWITCH = (
    "SELECT coalesce((SELECT is_on FROM trading_switches WHERE alpaca_account_label = %(account)s"
    " AND name = 'kill_switch' ORDER BY seq DESC LIMIT 1), false)"
)
STANDING_LATCH = "SELECT 1 FROM trading_loss_latches WHERE alpaca_account_label = %(account)s AND resumed_at IS NULL"
LATE_ORDER = (
    "SELECT 1 FROM order_claims c LEFT JOIN executions e ON e.client_order_id = c.client_order_id"
    " WHERE c.alpaca_account_label = %(account)s AND c.state = 'arrived_late'"
    " AND (e.status IS NULL OR e.status NOT IN ('filled', 'canceled', 'expired', 'rejected', 'replaced'))"
)
_CONTROL = f"""
SELECT ({KILL_SWITCH}) AS is_killed, stop.recorded IS NOT NULL AS is_stopped, stop.since AS stopped_since,
       stop.recorded_by AS stopped_by, latch.loss_limit, latch.since AS loss_since, EXISTS ({LATE_ORDER}) AS has_late_order
FROM (SELECT 1) AS one
LEFT JOIN LATERAL (SELECT recorded, since, recorded_by FROM trading_stops
                   WHERE alpaca_account_label = %(account)s AND lifted_at IS NULL ORDER BY recorded LIMIT 1) stop ON true
LEFT JOIN LATERAL (SELECT loss_limit, since FROM trading_loss_latches
                   WHERE alpaca_account_label = %(account)s AND resumed_at IS NULL LIMIT 1) latch ON true
"""  # noqa: S608  constants of this module


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The account a database belongs to."""

    account_label: str
    account_number: str


@dataclass(frozen=True, kw_only=True)
class Latch:
    """A loss limit that was reached and holds back what opens: at which equity, and the mark it was measured against."""

    limit: Limit
    equity: Decimal
    mark: Decimal
    since_ns: int


class ControlStore:
    """Reads and writes what may not be done."""

    def __init__(self, database: Database, *, account_label: str) -> None:
        self._database = database
        self._account_label = account_label

    def read(self) -> Control:
        """Return what holds now. Raises EngineUnavailableError: what cannot be read permits nothing."""
        with self._database.statement() as connection:
            row = connection.execute(_CONTROL, {"account": self._account_label}).fetchone()
        assert row is not None
        return Control(
            is_killed=row["is_killed"],
            is_stopped=row["is_stopped"],
            stopped_since_ns=_ns(row["stopped_since"]),
            stopped_by=row["stopped_by"],
            loss_limit=row["loss_limit"],
            loss_since_ns=_ns(row["loss_since"]),
            has_late_order=row["has_late_order"],
        )

    def register(self, revision: str | None, *, now_ns: int, stop: str | None) -> None:
        """Record this process's revision and, with `stop` (why), a stop of the account; in one transaction.

        A stop that stands already stays the one it is when the same revision recorded it.
        """
        with self._database.transaction() as connection:
            self._serialise(connection)
            by = revision or "unnamed"
            # The revision first: one that records a stop was seen before it, and cannot lift it itself.
            if revision is not None:
                connection.execute(
                    "INSERT INTO trading_revisions (alpaca_account_label, revision, first_seen_at) VALUES (%s, %s, %s)"
                    " ON CONFLICT DO NOTHING",
                    (self._account_label, revision, at(now_ns)),
                )
            if stop is not None:
                connection.execute(
                    "INSERT INTO trading_stops (alpaca_account_label, since, recorded_by, why) SELECT %(account)s::text,"
                    " %(now)s::timestamptz, %(by)s::text, %(why)s::text WHERE NOT EXISTS (SELECT FROM trading_stops s WHERE s.alpaca_account_label = %(account)s::text"
                    " AND s.lifted_at IS NULL AND s.recorded_by = %(by)s::text AND NOT EXISTS (SELECT FROM trading_revisions r"
                    " WHERE r.alpaca_account_label = %(account)s::text AND r.first_seen > s.recorded))",
                    {"account": self._account_label, "now": at(now_ns), "by": by, "why": stop},
                )

    def lift(self, revision: str, *, now_ns: int, epoch: int, lock_name: str) -> bool:
        """End the stops that are older than this revision; return whether any was.

        Nothing is lifted by a process whose epoch is not the newest: it leads no more.
        """
        with self._database.transaction() as connection:
            self._serialise(connection)
            lifted = connection.execute(
                "UPDATE trading_stops SET lifted_at = %(now)s::timestamptz, lifted_by = %(revision)s::text"
                " WHERE alpaca_account_label = %(account)s::text AND lifted_at IS NULL AND recorded < (SELECT first_seen"
                " FROM trading_revisions WHERE alpaca_account_label = %(account)s::text AND revision = %(revision)s::text)"
                " AND (SELECT epoch FROM trading_leadership WHERE lock_name = %(lock)s) = %(epoch)s",
                {
                    "account": self._account_label,
                    "now": at(now_ns),
                    "revision": revision,
                    "lock": lock_name,
                    "epoch": epoch,
                },
            )
        return lifted.rowcount > 0

    def bind(self, number: str, *, now_ns: int) -> Bound:
        """Bind the database to the broker account unless it is bound; return what it is bound to."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO trading_account (alpaca_account_label, account_number, bound_at) VALUES (%s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                (self._account_label, number, at(now_ns)),
            )
            row = connection.execute("SELECT alpaca_account_label, account_number FROM trading_account").fetchone()
        assert row is not None
        return Bound(account_label=row["alpaca_account_label"], account_number=row["account_number"])

    def bound(self) -> Bound | None:
        """Return the account the database is bound to, None when it is not yet."""
        with self._database.statement() as connection:
            row = connection.execute("SELECT alpaca_account_label, account_number FROM trading_account").fetchone()
        if row is None:
            return None
        return Bound(account_label=row["alpaca_account_label"], account_number=row["account_number"])

    def switch_kill(self, *, is_on: bool, now_ns: int, actor: str, reason: str) -> None:
        """Turn the database's kill switch."""
        with self._database.transaction() as connection:
            self._serialise(connection)
            connection.execute(
                "INSERT INTO trading_switches (alpaca_account_label, name, is_on, at, actor, reason)"
                " VALUES (%s, 'kill_switch', %s, %s, %s, %s)",
                (self._account_label, is_on, at(now_ns), actor, reason),
            )

    def marks(self) -> EquityMarks | None:
        """Return what equity is measured against, None before the first reading."""
        with self._database.statement() as connection:
            row = connection.execute(
                "SELECT day, day_equity, peak_equity FROM trading_equity_marks WHERE alpaca_account_label = %s",
                (self._account_label,),
            ).fetchone()
        return None if row is None else EquityMarks(**row)

    def save_marks(self, marks: EquityMarks) -> None:
        """Store what equity is measured against."""
        with self._database.statement() as connection:
            connection.execute(
                "INSERT INTO trading_equity_marks (alpaca_account_label, day, day_equity, peak_equity)"
                " VALUES (%s, %s, %s, %s) ON CONFLICT (alpaca_account_label) DO UPDATE SET day = EXCLUDED.day,"
                " day_equity = EXCLUDED.day_equity, peak_equity = EXCLUDED.peak_equity",
                (self._account_label, marks.day, marks.day_equity, marks.peak_equity),
            )

    def latch(self, limit: Limit, *, equity: Decimal, mark: Decimal, now_ns: int) -> bool:
        """Record that a loss limit was reached; return whether it was not latched before."""
        with self._database.transaction() as connection:
            self._serialise(connection)
            return (
                connection.execute(
                    "INSERT INTO trading_loss_latches (alpaca_account_label, loss_limit, equity, mark, since)"
                    " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                    (self._account_label, limit, equity, mark, at(now_ns)),
                ).rowcount
                == 1
            )

    def latched(self) -> Latch | None:
        """Return the latch that stands, None when there is none."""
        with self._database.statement() as connection:
            row = connection.execute(
                "SELECT loss_limit, equity, mark, since FROM trading_loss_latches"
                " WHERE alpaca_account_label = %s AND resumed_at IS NULL",
                (self._account_label,),
            ).fetchone()
        if row is None:
            return None
        return Latch(
            limit=row["loss_limit"], equity=row["equity"], mark=row["mark"], since_ns=datetime_ns(row["since"])
        )

    def resume_losses(self, *, now_ns: int, actor: str, reason: str) -> bool:
        """Lift the latch and measure anew from the next reading; return whether there was one."""
        with self._database.transaction() as connection:
            self._serialise(connection)
            lifted = connection.execute(
                "UPDATE trading_loss_latches SET resumed_at = %s, resumed_by = %s, reason = %s"
                " WHERE alpaca_account_label = %s AND resumed_at IS NULL",
                (at(now_ns), actor, reason, self._account_label),
            )
            connection.execute(
                "DELETE FROM trading_equity_marks WHERE alpaca_account_label = %s", (self._account_label,)
            )
        return lifted.rowcount > 0

    def put_status(self, body: dict[str, Any], *, epoch: int, beats: int, now_ns: int) -> None:
        """Store what the trading process says of itself, unless a later leader did."""
        from torghut_core.trading.store.database import jsonb

        with self._database.statement() as connection:
            connection.execute(
                "INSERT INTO trading_status (alpaca_account_label, epoch, beats, body, at) VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT (alpaca_account_label) DO UPDATE SET epoch = EXCLUDED.epoch, beats = EXCLUDED.beats,"
                " body = EXCLUDED.body, at = EXCLUDED.at WHERE trading_status.epoch <= EXCLUDED.epoch",
                (self._account_label, epoch, beats, jsonb(body), at(now_ns)),
            )

    def status(self) -> dict[str, Any] | None:
        """Return what the trading process said of itself last, with `epoch`, `beats`, `body`, `at`; None when never."""
        with self._database.statement() as connection:
            return connection.execute(
                "SELECT epoch, beats, body, at FROM trading_status WHERE alpaca_account_label = %s",
                (self._account_label,),
            ).fetchone()

    def _serialise(self, connection: Connection) -> None:
        """Let one writer at a time draw from the shared counter, so that its order is the order of commits."""
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('torghut:control:' || %s, 0))", (self._account_label,)
        )


def _ns(value: datetime | None) -> int | None:
    return None if value is None else datetime_ns(value)
