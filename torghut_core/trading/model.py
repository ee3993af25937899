"""The values that flow through trading. Money and quantities are Decimal, instants nanoseconds since the epoch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

Side = Literal["buy", "sell"]
Leg = Literal["entry", "exit"]
OrderType = Literal["market", "limit", "stop", "stop_limit"]
TIMEFRAMES: Mapping[str, str] = {"PT1S": "1Sec", "PT1M": "1Min", "PT1H": "1Hour"}
"""Window sizes of ClickHouse rows and the timeframes that strategies name."""
TIMEFRAME_SECONDS: Mapping[str, int] = {"1Sec": 1, "1Min": 60, "1Hour": 3600}
WINDOW_SIZES: Mapping[str, str] = {timeframe: size for size, timeframe in TIMEFRAMES.items()}

_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9._:/-]{0,31}")


def is_symbol(text: str) -> bool:
    """Tell whether `text` can be a symbol, as PostgreSQL, ClickHouse and the broker all take it."""
    return _SYMBOL.fullmatch(text) is not None


TERMINAL_ORDER_STATES = frozenset({"filled", "canceled", "expired", "rejected", "replaced"})
"""Broker states after which an order cannot change. `done_for_day` is none: it may be filled tomorrow."""


@dataclass(frozen=True, kw_only=True, slots=True)
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
    bid: float | None = None
    """`imbalance_bid_px`: the last quote at or before the bar's end, null when it was older than the TA allows."""
    ask: float | None = None
    macd_hist: float | None = None
    ema12: float | None = None
    ema26: float | None = None
    boll_mid: float | None = None
    boll_upper: float | None = None
    boll_lower: float | None = None
    vwap_session: float | None = None
    vwap_w5m: float | None = None
    imbalance_spread: float | None = None
    imbalance_bid_sz: float | None = None
    imbalance_ask_sz: float | None = None
    imbalance_ratio: float | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        return self.symbol, self.timeframe, self.event_ns


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What a rule wants, and its reasons in words of the rule.

    What is left out is as the strategy's entry in the catalogue and the settings have it. All of it is a wish: caps and
    gates are asked after it, and an exit closes what is held whatever `qty` says.
    """

    side: Side
    rationale: str
    qty: Decimal | float | None = None
    """Shares; one of `qty` and `budget` at most."""
    budget: Decimal | float | None = None
    """Dollars."""
    limit: Decimal | float | None = None
    """Dollars a share: the worst price of the entry."""
    stop: Decimal | float | None = None
    """Dollars a share at which what was entered is closed again at a loss."""
    target: Decimal | float | None = None
    """Dollars a share at which what was entered is closed again with a profit."""


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
    max_notional_total: Decimal | None = None
    """Dollars that all holdings and open orders of this strategy may be worth together."""
    order_type: OrderType = "market"
    """How it enters; it always exits at the market."""
    price_offset_bps: Decimal = Decimal(0)
    """How far beyond the quote a limit stands, and a stop is placed, in hundredths of a percent."""
    stop_loss_pct: Decimal | None = None
    take_profit_pct: Decimal | None = None
    trailing_stop_pct: Decimal | None = None
    """Shares (0 to 1) of the entry price, or of the best price since, at which the loop exits."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    digest: str = ""
    """Of the rule as it was loaded: its own version, and the SHA-256 of its parameters and source."""

    @property
    def identity(self) -> dict[str, str]:
        """Return what a decision says of who made it."""
        return {"name": self.name, "rule": self.rule, "version": self.version, "digest": self.digest}


@dataclass(frozen=True, kw_only=True)
class Account:
    """The broker's account at one reading."""

    number: str
    equity: Decimal
    cash: Decimal
    buying_power: Decimal
    is_blocked: bool
    last_equity: Decimal | None = None
    """At the end of the last session, where the broker says it."""

    def __repr__(self) -> str:
        return f"Account(equity={self.equity}, buying_power={self.buying_power}, is_blocked={self.is_blocked})"


@dataclass(frozen=True, kw_only=True)
class Position:
    """A holding; `qty` is negative when short. `available` shares (above zero) are promised to no open order."""

    symbol: str
    qty: Decimal
    market_value: Decimal
    available: Decimal
    entry_price: Decimal

    @property
    def price(self) -> Decimal:
        """Dollars a share, as the broker values it."""
        return abs(self.market_value / self.qty) if self.qty else self.entry_price


@dataclass(frozen=True, kw_only=True)
class Asset:
    """What the broker says of a symbol: whether it lends it to sell short, and sells parts of a share."""

    is_shortable: bool
    is_easy: bool
    is_fractionable: bool = False
    is_tradable: bool = True


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
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    updated_at: str | None = None
    """The broker's own time of its last change, RFC 3339."""
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL_ORDER_STATES

    @property
    def remaining(self) -> Decimal:
        return Decimal(0) if self.is_terminal else max(Decimal(0), self.qty - self.filled_qty)


@dataclass(frozen=True, kw_only=True)
class OrderRequest:
    """What is sent to the broker, once."""

    client_order_id: str
    symbol: str
    side: Side
    qty: Decimal
    type: OrderType = "market"
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: Literal["day"] = "day"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Open orders, positions and account, read in this order: what fills in between counts twice, never not at all."""

    account: Account
    positions: Mapping[str, Position]
    orders: tuple[Order, ...] = ()
    """Open orders of anyone."""
    unreadable: frozenset[str] = frozenset()
    """Symbols with a position or order that could not be read."""
