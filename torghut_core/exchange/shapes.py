"""Account, positions and assets as Alpaca's REST shows them; numbers are texts there, and so they are here."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from torghut_core.exchange.broker import Broker, asset_id
from torghut_core.exchange.ledger import ZERO, Position, plain
from torghut_core.rfc3339 import format_ns


def account_fields(broker: Broker, *, number: str, starting_cash: Decimal, created_ns: int) -> dict[str, Any]:
    """Return the account as GET /v2/account does."""
    ledger = broker.ledger
    long_value, short_value = ledger.market_values(broker.prices.last_price)
    equity = ledger.cash + long_value + short_value
    gross = long_value - short_value
    power = plain(broker.buying_power())
    return {
        "id": str(uuid5(NAMESPACE_URL, f"account:{number}")),
        "account_number": number,
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "buying_power": power,
        "regt_buying_power": power,
        "daytrading_buying_power": "0",
        "effective_buying_power": power,
        "non_marginable_buying_power": plain(max(ZERO, ledger.cash)),
        "cash": plain(ledger.cash),
        "accrued_fees": "0",
        "portfolio_value": plain(equity),
        "equity": plain(equity),
        "last_equity": plain(starting_cash),
        "long_market_value": plain(long_value),
        "short_market_value": plain(short_value),
        "position_market_value": plain(gross),
        "initial_margin": plain(gross / ledger.multiplier),
        "maintenance_margin": plain(gross * Decimal("0.3")),
        "last_maintenance_margin": "0",
        "sma": plain(equity),
        "multiplier": plain(ledger.multiplier),
        "daytrade_count": 0,
        "pattern_day_trader": False,
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": False,
        "shorting_enabled": ledger.multiplier > 1,
        "created_at": format_ns(created_ns),
    }


def market_value(broker: Broker, position: Position) -> Decimal:
    """Return the signed dollars of a holding at the last price, at its own where none is known."""
    return position.qty * (broker.prices.last_price(position.symbol) or position.average_entry)


def position_fields(broker: Broker, position: Position) -> dict[str, Any]:
    """Return a holding as GET /v2/positions does."""
    price = broker.prices.last_price(position.symbol) or position.average_entry
    value = market_value(broker, position)
    gain = value - position.cost
    share = plain(gain / abs(position.cost)) if position.cost else "0"
    return {
        "asset_id": asset_id(position.symbol),
        "symbol": position.symbol,
        "exchange": "NASDAQ",
        "asset_class": "us_equity",
        "asset_marginable": True,
        "avg_entry_price": plain(position.average_entry),
        "qty": plain(position.qty),
        "qty_available": plain(broker.available(position.symbol)),
        "side": "long" if position.qty > 0 else "short",
        "market_value": plain(value),
        "cost_basis": plain(position.cost),
        "unrealized_pl": plain(gain),
        "unrealized_plpc": share,
        "unrealized_intraday_pl": plain(gain),
        "unrealized_intraday_plpc": share,
        "current_price": plain(price),
        "lastday_price": plain(price),
        "change_today": "0",
    }


def asset_fields(symbol: str) -> dict[str, Any]:
    """Return a symbol as GET /v2/assets does."""
    return {
        "id": asset_id(symbol),
        "class": "us_equity",
        "exchange": "NASDAQ",
        "symbol": symbol,
        "name": f"{symbol} (simulated)",
        "status": "active",
        "tradable": True,
        "marginable": True,
        "shortable": True,
        "easy_to_borrow": True,
        "fractionable": True,
        "maintenance_margin_requirement": 30,
        "attributes": [],
    }
