"""The shapes of the trading API's answers, for OpenAPI. Money is a number, and beside it its exact text."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Shape(BaseModel):
    """An answer; it may hold more than is named here."""

    model_config = ConfigDict(extra="allow")


class FieldError(Shape):
    field: str
    message: str


class Invalid(Shape):
    """A parameter breaks its rule."""

    detail: list[FieldError]


class Failure(Shape):
    """What failed, in stable words."""

    detail: str


class Root(Shape):
    service: str
    status: str
    version: str
    commit: str


class Alive(Shape):
    status: str
    service: str


class Ready(Shape):
    status: str
    ready: bool
    gates: dict[str, bool]


class Stop(Shape):
    since: str | None
    by: str | None


class OrdersUncertain(Shape):
    never_arrived: int
    arrived_late: int
    orphans: int
    cancels_not_obeyed: int


class LossLimit(Shape):
    latched: bool
    since: str | None


class Llm(Shape):
    enabled: bool
    shadow_mode: bool
    fail_mode: str
    policy_resolution: dict[str, Any]
    circuit: dict[str, Any] | None


class Status(Shape):
    """State of the trading process."""

    enabled: bool
    mode: str
    live_enabled: bool
    kill_switch_enabled: bool
    running: bool
    leader: bool
    last_run_at: str | None
    last_reconcile_at: str | None
    last_error: str | None
    metrics: dict[str, Any]
    leader_silent: bool
    strategies: list[dict[str, Any]] = Field(description="each with its rule's identity and its fault")
    stop: Stop | None
    orders_uncertain: OrdersUncertain
    loss_limit: LossLimit
    llm: Llm


class Probe(Shape):
    ok: bool
    detail: str


class Health(Shape):
    status: str
    scheduler: Probe
    dependencies: dict[str, Probe]


class Decision(Shape):
    id: str
    strategy_id: str
    symbol: str
    timeframe: str
    status: str
    rationale: str | None
    risk_reasons: str | None
    decision: dict[str, Any]
    created_at: str
    executed_at: str | None
    alpaca_account_label: str


class Execution(Shape):
    id: str
    trade_decision_id: str | None
    symbol: str
    side: str
    order_type: str
    time_in_force: str
    submitted_qty: float
    submitted_qty_text: str
    filled_qty: float
    filled_qty_text: str
    avg_fill_price: float | None
    avg_fill_price_text: str | None
    status: str
    created_at: str
    last_update_at: str | None
    alpaca_order_id: str


class Order(Shape):
    trade_decision_id: str
    client_order_id: str
    symbol: str
    side: str
    leg: str
    qty: float
    qty_text: str
    state: str
    claimed_at: str
    events: list[dict[str, Any]]


class Holding(Shape):
    symbol: str
    qty: float
    qty_text: str
    own_qty: float
    own_qty_text: str
    nobodys_qty: float
    nobodys_qty_text: str
    owners: list[dict[str, Any]] = Field(description="by strategy, from order events")
    market_value: float
    market_value_text: str


class Account(Shape):
    equity: float
    equity_text: str
    last_equity: float | None = Field(description="at the end of the last session")
    last_equity_text: str | None
    cash: float
    cash_text: str
    buying_power: float
    buying_power_text: str
    is_blocked: bool


class Profit(Shape):
    realised: float
    realised_text: str
    unrealised: float
    unrealised_text: str
    net: float = Field(description="realised, fees taken off")
    net_text: str
    profit: float = Field(description="realised and not, fees taken off")
    profit_text: str
    foreign_proceeds: float = Field(description="dollars from closing shares of unknown cost; in no profit")
    foreign_proceeds_text: str
    fees: dict[str, Any]
    charged: dict[str, Any] = Field(description="fees as the broker charges them: each day's rounded up to the cent")
    days: list[dict[str, Any]] = Field(description="by New York day")
    strategies: list[dict[str, Any]] = Field(description="by strategy")
    symbols: list[dict[str, Any]] = Field(description="by symbol")
    rows: list[dict[str, Any]] = Field(description="by day, strategy and symbol")
    positions: list[dict[str, Any]] = Field(description="open, by strategy and symbol")
    drawdown: dict[str, Any]
    curve: list[dict[str, Any]]
    priced_by: str = Field(description="broker, or fills where it did not answer")


class Metrics(Shape):
    metrics: dict[str, Any]


class Database(Shape):
    ok: bool
    schema_current: bool
    current_heads: list[str]
    expected_heads: list[str]
