"""Finds out what became of orders: those of unknown fate by their client id, known ones by the broker's id.

Absence is believed late and reluctantly: three answers of "no such order" over at least a minute from a broker that
answers, and no such order among those submitted around that day. Then the order ends as `never_arrived`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from datetime import timedelta

from torghut_core.clock import Clock
from torghut_core.logs import event
from torghut_core.trading.decision.intents import is_own_client_id
from torghut_core.trading.encoding import datetime_ns
from torghut_core.trading.metrics import Metrics
from torghut_core.trading.model import Order
from torghut_core.trading.orders.broker import Broker
from torghut_core.trading.orders.execution import Execution
from torghut_core.trading.store.orders import OpenClaim, OrderStore

_LOG = logging.getLogger(__name__)
ABSENT_READINGS = 3
ABSENT_SECONDS = 60.0
_DAY_MARGIN = timedelta(hours=12)
_ORPHAN_NS = 24 * 3600 * 1_000_000_000
CANCEL_AGAIN_SECONDS = 30.0


class Reconciler:
    """Settles what execution could not, and keeps executions up to date."""

    def __init__(
        self,
        *,
        broker: Broker,
        orders: OrderStore,
        execution: Execution,
        clock: Clock,
        wall: Clock,
        metrics: Metrics,
    ) -> None:
        self._broker = broker
        self._orders = orders
        self._execution = execution
        self._clock = clock
        self._wall = wall
        self._metrics = metrics
        self._canceled_at: dict[str, float] = {}
        self._orphans: set[str] = set()
        self.alerts: deque[str] = deque(maxlen=20)

    async def reconcile(self) -> None:
        """Go once through everything open. Raises BrokerUnavailableError or EngineUnavailableError when cut short."""
        for claim in await asyncio.to_thread(self._orders.open_claims):
            if not self._execution.is_in_flight(claim.decision_id):
                await self._settle_claim(claim)
        await self.refresh_executions()
        await self._look_for_orphans()

    async def refresh_executions(self) -> None:
        """Bring every open execution up to date with the broker. Raises like `reconcile`."""
        for execution in await asyncio.to_thread(self._orders.open_executions):
            order = await self._broker.order(execution.order_id)
            if order is None:
                self._alert("order_missing", f"the broker no longer knows order {execution.order_id}")
                continue
            if await asyncio.to_thread(self._orders.update_execution, order, now_ns=self._clock.now_ns()):
                self._metrics.add("reconcile_updates_total")
                event(_LOG, "order_updated", symbol=order.symbol, status=order.status, filled=str(order.filled_qty))

    async def cancel_open_orders(self) -> int:
        """Ask the broker to cancel every open order that this program placed, each again after 30 s; return how many.

        Recognised by the shape of the client id alone, so that it works without PostgreSQL and without leadership.
        Orders of people and other programs are left alone.
        """
        now = self._wall.monotonic()
        canceled = 0
        for order in await self._broker.open_orders():
            asked_at = self._canceled_at.get(order.id)
            if not is_own_client_id(order.client_order_id):
                continue
            if asked_at is not None and now - asked_at < CANCEL_AGAIN_SECONDS:
                continue
            await self._broker.cancel(order.id)
            self._canceled_at[order.id] = now
            canceled += 1
            event(_LOG, "order_cancel_requested", logging.WARNING, symbol=order.symbol, order_id=order.id)
        self._metrics.add("orders_canceled_total", canceled)
        self._canceled_at = {
            order_id: at for order_id, at in self._canceled_at.items() if now - at < 10 * CANCEL_AGAIN_SECONDS
        }
        return canceled

    async def _settle_claim(self, claim: OpenClaim) -> None:
        order = await self._broker.find(claim.client_order_id)
        if order is not None:
            await self._found(claim, order)
            return
        readings, first = await asyncio.to_thread(
            self._orders.note_absent, claim.decision_id, at_ns=self._wall.now_ns()
        )
        waited = (self._wall.now_ns() - datetime_ns(first)) / 1e9
        if readings < ABSENT_READINGS or waited < ABSENT_SECONDS:
            return
        order = await self._broker.find_since(claim.client_order_id, claim.claimed_at - _DAY_MARGIN)
        if order is not None:
            await self._found(claim, order)
            return
        await asyncio.to_thread(self._orders.settle_never_arrived, claim.decision_id, now_ns=self._clock.now_ns())
        self._metrics.add("orders_never_arrived_total")
        self._alert(
            "order_never_arrived", f"{claim.side} {claim.qty.normalize():f} {claim.symbol} never arrived at the broker"
        )

    async def _look_for_orphans(self) -> None:
        """Raise an alert for an order that turned up after all: giving it up was final, so a person must look."""
        since_ns = self._clock.now_ns() - _ORPHAN_NS
        for client_order_id, symbol in await asyncio.to_thread(self._orders.given_up, since_ns=since_ns):
            if client_order_id in self._orphans:
                continue
            order = await self._broker.find(client_order_id)
            if order is not None:
                self._orphans.add(client_order_id)
                self._metrics.add("orders_orphaned_total")
                self._alert("order_orphaned", f"{symbol} order {order.id} arrived after it had been given up")

    async def _found(self, claim: OpenClaim, order: Order) -> None:
        await asyncio.to_thread(self._orders.settle_accepted, claim.decision_id, order, now_ns=self._clock.now_ns())
        self._metrics.add("reconcile_updates_total")
        event(_LOG, "order_found", symbol=order.symbol, status=order.status)

    def _alert(self, name: str, text: str) -> None:
        if text not in self.alerts:
            self.alerts.append(text)
            event(_LOG, name, logging.ERROR, alert=text)
