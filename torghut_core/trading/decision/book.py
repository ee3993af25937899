"""What is held and what is on its way, of anyone, and what that could become. Pure.

Open orders may fill or not, and each alone. So every figure is the worst that can come of them: gross with all that
widen it, net on the long side with every buy and no sell, on the short side with every sell and no buy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property

from torghut_core.trading.model import Account, Position, Side

ZERO = Decimal(0)
PRICE_SLACK = Decimal("0.0025")
"""The price may move before the fill: 25 basis points of an order's value are kept for that."""


@dataclass(frozen=True, kw_only=True)
class PendingOrder:
    """An order of anyone that may still fill."""

    symbol: str
    side: Side
    qty: Decimal
    """Shares that are not filled yet."""
    price: Decimal | None
    """Its limit or stop, or the price it was judged at; None: the symbol's own."""
    strategy_id: str | None = None
    is_in_account: bool = True
    """Whether the broker's buying power knows it."""
    is_unknown: bool = False
    """Whether its fate is unknown: the broker may or may not have it."""


@dataclass(frozen=True, kw_only=True)
class Book:
    """One reading of account, positions and orders, and the orders of this batch since."""

    account: Account
    positions: Mapping[str, Position]
    orders: tuple[PendingOrder, ...] = ()
    prices: Mapping[str, Decimal] = field(default_factory=dict)
    """Dollars a share, for symbols that are not held."""
    owned: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)
    """Signed shares by (strategy id, symbol), folded from order events."""
    averages: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)
    """Dollars a share that a strategy's own were opened at, where all that is held is the strategies'."""
    arriving: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)
    """Shares by (strategy id, symbol) that may be a strategy's among those held: its fill is not heard of yet."""
    leaving: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)
    """Shares by (strategy id, symbol) that a strategy may have sold already of those that stand as its own."""
    unreadable: frozenset[str] = frozenset()
    """Symbols of which something could not be read."""

    def with_order(self, order: PendingOrder) -> Book:
        """Return the book that results when `order` is on its way too."""
        return replace(self, orders=(*self.orders, order))

    @property
    def equity(self) -> Decimal:
        return self.account.equity

    @cached_property
    def _pending(self) -> Mapping[str, tuple[Decimal, Decimal, Decimal | None]]:
        found: dict[str, tuple[Decimal, Decimal, Decimal | None]] = {}
        for order in self.orders:
            buys, sells, price = found.get(order.symbol, (ZERO, ZERO, None))
            if order.price is not None:
                price = order.price if price is None else max(price, order.price)
            if order.side == "buy":
                found[order.symbol] = (buys + order.qty, sells, price)
            else:
                found[order.symbol] = (buys, sells + order.qty, price)
        return found

    def held(self, symbol: str) -> Decimal:
        """Return the signed shares held."""
        position = self.positions.get(symbol)
        return position.qty if position is not None else ZERO

    def span(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Return the least and the most signed shares that could be held once open orders are through."""
        buys, sells, _ = self._pending.get(symbol, (ZERO, ZERO, None))
        held = self.held(symbol)
        return held - sells, held + buys

    def closing_qty(self, symbol: str) -> Decimal:
        """Return the shares that open orders of anyone would close of what is held."""
        buys, sells, _ = self._pending.get(symbol, (ZERO, ZERO, None))
        held = self.held(symbol)
        return sells if held > 0 else buys if held < 0 else ZERO

    def price(self, symbol: str) -> Decimal | None:
        """Return the dearest that is known of a symbol's price, None when nothing is."""
        position = self.positions.get(symbol)
        known = [
            self.prices.get(symbol),
            self._pending.get(symbol, (ZERO, ZERO, None))[2],
            position.price if position is not None and position.qty else None,
        ]
        return max((price for price in known if price is not None), default=None)

    @cached_property
    def symbols(self) -> frozenset[str]:
        """Symbols in which something is held or on its way."""
        return frozenset(name for name in {*self.positions, *self._pending} if self.span(name) != (ZERO, ZERO))

    @property
    def unpriced(self) -> frozenset[str]:
        """Symbols whose exposure cannot be told."""
        return self.unreadable | {symbol for symbol in self.symbols if self.price(symbol) is None}

    def exposure(self, symbol: str) -> Decimal:
        """Return the dollars a symbol could be worth, whichever way."""
        low, high = self.span(symbol)
        return max(abs(low), abs(high)) * (self.price(symbol) or ZERO)

    @cached_property
    def gross(self) -> Decimal:
        """Dollars of all symbols, long and short alike."""
        return sum((self.exposure(symbol) for symbol in self.symbols), ZERO)

    def net(self, side: Side) -> Decimal:
        """Return the signed dollars in the worst case of that side: for buy the most long, for sell the most short."""
        index = 1 if side == "buy" else 0
        return sum((self.span(symbol)[index] * (self.price(symbol) or ZERO) for symbol in self.symbols), ZERO)

    def strategy_exposure(self, strategy_id: str) -> Decimal:
        """Return the dollars of a strategy's own shares and of its orders on their way."""
        spans: dict[str, list[Decimal]] = {}
        for (owner, symbol), qty in self.owned.items():
            if owner == strategy_id:
                spans[symbol] = [qty, qty]
        for order in self.orders:
            if order.strategy_id == strategy_id:
                span = spans.setdefault(order.symbol, [ZERO, ZERO])
                if order.side == "buy":
                    span[1] += order.qty
                else:
                    span[0] -= order.qty
        return sum(
            (max(abs(low), abs(high)) * (self.price(symbol) or ZERO) for symbol, (low, high) in spans.items()), ZERO
        )

    def spendable(self, side: Side, *, allow_margin: bool) -> Decimal:
        """Return the dollars an entry may cost: cash less short proceeds and what is promised, or buying power.

        What the broker's buying power does not know yet is taken from it; without margin both must do, and a short
        sale needs as much cash again as is short already.
        """
        unseen = self._opening_value(only_unseen=True)
        power = self.account.buying_power - unseen
        if allow_margin:
            return power
        proceeds = sum((-position.market_value for position in self.positions.values() if position.qty < 0), ZERO)
        own = self.account.cash - proceeds - self._opening_value(only_unseen=False)
        return min(power, own if side == "buy" else own - proceeds)

    def _opening_value(self, *, only_unseen: bool) -> Decimal:
        total = ZERO
        left = {symbol: self.held(symbol) for symbol in self._pending}
        for order in self.orders:
            held = left[order.symbol]
            closes = min(order.qty, max(ZERO, held if order.side == "sell" else -held))
            left[order.symbol] = held - closes if order.side == "sell" else held + closes
            if only_unseen and order.is_in_account:
                continue
            price = order.price if order.price is not None else self.price(order.symbol)
            total += (order.qty - closes) * (price or ZERO) * (1 + PRICE_SLACK)
        return total

    def closable(self, strategy_id: str, symbol: str) -> Decimal:
        """Return the signed shares of a holding that may be a strategy's to close: its own, and those of no strategy."""
        held = self.held(symbol)
        sign = 1 if held > 0 else -1
        return sign * max(ZERO, min(abs(held), abs(held) - sign * self._of_others(self.owned, strategy_id, symbol)))

    def exitable(self, strategy_id: str, symbol: str) -> Decimal:
        """Return those of them that certainly are, now.

        What may be another's, newly bought, is not taken for nobody's until that is heard of; a strategy's own are never
        fewer for that, but for those that its own order may have sold.
        """
        closable = self.closable(strategy_id, symbol)
        sign = 1 if closable > 0 else -1
        key = (strategy_id, symbol)
        own = min(abs(closable), sign * self.owned.get(key, ZERO) - self.leaving.get(key, ZERO))
        rest = abs(closable) - self._of_others(self.arriving, strategy_id, symbol)
        return sign * max(ZERO, own, rest)

    def _of_others(self, shares: Mapping[tuple[str, str], Decimal], strategy_id: str, symbol: str) -> Decimal:
        return sum((qty for (owner, name), qty in shares.items() if name == symbol and owner != strategy_id), ZERO)
