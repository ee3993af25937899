"""The values that flow through trading. Money and quantities are Decimal, instants nanoseconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

Side = Literal["buy", "sell"]
TIMEFRAMES: Mapping[str, str] = {"PT1S": "1Sec", "PT1M": "1Min", "PT1H": "1Hour"}
"""Window sizes of ClickHouse rows and the timeframes that strategies name."""
WINDOW_SIZES: Mapping[str, str] = {timeframe: size for size, timeframe in TIMEFRAMES.items()}

TERMINAL_ORDER_STATES = frozenset({"filled", "canceled", "expired", "rejected", "replaced"})
"""Broker states after which an order cannot change. `done_for_day` is none: it may be filled tomorrow."""


@dataclass(frozen=True, kw_only=True)
class Signal:
    """One row of `ta_signals`: the indicators of one bar. Null indicators are None."""

    symbol: str
    timeframe: str
    event_ns: int
    """End of the bar's window."""
    ingest_ms: int
    seq: int
    close: float
    macd: float | None
    macd_signal: float | None
    rsi14: float | None
    volatility: float | None
    """`vol_realized_w60s`: population σ of log returns over a minute."""
    is_warm: bool

    @property
    def key(self) -> tuple[str, str, int]:
        return self.symbol, self.timeframe, self.event_ns


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What a rule wants, and its reasons in words of the rule."""

    side: Side
    rationale: str


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """One entry of the catalogue, with its row's id."""

    id: str
    name: str
    rule: str
    is_enabled: bool
    timeframe: str
    symbols: tuple[str, ...]
    """Empty: every symbol of the universe."""
    max_notional_per_trade: Decimal | None = None
    max_position_pct_equity: Decimal | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Account:
    """The broker's account at one reading."""

    number: str
    equity: Decimal
    cash: Decimal
    buying_power: Decimal
    is_blocked: bool

    def __repr__(self) -> str:
        return f"Account(equity={self.equity}, buying_power={self.buying_power}, is_blocked={self.is_blocked})"


@dataclass(frozen=True, kw_only=True)
class Position:
    """A holding; `qty` is negative when short."""

    symbol: str
    qty: Decimal
    market_value: Decimal


@dataclass(frozen=True, kw_only=True)
class Borrow:
    """Whether the broker lends a symbol to sell it short."""

    is_shortable: bool
    is_easy: bool


@dataclass(frozen=True, kw_only=True)
class Order:
    """An order as the broker reports it; `raw` is its JSON."""

    id: str
    client_order_id: str
    symbol: str
    side: Side
    type: str
    time_in_force: str
    qty: Decimal
    filled_qty: Decimal
    filled_avg_price: Decimal | None
    status: str
    raw: Mapping[str, Any]

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL_ORDER_STATES


@dataclass(frozen=True, kw_only=True)
class OrderRequest:
    """What is sent to the broker, once."""

    client_order_id: str
    symbol: str
    side: Side
    qty: int
    type: Literal["market"] = "market"
    time_in_force: Literal["day"] = "day"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Account and positions read together."""

    account: Account
    positions: Mapping[str, Position]
