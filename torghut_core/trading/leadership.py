"""One leader among however many processes: a PostgreSQL session advisory lock, and an epoch that fences.

The claim that permits a broker call is written on the connection that holds the lock. When that connection is gone, so
is the lock, and no claim can be written; when a later epoch exists, a stop stands or a switch is off, the claim fails.

The session dies by itself when nobody uses it: the server ends it after 15 s without a word. A thread of its own keeps
it alive with a beat, as long as the loop turns; a process that is frozen, or whose loop hangs, loses the lock so.
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import psycopg

from torghut_core.clock import Clock, SystemClock
from torghut_core.engines.postgres import Postgres
from torghut_core.errors import ConfigurationError, UpstreamError
from torghut_core.trading.model import Leg, OrderRequest
from torghut_core.trading.store.control import KILL_SWITCH, LATE_ORDER, STANDING_LATCH, STANDING_STOP
from torghut_core.trading.store.database import at, translated

_STATEMENT_TIMEOUT_MS = 5000
IDLE_SECONDS = 15.0
"""How long the server keeps a session that says nothing, and how long a loop may not turn before the beat stops."""
BEAT_SECONDS = 3.0
SILENT_SECONDS = 10.0
"""How long a standby sees no beat before it calls the leader silent: with its own check, under 20 s."""


def lock_key(name: str) -> int:
    """Return the advisory lock's number: the first 8 bytes of SHA-256 of its name, big-endian, signed.

    >>> lock_key("torghut:trading-scheduler") == lock_key("torghut:trading-scheduler")
    True
    """
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


class ClaimResult(StrEnum):
    """What became of the wish to call the broker."""

    GRANTED = "granted"
    ALREADY_CLAIMED = "already_claimed"
    """Somebody has, or had, the right to call for this decision: it is not given twice."""
    NOT_LEADER = "not_leader"
    STOPPED = "trading_stopped"
    KILLED = "kill_switch_enabled"
    LATCHED = "loss_limit_latched"
    LATE_ORDER = "order_arrived_late"


@dataclass(frozen=True, kw_only=True)
class ClaimRequest:
    """The right to call the broker once for one decision."""

    decision_id: UUID
    order: OrderRequest
    account_label: str
    leg: Leg
    strategy_id: str
    price: Decimal | None
    reserved_notional: Decimal


class Leadership:
    """Holds the lock, or tries to. Safe to call from threads; every call blocks for at most a few seconds."""

    def __init__(self, postgres: Postgres, *, lock_name: str, holder: str = "", clock: Clock | None = None) -> None:
        self._postgres = postgres
        self._lock_name = lock_name
        self._key = lock_key(lock_name)
        self._holder = holder
        self._clock = clock or SystemClock()
        self._mutex = threading.Lock()
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None
        self._epoch: int | None = None
        self._turned_at = self._clock.monotonic()
        self._seen: tuple[object, ...] | None = None
        self._seen_at = self._turned_at
        self._is_silent = False
        self._stopping = threading.Event()
        self._beating: threading.Thread | None = None

    @property
    def is_leader(self) -> bool:
        """Whether the lock was held at the last look. A claim looks again."""
        return self._epoch is not None

    @property
    def epoch(self) -> int | None:
        return self._epoch

    @property
    def lock_name(self) -> str:
        return self._lock_name

    @property
    def is_leader_silent(self) -> bool:
        """Whether another process holds the lock and has given no sign of life for too long."""
        return self._is_silent

    def turned(self) -> None:
        """Say that the loop turned: whatever came of it, it is not stuck."""
        self._turned_at = self._clock.monotonic()

    def start_beating(self) -> None:
        """Keep the lock's session alive from a thread of its own until `release`."""
        if self._beating is None:
            self._beating = threading.Thread(target=self._beat_on, name="leader-beat", daemon=True)
            self._beating.start()

    def beat(self) -> bool:
        """Give one sign of life, unless the loop has not turned for too long; return whether it was given."""
        if self._clock.monotonic() - self._turned_at > IDLE_SECONDS:
            return False
        with self._mutex:
            if self._connection is None or self._epoch is None:
                return False
            try:
                with translated():
                    beaten = self._connection.execute(
                        "UPDATE trading_leadership SET beats = beats + 1 WHERE lock_name = %s AND epoch = %s",
                        (self._lock_name, self._epoch),
                    )
            except UpstreamError:
                self._drop()
                return False
            if beaten.rowcount != 1:
                self._drop()
                return False
        return True

    def _beat_on(self) -> None:
        while not self._stopping.wait(BEAT_SECONDS):
            self.beat()

    def check(self, *, now_ns: int) -> bool:
        """Take the lock if it is free, see that it is still held if it was; return whether this process leads.

        Raises EngineUnavailableError when PostgreSQL is away; leadership is lost then. Raises ConfigurationError when a
        pooler stands between: the lock would be another session's.
        """
        with self._mutex:
            try:
                with translated():
                    if self._epoch is None:
                        self._acquire(now_ns)
                    elif not self._still_leads():
                        self._drop()
                    self._watch()
            except UpstreamError:
                self._drop()
                raise
            return self._epoch is not None

    def claim(self, request: ClaimRequest, *, now_ns: int) -> ClaimResult:
        """Write and commit the claim for a planned decision, on the lock's own connection.

        Raises EngineUnavailableError when the connection breaks. Whether the claim was committed is then not known,
        and the broker must not be called.
        """
        with self._mutex:
            if self._connection is None or self._epoch is None:
                return ClaimResult.NOT_LEADER
            try:
                with translated():
                    result = self._write_claim(self._connection, request, self._epoch, now_ns)
            except UpstreamError:
                self._drop()
                raise
            if result is ClaimResult.NOT_LEADER:
                self._drop()
            return result

    def release(self) -> None:
        """Give the lock back. To be called only when no broker call is in flight."""
        self._stopping.set()
        with self._mutex:
            if self._connection is not None and self._epoch is not None:
                # The server notices a closed connection when it gets to it; whoever waits should not have to.
                with suppress(psycopg.Error):
                    self._connection.execute("SELECT pg_advisory_unlock(%s)", (self._key,))
            self._drop()

    def _acquire(self, now_ns: int) -> None:
        if self._connection is None:
            self._connection = self._postgres.connect(autocommit=True)
            self._refuse_pooler(self._connection)
            idle_ms = round(IDLE_SECONDS * 1000)
            self._connection.execute(f"SET statement_timeout = {_STATEMENT_TIMEOUT_MS:d}")
            self._connection.execute(f"SET idle_in_transaction_session_timeout = {idle_ms:d}")
            self._connection.execute("SET idle_session_timeout = 0")
        row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (self._key,)).fetchone()
        if row is None or row[0] is not True:
            return
        # From here on silence costs the session, and the lock with it.
        self._connection.execute(f"SET idle_session_timeout = {round(IDLE_SECONDS * 1000):d}")
        with self._connection.transaction():
            taken = self._connection.execute(
                "INSERT INTO trading_leadership (lock_name, epoch, acquired_at, holder) VALUES (%s, 1, %s, %s)"
                " ON CONFLICT (lock_name) DO UPDATE SET epoch = trading_leadership.epoch + 1,"
                " acquired_at = EXCLUDED.acquired_at, holder = EXCLUDED.holder RETURNING epoch",
                (self._lock_name, at(now_ns), self._holder),
            ).fetchone()
        assert taken is not None
        self._epoch = int(str(taken[0]))

    def _refuse_pooler(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        """Refuse a connection whose server process is not the one it was opened to: a pooler lends it out."""
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        if row is not None and row[0] != connection.info.backend_pid:
            connection.close()
            self._connection = None
            raise ConfigurationError(
                "DB_DSN: a connection pooler stands between; the leader's lock needs a session of its own",
                hint="give the address of the PostgreSQL server itself",
            )

    def _watch(self) -> None:
        """Look at the leader's sign of life, by this process's own clock."""
        if self._epoch is not None or self._connection is None:
            self._seen, self._is_silent = None, False
            return
        row = self._connection.execute(
            "SELECT epoch, beats FROM trading_leadership WHERE lock_name = %s", (self._lock_name,)
        ).fetchone()
        now = self._clock.monotonic()
        if row != self._seen:
            self._seen, self._seen_at = row, now
        self._is_silent = row is not None and now - self._seen_at > SILENT_SECONDS

    def _still_leads(self) -> bool:
        assert self._connection is not None
        row = self._connection.execute(
            "SELECT epoch FROM trading_leadership WHERE lock_name = %s", (self._lock_name,)
        ).fetchone()
        return row is not None and row[0] == self._epoch and self._holds_lock(self._connection)

    def _holds_lock(self, connection: psycopg.Connection[tuple[object, ...]]) -> bool:
        """Ask the server whether the very session that answers holds the lock."""
        row = connection.execute(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted"
            " AND objsubid = 1 AND (classid::bigint << 32 | objid::bigint) = %s)",
            (self._key,),
        ).fetchone()
        return row is not None and row[0] is True

    def _write_claim(
        self,
        connection: psycopg.Connection[tuple[object, ...]],
        request: ClaimRequest,
        epoch: int,
        now_ns: int,
    ) -> ClaimResult:
        with connection.transaction():
            # FOR SHARE makes a later leader's epoch wait for this claim, or this claim see the later epoch.
            row = connection.execute(
                "SELECT epoch FROM trading_leadership WHERE lock_name = %s FOR SHARE", (self._lock_name,)
            ).fetchone()
            if row is None or row[0] != epoch or not self._holds_lock(connection):
                return ClaimResult.NOT_LEADER
            refused = self._standing_refusal(connection, request)
            if refused is not None:
                return refused
            planned = connection.execute(
                "SELECT id FROM trade_decisions WHERE id = %s AND status = 'planned' FOR UPDATE", (request.decision_id,)
            ).fetchone()
            if planned is None:
                return ClaimResult.ALREADY_CLAIMED
            claimed = connection.execute(
                "INSERT INTO order_claims (trade_decision_id, client_order_id, alpaca_account_label, symbol, side, qty,"
                " reserved_notional, epoch, claimed_at, leg, strategy_id, price)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (
                    request.decision_id,
                    request.order.client_order_id,
                    request.account_label,
                    request.order.symbol,
                    request.order.side,
                    request.order.qty,
                    request.reserved_notional,
                    epoch,
                    at(now_ns),
                    request.leg,
                    request.strategy_id,
                    request.price,
                ),
            )
            if claimed.rowcount != 1:
                return ClaimResult.ALREADY_CLAIMED
            connection.execute(
                "UPDATE trade_decisions SET status = 'submitting', executed_at = %s, updated_at = %s WHERE id = %s",
                (at(now_ns), at(now_ns), request.decision_id),
            )
        return ClaimResult.GRANTED

    def _standing_refusal(
        self, connection: psycopg.Connection[tuple[object, ...]], request: ClaimRequest
    ) -> ClaimResult | None:
        """Return what a person or another process has decided against this order since it was judged."""
        row = connection.execute(
            f"SELECT EXISTS ({STANDING_STOP}), ({KILL_SWITCH}), EXISTS ({STANDING_LATCH}), EXISTS ({LATE_ORDER})",
            {"account": request.account_label},
        ).fetchone()
        assert row is not None
        is_stopped, is_killed, is_latched, has_late = row
        if is_stopped:
            return ClaimResult.STOPPED
        if is_killed:
            return ClaimResult.KILLED
        if request.leg == "entry" and is_latched:
            return ClaimResult.LATCHED
        return ClaimResult.LATE_ORDER if request.leg == "entry" and has_late else None

    def _drop(self) -> None:
        self._epoch = None
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None
