"""One process's view of the order path, from plan to reconciliation, for tests that drive it step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from tests.fakes.trading_values import NOW_NS, make_intent
from torghut_core.clock import ManualClock
from torghut_core.engines.postgres import Postgres
from torghut_core.trading.decision.intents import Intent
from torghut_core.trading.leadership import ClaimRequest, Leadership
from torghut_core.trading.metrics import Metrics
from torghut_core.trading.model import OrderRequest, Strategy
from torghut_core.trading.orders.broker import Broker
from torghut_core.trading.orders.execution import Execution
from torghut_core.trading.orders.reconcile import Reconciler
from torghut_core.trading.store.database import Database
from torghut_core.trading.store.decisions import DecisionStore
from torghut_core.trading.store.listing import Listing
from torghut_core.trading.store.orders import OrderStore
from torghut_core.trading.strategies.catalogue import DEFAULT_PATH, read_catalogue


@dataclass
class Desk:
    """One process's view of the order path."""

    decisions: DecisionStore
    orders: OrderStore
    listing: Listing
    leadership: Leadership
    execution: Execution
    reconciler: Reconciler
    wall: ManualClock
    metrics: Metrics
    strategy: Strategy
    alerts: list[tuple[str, str, str]]
    is_reconciling: bool = False
    """Whether the process has come to reconciling, for tests that break it there."""

    @property
    def texts(self) -> list[str]:
        return [text for _, _, text in self.alerts]

    def plan(self, **changes: Any) -> tuple[Intent, UUID]:
        intent = make_intent(strategy=self.strategy, **changes)
        return intent, self.decisions.record([intent], now_ns=NOW_NS)[intent.key].id

    async def lead(self) -> None:
        """Take the lock; the server ends a dead process's session in its own time."""
        while True:
            if self.leadership.check(now_ns=NOW_NS):
                return
            await asyncio.sleep(0.01)

    def request(self, intent: Intent, decision_id: UUID, qty: int = 10) -> ClaimRequest:
        order = OrderRequest(client_order_id=intent.key, symbol=intent.symbol, side=intent.side, qty=Decimal(qty))
        return ClaimRequest(
            decision_id=decision_id,
            order=order,
            account_label="paper",
            leg="entry",
            strategy_id=intent.strategy.id,
            price=Decimal(100),
            reserved_notional=Decimal("1002.5"),
        )

    def decision(self) -> dict[str, Any]:
        return self.listing.decisions(symbol=None, since=None, limit=1)[0]


def open_desk(
    postgres: Postgres, database: Database, broker: Broker, at: Callable[[str], None] = lambda _: None
) -> Desk:
    # Not from zero, and not far from it: difference, sum and rest of times must not look alike.
    wall, metrics = ManualClock(NOW_NS, 20.0), Metrics()
    decisions = DecisionStore(database, account_label="paper")
    orders = OrderStore(database, account_label="paper")
    leadership = Leadership(postgres, lock_name="test")
    execution = Execution(
        broker=broker, leadership=leadership, orders=orders, clock=wall, wall=wall, metrics=metrics, at=at
    )
    alerts: list[tuple[str, str, str]] = []
    reconciler = Reconciler(
        broker=broker,
        orders=orders,
        execution=execution,
        clock=wall,
        wall=wall,
        metrics=metrics,
        alert=lambda *told: alerts.append(told),
    )
    strategy = decisions.apply_catalogue(read_catalogue(DEFAULT_PATH), mode="merge", now_ns=NOW_NS)[0]
    return Desk(
        decisions, orders, Listing(database), leadership, execution, reconciler, wall, metrics, strategy, alerts
    )
