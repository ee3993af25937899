"""The only way to the broker for an order: claim on the leader's connection, commit, call once, settle."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from uuid import UUID

from torghut_core.clock import Clock
from torghut_core.errors import UpstreamError
from torghut_core.logs import event
from torghut_core.trading.leadership import ClaimRequest, ClaimResult, Leadership
from torghut_core.trading.metrics import Metrics
from torghut_core.trading.orders.broker import Brokerage, OrderRefusedError, OrderUnknownError
from torghut_core.trading.store.orders import OrderStore

_LOG = logging.getLogger(__name__)
MAX_CLAIM_AGE_SECONDS = 5.0
"""A process that slept between claim and call must not call: others may have given the order up by then (60 s)."""


class Execution:
    """Submits orders and knows which of its calls are in flight."""

    def __init__(
        self,
        *,
        broker: Brokerage,
        leadership: Leadership,
        orders: OrderStore,
        clock: Clock,
        wall: Clock,
        metrics: Metrics,
        at: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._broker = broker
        self._leadership = leadership
        self._orders = orders
        self._clock = clock
        self._wall = wall
        self._metrics = metrics
        self._at = at
        """Told each labelled step, for tests that end the process there."""
        self._in_flight: set[UUID] = set()
        self.idle = asyncio.Event()
        self.idle.set()

    def is_in_flight(self, decision_id: UUID) -> bool:
        """Tell whether this process is between the claim and the settlement of a decision."""
        return decision_id in self._in_flight

    async def submit(self, request: ClaimRequest) -> str:
        """Claim and submit one planned decision; return its outcome.

        `accepted`, `rejected`, `unknown`, or why nothing was sent: a `ClaimResult` that is not granted. Raises
        EngineUnavailableError when the claim could not be written, and nothing was sent; or when the broker's answer could
        not be: the claim stays, and reconciliation asks the broker about it.
        """
        self._in_flight.add(request.decision_id)
        self.idle.clear()
        try:
            return await self._submit(request)
        finally:
            self._in_flight.discard(request.decision_id)
            if not self._in_flight:
                self.idle.set()

    async def _submit(self, request: ClaimRequest) -> str:
        claimed_at = self._wall.monotonic()
        result = await asyncio.to_thread(self._leadership.claim, request, now_ns=self._clock.now_ns())
        if result is not ClaimResult.GRANTED:
            return result.value
        self._at("claimed")
        if self._wall.monotonic() - claimed_at > MAX_CLAIM_AGE_SECONDS:
            # Certainly not sent, so certainly no order, unless somebody who waited has ended it otherwise already.
            await asyncio.to_thread(
                self._orders.settle_rejected, request.decision_id, "claim_too_old", now_ns=self._clock.now_ns()
            )
            event(_LOG, "claim_too_old", logging.ERROR, symbol=request.order.symbol)
            return "rejected"
        self._at("sending")
        try:
            order = await self._broker.submit(request.order)
        except OrderRefusedError as refused:
            self._at("refused")
            await asyncio.to_thread(
                self._orders.settle_rejected, request.decision_id, refused.reason, now_ns=self._clock.now_ns()
            )
            self._metrics.add("orders_rejected_total")
            event(_LOG, "order_rejected", logging.WARNING, symbol=request.order.symbol, reason=refused.reason)
            return "rejected"
        except OrderUnknownError as unknown:
            return await self._unknown(request, str(unknown))
        self._at("answered")
        await asyncio.to_thread(
            self._orders.settle, request.decision_id, order, source="submit", now_ns=self._clock.now_ns()
        )
        self._at("settled")
        self._metrics.add("orders_submitted_total")
        event(_LOG, "order_submitted", symbol=order.symbol, side=order.side, qty=str(order.qty), status=order.status)
        return "accepted"

    async def _unknown(self, request: ClaimRequest, why: str) -> str:
        self._metrics.add("orders_unknown_total")
        event(_LOG, "order_unknown", logging.ERROR, symbol=request.order.symbol, why=why)
        try:
            await asyncio.to_thread(self._orders.mark_unknown, request.decision_id, now_ns=self._clock.now_ns())
        except UpstreamError:
            # The claim row stays `claimed`, which reconcile asks about just the same.
            self._metrics.add("settle_errors_total")
        return "unknown"
