"""What the loop, the handler and the closer work with."""

from __future__ import annotations

from dataclasses import dataclass

from torghut_core.clock import Clock
from torghut_core.market_calendar import MarketCalendar
from torghut_core.trading.alerts import Alerts
from torghut_core.trading.decision.emergency import EmergencyStop
from torghut_core.trading.inputs.signals import PriceReader
from torghut_core.trading.leadership import Leadership
from torghut_core.trading.metrics import Metrics
from torghut_core.trading.orders.broker import Brokerage
from torghut_core.trading.orders.execution import Execution
from torghut_core.trading.orders.reconcile import Reconciler
from torghut_core.trading.review.reviewer import Reviewer
from torghut_core.trading.settings import TradingSettings
from torghut_core.trading.status import RunState
from torghut_core.trading.store.control import ControlStore
from torghut_core.trading.store.decisions import DecisionStore
from torghut_core.trading.store.exits import ExitStore
from torghut_core.trading.store.money import MoneyStore
from torghut_core.trading.store.orders import OrderStore
from torghut_core.trading.store.reviews import ReviewStore


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The runtime's parts; what needs a broker is None without keys."""

    settings: TradingSettings
    clock: Clock
    wall: Clock
    calendar: MarketCalendar
    broker: Brokerage | None
    prices: PriceReader
    decisions: DecisionStore
    orders: OrderStore
    money: MoneyStore
    exits: ExitStore
    control: ControlStore
    reviews: ReviewStore
    leadership: Leadership
    execution: Execution | None
    reconciler: Reconciler | None
    reviewer: Reviewer | None
    alerts: Alerts
    emergency: EmergencyStop
    metrics: Metrics
    state: RunState
    revision: str | None
    """This process's deployment; None on a cluster that names none."""
