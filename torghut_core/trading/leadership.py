"""One leader among however many processes: a PostgreSQL session advisory lock, and an epoch that fences.

The claim that permits a broker call is written on the connection that holds the lock. When that connection is gone, so
is the lock, and no claim can be written; when a later epoch exists, the claim fails.
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

from torghut_core.engines.postgres import Postgres
from torghut_core.errors import EngineUnavailableError
from torghut_core.trading.model import OrderRequest
from torghut_core.trading.store.database import at, translated

_STATEMENT_TIMEOUT_MS = 5000


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


@dataclass(frozen=True, kw_only=True)
class ClaimRequest:
    """The right to call the broker once for one decision."""

    decision_id: UUID
    order: OrderRequest
    account_label: str
    reserved_notional: Decimal


class Leadership:
    """Holds the lock, or tries to. Safe to call from threads; every call blocks for at most a few seconds."""

    def __init__(self, postgres: Postgres, *, lock_name: str) -> None:
        self._postgres = postgres
        self._lock_name = lock_name
        self._key = lock_key(lock_name)
        self._mutex = threading.Lock()
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None
        self._epoch: int | None = None

    @property
    def is_leader(self) -> bool:
        """Whether the lock was held at the last look. A claim looks again."""
        return self._epoch is not None

    @property
    def epoch(self) -> int | None:
        return self._epoch

    def check(self, *, now_ns: int) -> bool:
        """Take the lock if it is free, see that it is still held if it was; return whether this process leads.

        Raises EngineUnavailableError when PostgreSQL is away; leadership is lost then.
        """
        with self._mutex:
            try:
                with translated():
                    if self._epoch is None:
                        self._acquire(now_ns)
                    elif not self._still_leads():
                        self._drop()
            except EngineUnavailableError:
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
            except EngineUnavailableError:
                self._drop()
                raise
            if result is ClaimResult.NOT_LEADER:
                self._drop()
            return result

    def release(self) -> None:
        """Give the lock back. To be called only when no broker call is in flight."""
        with self._mutex:
            if self._connection is not None and self._epoch is not None:
                # The server notices a closed connection when it gets to it; whoever waits should not have to.
                with suppress(psycopg.Error):
                    self._connection.execute("SELECT pg_advisory_unlock(%s)", (self._key,))
            self._drop()

    def _acquire(self, now_ns: int) -> None:
        if self._connection is None:
            self._connection = self._postgres.connect(autocommit=True)
            self._connection.execute(f"SET statement_timeout = {_STATEMENT_TIMEOUT_MS:d}")
        row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (self._key,)).fetchone()
        if row is None or row[0] is not True:
            return
        with self._connection.transaction():
            taken = self._connection.execute(
                "INSERT INTO trading_leadership (lock_name, epoch, acquired_at) VALUES (%s, 1, %s)"
                " ON CONFLICT (lock_name) DO UPDATE SET epoch = trading_leadership.epoch + 1,"
                " acquired_at = EXCLUDED.acquired_at RETURNING epoch",
                (self._lock_name, at(now_ns)),
            ).fetchone()
        assert taken is not None
        self._epoch = int(str(taken[0]))

    def _still_leads(self) -> bool:
        assert self._connection is not None
        row = self._connection.execute(
            "SELECT (SELECT epoch FROM trading_leadership WHERE lock_name = %s) = %s AND EXISTS (SELECT FROM pg_locks"
            " WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted AND objsubid = 1"
            " AND (classid::bigint << 32 | objid::bigint) = %s)",
            (self._lock_name, self._epoch, self._key),
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
            if row is None or row[0] != epoch:
                return ClaimResult.NOT_LEADER
            planned = connection.execute(
                "SELECT id FROM trade_decisions WHERE id = %s AND status = 'planned' FOR UPDATE", (request.decision_id,)
            ).fetchone()
            if planned is None:
                return ClaimResult.ALREADY_CLAIMED
            claimed = connection.execute(
                "INSERT INTO order_claims (trade_decision_id, client_order_id, alpaca_account_label, symbol, side, qty,"
                " reserved_notional, epoch, claimed_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
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
                ),
            )
            if claimed.rowcount != 1:
                return ClaimResult.ALREADY_CLAIMED
            connection.execute(
                "UPDATE trade_decisions SET status = 'submitting', executed_at = %s, updated_at = %s WHERE id = %s",
                (at(now_ns), at(now_ns), request.decision_id),
            )
        return ClaimResult.GRANTED

    def _drop(self) -> None:
        self._epoch = None
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None
