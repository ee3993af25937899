"""Values of the trading runtime with sensible defaults, for tests to vary one thing at a time."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from torghut_core.market_calendar import Session
from torghut_core.trading.decision.book import Book
from torghut_core.trading.decision.intents import Intent
from torghut_core.trading.decision.quote import Quote
from torghut_core.trading.decision.sizing import Size
from torghut_core.trading.model import Account, Asset, Order, Position, Signal, Strategy
from torghut_core.trading.risk.context import Control, GateContext
from torghut_core.trading.settings import TradingSettings, load_settings

NOW_NS = 1_767_625_200_000_000_000  # 2026-01-05T15:00:00Z, a Monday in regular hours
TRADING_ON = {"TRADING_ENABLED": "true", "TRADING_KILL_SWITCH_ENABLED": "false", "TRADING_STATIC_SYMBOLS": "AAPL,MSFT"}


def make_settings(**variables: str) -> TradingSettings:
    return load_settings({**TRADING_ON, **variables})


def make_strategy(**changes: Any) -> Strategy:
    values: dict[str, Any] = {
        "id": "00000000-0000-0000-0000-000000000001",
        "name": "macd-rsi",
        "rule": "macd-rsi",
        "is_enabled": True,
        "timeframe": "1Sec",
        "symbols": (),
    }
    return Strategy(**{**values, **changes})


def make_signal(**changes: Any) -> Signal:
    values: dict[str, Any] = {
        "symbol": "AAPL",
        "timeframe": "1Sec",
        "event_ns": NOW_NS - 1_000_000_000,
        "ingest_ms": NOW_NS // 1_000_000,
        "seq": NOW_NS // 1_000_000_000 - 1,
        "close": 100.0,
        "macd": 1.0,
        "macd_signal": 0.0,
        "rsi14": 50.0,
        "volatility": None,
        "is_warm": True,
        "bid": 99.99,
        "ask": 100.0,
    }
    return Signal(**{**values, **changes})


def make_intent(**changes: Any) -> Intent:
    values: dict[str, Any] = {
        "strategy": make_strategy(),
        "signal": make_signal(),
        "side": "buy",
        "rationale": "test",
        "account_label": "paper",
    }
    return Intent(**{**values, **changes})


def make_position(symbol: str = "AAPL", qty: int | str = 10, price: int | str = 100, **changes: Any) -> Position:
    values: dict[str, Any] = {
        "symbol": symbol,
        "qty": Decimal(qty),
        "market_value": Decimal(qty) * Decimal(price),
        "available": abs(Decimal(qty)),
        "entry_price": Decimal(price),
    }
    return Position(**{**values, **changes})


def make_book(*positions: Position, **changes: Any) -> Book:
    """Return a book of these positions; without prices of its own, AAPL and MSFT cost $100."""
    values: dict[str, Any] = {
        "account": make_account(),
        "positions": {position.symbol: position for position in positions},
        "prices": {"AAPL": Decimal(100), "MSFT": Decimal(100)},
    }
    return Book(**{**values, **changes})


def make_account(**changes: Any) -> Account:
    values: dict[str, Any] = {
        "number": "PA0000001",
        "equity": Decimal(100_000),
        "cash": Decimal(100_000),
        "buying_power": Decimal(200_000),
        "is_blocked": False,
    }
    return Account(**{**values, **changes})


def make_size(qty: int | str = 10, reason: str | None = None) -> Size:
    return Size(qty=Decimal(qty), reason=reason, audit={})


def make_context(**changes: Any) -> GateContext:
    """Return the context of an entry that every gate lets pass: 10 AAPL at $100 with $100,000 in cash."""
    values: dict[str, Any] = {
        "leg": "entry",
        "settings": make_settings(),
        "control": Control(),
        "strategy": make_strategy(),
        "symbol": "AAPL",
        "side": "buy",
        "now_ns": NOW_NS,
        "session": Session.REGULAR,
        "is_leader": True,
        "is_account_confirmed": True,
        "book": make_book(),
        "unknown_symbols": frozenset(),
        "signal": make_signal(),
        "quote": Quote(bid=Decimal("99.99"), ask=Decimal(100)),
        "size": make_size(),
        "universe": frozenset({"AAPL", "MSFT"}),
        "asset": Asset(is_shortable=True, is_easy=True),
        "last_order_ns": None,
    }
    return GateContext(**{**values, **changes})


def make_order(**changes: Any) -> Order:
    values: dict[str, Any] = {
        "id": "order-1",
        "client_order_id": "a" * 64,
        "symbol": "AAPL",
        "side": "buy",
        "type": "market",
        "time_in_force": "day",
        "qty": Decimal(10),
        "filled_qty": Decimal(0),
        "filled_avg_price": None,
        "status": "accepted",
        "raw": {},
    }
    return Order(**{**values, **changes})
