"""Cash and positions of the simulated account, in exact decimals.

A fill moves money between cash and a position and creates none: at the fill's price, equity is the same before and after.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Side = Literal["buy", "sell"]
ZERO = Decimal(0)
_NINE_PLACES = Decimal("0.000000001")


@dataclass(frozen=True, kw_only=True)
class Position:
    """A holding: `qty` below zero is a short one. `cost` is its signed entry cost, so that cost / qty is the average."""

    symbol: str
    qty: Decimal
    cost: Decimal

    @property
    def average_entry(self) -> Decimal:
        """Return the average entry price."""
        return self.cost / self.qty


class Ledger:
    """The account's books. Buying power is `multiplier` times equity, less the gross value held."""

    def __init__(self, *, cash: Decimal, multiplier: Decimal) -> None:
        self.cash = cash
        self.multiplier = multiplier
        self._positions: dict[str, Position] = {}

    def position(self, symbol: str) -> Position | None:
        """Return the holding of a symbol, None when there is none."""
        return self._positions.get(symbol)

    def positions(self) -> list[Position]:
        """Return the holdings by symbol."""
        return [self._positions[symbol] for symbol in sorted(self._positions)]

    def held(self, symbol: str) -> Decimal:
        """Return the signed quantity held."""
        position = self._positions.get(symbol)
        return ZERO if position is None else position.qty

    def apply_fill(self, symbol: str, side: Side, qty: Decimal, price: Decimal) -> None:
        """Book a fill of `qty` (above zero) at `price`."""
        signed = qty if side == "buy" else -qty
        self.cash -= signed * price
        before = self._positions.get(symbol, Position(symbol=symbol, qty=ZERO, cost=ZERO))
        after = before.qty + signed
        if after == 0:
            self._positions.pop(symbol, None)
            return
        if before.qty * signed >= 0:
            cost = before.cost + signed * price
        elif before.qty * after > 0:  # reduced: the rest keeps its average
            cost = before.cost * after / before.qty
        else:  # turned over: what is left was opened by this fill
            cost = after * price
        self._positions[symbol] = Position(symbol=symbol, qty=after, cost=cost)

    def equity(self, price_of: Callable[[str], Decimal | None]) -> Decimal:
        """Return cash plus the value of every position, short ones negative."""
        long_value, short_value = self.market_values(price_of)
        return self.cash + long_value + short_value

    def market_values(self, price_of: Callable[[str], Decimal | None]) -> tuple[Decimal, Decimal]:
        """Return the value of the long positions and, below zero, of the short ones."""
        long_value = short_value = ZERO
        for position in self._positions.values():
            price = price_of(position.symbol)
            value = position.cost if price is None else position.qty * price
            if position.qty > 0:
                long_value += value
            else:
                short_value += value
        return long_value, short_value

    def buying_power(self, price_of: Callable[[str], Decimal | None], reserved: Decimal) -> Decimal:
        """Return what can still be bought when open orders hold `reserved`; never below zero."""
        long_value, short_value = self.market_values(price_of)
        equity = self.cash + long_value + short_value
        return max(ZERO, equity * self.multiplier - long_value + short_value - reserved)


def plain(value: Decimal) -> str:
    """Return a decimal as a plain number without trailing zeros, at most nine places."""
    rounded = value.quantize(_NINE_PLACES).normalize()
    return format(rounded if rounded else ZERO, "f")
