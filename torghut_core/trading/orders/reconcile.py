"""Finds out what became of orders: those of unknown fate by their client id, known ones by the broker's id.

Absence is believed late and reluctantly: three answers of "no such order" over at least a minute of this machine's
monotonic clock, from a broker that answers, and no such order among those submitted around that day. Then the order
ends as `never_arrived`; should it turn up after all it becomes `arrived_late`, and is adopted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from torghut_core.clock import Clock
from torghut_core.errors import TorghutError
from torghut_core.logs import event
from torghut_core.trading.decision.intents import is_own_client_id
from torghut_core.trading.metrics import Metrics
from torghut_core.trading.model import Order
from torghut_core.trading.orders.broker import Brokerage
from torghut_core.trading.orders.execution import Execution
from torghut_core.trading.store.orders import OpenClaim, OpenExecution, OrderStore

_LOG = logging.getLogger(__name__)
ABSENT_READINGS = 3
ABSENT_SECONDS = 60.0
_DAY_MARGIN = timedelta(hours=12)
LATE_NS = 24 * 3600 * 1_000_000_000
"""How long an order that was given up is still asked about, and told of."""
CANCEL_AGAIN_SECONDS = 30.0
NOT_OBEYED_SECONDS = 30.0


@dataclass
class _Patience:
    """Answers that there is no such order, since the first of them on the monotonic clock."""

    first: float
    readings: int = 0


Alert = Callable[[str, str, str], None]
"""(name, what it is about, once per: text) → told, logged and kept."""


class Reconciler:
    """Settles what execution could not, and keeps executions up to date."""

    def __init__(
        self,
        *,
        broker: Brokerage,
        orders: OrderStore,
        execution: Execution,
        clock: Clock,
        wall: Clock,
        metrics: Metrics,
        alert: Alert,
    ) -> None:
        self._broker = broker
        self._orders = orders
        self._execution = execution
        self._clock = clock
        self._wall = wall
        self._metrics = metrics
        self._alert = alert
        self._absent: dict[str, _Patience] = {}
        self._canceled_at: dict[str, float] = {}
        self._cancel_asked: dict[str, float] = {}
        self.orphans: frozenset[str] = frozenset()
        """Open orders of our shape at the broker that this database never claimed."""
        self.not_obeyed: frozenset[str] = frozenset()
        """Orders that are open long after their cancellation was asked for."""
        self.foreign_orders = 0

    async def reconcile(self) -> None:
        """Go once through everything open, each order for itself.

        Raises BrokerUnavailableError or EngineUnavailableError, the first of them, once all have been tried.
        """
        failures: list[TorghutError] = []
        for claim in await asyncio.to_thread(self._orders.open_claims):
            if self._execution.is_in_flight(claim.decision_id):
                continue
            try:
                await self._settle_claim(claim)
            except TorghutError as error:
                failures.append(error)
        for step in (self.refresh_executions, self._look_for_late_arrivals, self._look_at_open_orders):
            try:
                await step()
            except TorghutError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    async def refresh_executions(self) -> None:
        """Bring every open execution up to date with the broker. Raises like `reconcile`."""
        failures: list[TorghutError] = []
        for execution in await asyncio.to_thread(self._orders.open_executions):
            try:
                await self._refresh(execution)
            except TorghutError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    async def heard(self, order: Order) -> bool:
        """Take what the stream said of an order; return whether it changed anything. Orders of others are left out."""
        decision_id = await asyncio.to_thread(self._orders.owner, order.client_order_id)
        if decision_id is None:
            return False
        return await self._adopt(decision_id, order, "stream")

    async def cancel_open_orders(self) -> int:
        """Ask the broker to cancel every open order that this program placed, each again after 30 s; return how many.

        Recognised by the shape of the client id alone, so that it works without PostgreSQL and without leadership.
        Orders of people and other programs are left alone. One that cannot be cancelled does not keep the others.
        """
        now = self._wall.monotonic()
        canceled = 0
        failure: TorghutError | None = None
        own = [order for order in await self._broker.open_orders() if is_own_client_id(order.client_order_id)]
        for order in own:
            asked_at = self._canceled_at.get(order.id)
            if asked_at is not None and now - asked_at < CANCEL_AGAIN_SECONDS:
                continue
            try:
                await self._broker.cancel(order.id)
            except TorghutError as error:
                failure = error
                continue
            self._note_cancel(order)
            canceled += 1
        self._metrics.add("orders_canceled_total", canceled)
        self._judge_obedience(own)
        if failure is not None:
            raise failure
        return canceled

    async def cancel(self, order: Order) -> None:
        """Ask for one order to be cancelled, again at the earliest after 30 s. Raises BrokerUnavailableError."""
        asked_at = self._canceled_at.get(order.id)
        if asked_at is not None and self._wall.monotonic() - asked_at < CANCEL_AGAIN_SECONDS:
            return
        await self._broker.cancel(order.id)
        self._note_cancel(order)

    def _note_cancel(self, order: Order) -> None:
        now = self._wall.monotonic()
        self._canceled_at[order.id] = now
        self._cancel_asked.setdefault(order.id, now)
        event(_LOG, "order_cancel_requested", logging.WARNING, symbol=order.symbol, order_id=order.id)

    def _judge_obedience(self, open_orders: list[Order]) -> None:
        """Keep count of cancellations that the broker took and did not carry out."""
        now = self._wall.monotonic()
        still_open = {order.id: order for order in open_orders}
        self._cancel_asked = {key: at for key, at in self._cancel_asked.items() if key in still_open}
        self._canceled_at = {key: at for key, at in self._canceled_at.items() if key in still_open}
        late = {key for key, at in self._cancel_asked.items() if now - at >= NOT_OBEYED_SECONDS}
        for key in late - self.not_obeyed:
            order = still_open[key]
            self._alert("cancel_not_obeyed", key, f"{order.symbol} order {key} is open though it was cancelled")
        self.not_obeyed = frozenset(late)

    async def _settle_claim(self, claim: OpenClaim) -> None:
        order = await self._broker.find(claim.client_order_id)
        if order is None and self._is_believed(claim.client_order_id, await self._note_absent(claim)):
            order = await self._broker.find_since(claim.client_order_id, claim.claimed_at - _DAY_MARGIN)
            if order is None:
                await self._give_up(claim)
                return
        if order is not None:
            self._absent.pop(claim.client_order_id, None)
            await self._adopt(claim.decision_id, order, "found")

    async def _note_absent(self, claim: OpenClaim) -> bool:
        return await asyncio.to_thread(self._orders.note_absent, claim.decision_id, now_ns=self._clock.now_ns())

    def _is_believed(self, key: str, is_open: bool) -> bool:
        """Count an absence; tell whether there were enough of them for long enough."""
        if not is_open:
            self._absent.pop(key, None)
            return False
        now = self._wall.monotonic()
        patience = self._absent.setdefault(key, _Patience(first=now))
        patience.readings += 1
        return patience.readings >= ABSENT_READINGS and now - patience.first >= ABSENT_SECONDS

    async def _give_up(self, claim: OpenClaim) -> None:
        self._absent.pop(claim.client_order_id, None)
        if not await asyncio.to_thread(
            self._orders.settle_never_arrived, claim.decision_id, now_ns=self._clock.now_ns()
        ):
            return
        self._metrics.add("orders_never_arrived_total")
        text = f"{claim.side} {claim.qty.normalize():f} {claim.symbol} never arrived at the broker"
        self._alert("order_never_arrived", claim.client_order_id, text)

    async def _refresh(self, execution: OpenExecution) -> None:
        order = await self._broker.order(execution.order_id)
        if order is None:
            if not self._is_believed(execution.order_id, is_open=True):
                return
            order = await self._broker.find_since(execution.client_order_id, _before(execution.created_at))
        if order is None:
            self._absent.pop(execution.order_id, None)
            await asyncio.to_thread(self._orders.mark_missing, execution.order_id, now_ns=self._clock.now_ns())
            text = f"the broker no longer knows {execution.symbol} order {execution.order_id}"
            self._alert("order_missing", execution.order_id, text)
            return
        self._absent.pop(execution.order_id, None)
        if await asyncio.to_thread(self._orders.hear, order, source="poll", now_ns=self._clock.now_ns()):
            self._metrics.add("reconcile_updates_total")
            event(_LOG, "order_updated", symbol=order.symbol, status=order.status, filled=str(order.filled_qty))

    async def _look_for_late_arrivals(self) -> None:
        """Adopt an order that turned up after it had been given up, and say so: it is more than was planned."""
        since_ns = self._clock.now_ns() - LATE_NS
        for lost in await asyncio.to_thread(self._orders.given_up, since_ns=since_ns, limit=5):
            order = await self._broker.find(lost.client_order_id)
            if order is not None:
                await self._adopt(lost.decision_id, order, "found")

    async def _look_at_open_orders(self) -> None:
        """See whether an open order of our shape is nobody's, and whether what was cancelled is gone."""
        own, others = [], 0
        for order in await self._broker.open_orders():
            if is_own_client_id(order.client_order_id):
                own.append(order)
            else:
                others += 1
        orphans: set[str] = set()
        for order in own:
            if await asyncio.to_thread(self._orders.owner, order.client_order_id) is None:
                orphans.add(order.id)
                text = f"{order.symbol} order {order.id} is of our shape and of no decision here"
                self._alert("order_orphaned", order.id, text)
        self.orphans, self.foreign_orders = frozenset(orphans), others
        self._judge_obedience(own)

    async def _adopt(self, decision_id: UUID, order: Order, source: str) -> bool:
        state = await asyncio.to_thread(
            self._orders.settle,
            decision_id,
            order,
            source="stream" if source == "stream" else "found",
            now_ns=self._clock.now_ns(),
        )
        if state == "arrived_late":
            self._metrics.add("orders_arrived_late_total")
            text = f"{order.symbol} order {order.id} arrived after it had been given up"
            self._alert("order_arrived_late", order.client_order_id, text)
        self._metrics.add("reconcile_updates_total")
        event(_LOG, "order_found", symbol=order.symbol, status=order.status)
        return True


def _before(moment: datetime) -> datetime:
    return moment - _DAY_MARGIN
