"""Trades and corrections with sensible defaults, for tests to vary one thing at a time."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from torghut_core.trading.money.events import Correction, Trade
from torghut_core.trading.money.fees import FeeRates

NOON_NS = 1_767_632_400_000_000_000  # 2026-01-05T17:00:00Z, noon in New York
DAY_NS = 86_400_000_000_000
FREE = FeeRates(sec_rate=Decimal(0), taf_per_share=Decimal(0))


def make_trade(side: Any, qty: int | str, price: int | str, **changes: Any) -> Trade:
    values: dict[str, Any] = {
        "at_ns": NOON_NS,
        "order_id": f"{side}-{qty}-{price}",
        "strategy": "s",
        "symbol": "AAPL",
        "side": side,
        "qty": Decimal(qty),
        "price": Decimal(price),
    }
    return Trade(**{**values, **changes})


def make_handed(qty: int, strategy: str = "s", kind: Any = "handed_over") -> Correction:
    return Correction(at_ns=NOON_NS, strategy=strategy, symbol="AAPL", kind=kind, qty=Decimal(qty))
