"""Closing what is held: how much, and what calls for it besides a signal. Pure.

An exit is no entry the other way round. It is never larger than what is held and not promised yet, and nothing that
limits entries makes it smaller.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from typing import Literal

from torghut_core.clock import NANOS_PER_SECOND
from torghut_core.trading.decision.book import Book
from torghut_core.trading.model import Side, Strategy

Cause = Literal["signal", "stop_loss", "take_profit", "trailing_stop", "flatten"]
ZERO = Decimal(0)


@dataclass(frozen=True, kw_only=True)
class Holding:
    """One stay in a symbol, from flat to flat: the how-manieth, on which side, since when, and the best price since."""

    symbol: str
    number: int
    is_long: bool
    opened_ns: int
    """What is older than this says nothing of it."""
    best_price: Decimal

    @property
    def id(self) -> str:
        """Name the holding in keys: `AAPL/long/1`."""
        return f"{self.symbol}/{'long' if self.is_long else 'short'}/{self.number}"

    @property
    def closing_side(self) -> Side:
        return "sell" if self.is_long else "buy"

    def seen_at(self, price: Decimal) -> Holding:
        """Return the holding after the market was at `price`."""
        best = max(self.best_price, price) if self.is_long else min(self.best_price, price)
        return self if best == self.best_price else replace(self, best_price=best)


def exit_qty(book: Book, strategy_id: str, symbol: str) -> Decimal:
    """Return the shares an exit sells or covers: what is the strategy's, or nobody's, and promised to no order."""
    position = book.positions.get(symbol)
    if position is None or position.qty == 0:
        return ZERO
    unpromised = min(position.available, abs(position.qty) - book.closing_qty(symbol))
    own = abs(book.exitable(strategy_id, symbol))
    if position.qty == position.qty.to_integral_value():
        # Parts of a share that two strategies divide between them cannot be sold as parts.
        own = own.to_integral_value(ROUND_CEILING)
    return max(ZERO, min(unpromised, round(own, 9)))


def triggered(holding: Holding, strategy: Strategy, *, entry_price: Decimal, price: Decimal) -> Cause | None:
    """Return which of the strategy's own stops the price has touched, the most urgent first; None when none."""
    sign = Decimal(1) if holding.is_long else Decimal(-1)
    gain = sign * (price - entry_price)
    if strategy.stop_loss_pct is not None and gain <= -strategy.stop_loss_pct * entry_price:
        return "stop_loss"
    if strategy.trailing_stop_pct is not None:
        fallen = sign * (holding.best_price - price)
        if fallen >= strategy.trailing_stop_pct * holding.best_price:
            return "trailing_stop"
    if strategy.take_profit_pct is not None and gain >= strategy.take_profit_pct * entry_price:
        return "take_profit"
    return None


def is_flattening(now_ns: int, close_ns: int | None, minutes: float) -> bool:
    """Tell whether the regular session ends in `minutes` or less; never with 0 minutes or without a close."""
    if minutes <= 0 or close_ns is None:
        return False
    return 0 < close_ns - now_ns <= minutes * 60 * NANOS_PER_SECOND
