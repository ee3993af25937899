"""Whatever happens in whatever order: no cap is passed, nothing is sold short unallowed, no exit is held back.

A market of orders by us and by others, fills whole and partial, cancellations, pauses; every order of ours goes through
the same sizing and gates as in the loop. Prices stand still, so that only orders can widen a book.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.fakes.trading_values import make_account, make_context, make_position, make_settings, make_strategy
from torghut_core.trading.decision.book import ZERO, Book, PendingOrder
from torghut_core.trading.decision.exits import exit_qty
from torghut_core.trading.decision.quote import Quote
from torghut_core.trading.decision.sizing import Size, size_entry
from torghut_core.trading.risk import refusals
from torghut_core.trading.risk.context import Control

SYMBOLS = ("AAPL", "MSFT", "T")
PRICE = Decimal(100)
GROSS, NET, SYMBOL, POSITIONS, TRADE, STRATEGY = 4000, 2500, 1500, 2, 1200, 2000
STRATEGIES = (
    make_strategy(id="1", name="one", max_notional_total=Decimal(STRATEGY)),
    make_strategy(id="2", name="two"),
)


class Market(RuleBasedStateMachine):
    """The account, our orders and those of others."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, Decimal] = {}
        self.owned: dict[tuple[str, str], Decimal] = {}
        self.orders: list[PendingOrder] = []
        self.is_stopped = False
        self.shorts = False
        self.others_touched = False

    def book(self) -> Book:
        promised = {
            symbol: sum((o.qty for o in self.orders if o.symbol == symbol and (o.side == "sell") == (qty > 0)), ZERO)
            for symbol, qty in self.held.items()
        }
        positions = {
            symbol: make_position(symbol, str(qty), available=max(ZERO, abs(qty) - promised[symbol]))
            for symbol, qty in self.held.items()
            if qty
        }
        return Book(
            account=make_account(),
            positions=positions,
            orders=tuple(self.orders),
            prices=dict.fromkeys(SYMBOLS, PRICE),
            owned={key: qty for key, qty in self.owned.items() if qty},
        )

    def settings(self) -> Any:
        return make_settings(
            TRADING_ALLOW_SHORTS=str(self.shorts).lower(),
            TRADING_DEFAULT_QTY="50",
            TRADING_STATIC_SYMBOLS=",".join(SYMBOLS),
            TRADING_MAX_NOTIONAL_PER_TRADE=str(TRADE),
            TRADING_PORTFOLIO_MAX_GROSS_EXPOSURE=str(GROSS),
            TRADING_PORTFOLIO_MAX_NET_EXPOSURE=str(NET),
            TRADING_PORTFOLIO_MAX_NOTIONAL_PER_SYMBOL=str(SYMBOL),
            TRADING_PORTFOLIO_MAX_POSITIONS=str(POSITIONS),
        )

    def context(self, leg: str, strategy: Any, symbol: str, side: Any, size: Size) -> Any:
        return make_context(
            leg=leg,
            settings=self.settings(),
            control=Control(is_stopped=self.is_stopped),
            strategy=strategy,
            symbol=symbol,
            side=side,
            book=self.book(),
            quote=Quote(bid=PRICE, ask=PRICE),
            size=size,
            universe=frozenset(SYMBOLS),
        )

    @rule(strategy=st.sampled_from(STRATEGIES), symbol=st.sampled_from(SYMBOLS), side=st.sampled_from(["buy", "sell"]))
    def enter(self, strategy: Any, symbol: str, side: Any) -> None:
        """Let a strategy want in, and look at the book that results."""
        book = self.book()
        size = size_entry(
            side=side,
            symbol=symbol,
            price=PRICE,
            strategy=strategy,
            book=book,
            settings=self.settings(),
            volatility=None,
        )
        self._enter(strategy, symbol, side, size)

    @rule(
        strategy=st.sampled_from(STRATEGIES),
        symbol=st.sampled_from(SYMBOLS),
        side=st.sampled_from(["buy", "sell"]),
        qty=st.integers(1, 60),
    )
    def enter_without_sizing(self, strategy: Any, symbol: str, side: Any, qty: int) -> None:
        """Let the gates alone stand between a size of any kind and the broker."""
        self._enter(strategy, symbol, side, Size(qty=Decimal(qty), reason=None, audit={}))

    def _enter(self, strategy: Any, symbol: str, side: Any, size: Size) -> None:
        context = self.context("entry", strategy, symbol, side, size)
        if refusals(context):
            return
        assert not self.is_stopped
        was_in = symbol in self.book().symbols
        order = PendingOrder(symbol=symbol, side=side, qty=size.qty, price=PRICE, strategy_id=strategy.id)
        self.orders.append(order)
        after = self.book()
        low, high = after.span(symbol)
        assert size.qty * PRICE <= TRADE
        assert after.gross <= GROSS
        assert (after.net("buy") if side == "buy" else -after.net("sell")) <= NET
        assert (high if side == "buy" else -low) * PRICE <= SYMBOL
        assert was_in or len(after.symbols) <= POSITIONS
        assert strategy.id != "1" or after.strategy_exposure("1") <= STRATEGY
        assert self.shorts or low >= 0

    @rule(strategy=st.sampled_from(STRATEGIES), symbol=st.sampled_from(SYMBOLS))
    def leave(self, strategy: Any, symbol: str) -> None:
        """An exit is refused by nothing but the stop, and never larger than what is held."""
        book = self.book()
        qty = exit_qty(book, strategy.id, symbol)
        if qty == 0:
            return
        side = "sell" if book.held(symbol) > 0 else "buy"
        reasons = refusals(self.context("exit", strategy, symbol, side, Size(qty=qty, reason=None, audit={})))
        assert reasons == (("trading_stopped",) if self.is_stopped else ())
        if reasons:
            return
        assert qty <= abs(book.held(symbol)) - book.closing_qty(symbol)
        self.orders.append(
            PendingOrder(symbol=symbol, side=side, qty=qty, price=None, strategy_id=strategy.id)  # type: ignore[arg-type]
        )

    @rule(index=st.integers(0, 20), part=st.integers(1, 4))
    def fill(self, index: int, part: int) -> None:
        """Fill an order, whole or in part."""
        if not self.orders:
            return
        order = self.orders.pop(index % len(self.orders))
        qty = order.qty if part == 4 else (order.qty * part / 4).to_integral_value()
        signed = qty if order.side == "buy" else -qty
        self.held[order.symbol] = self.held.get(order.symbol, ZERO) + signed
        if order.strategy_id is not None:
            key = (order.strategy_id, order.symbol)
            self.owned[key] = self.owned.get(key, ZERO) + signed
        if qty < order.qty:
            self.orders.append(replace(order, qty=order.qty - qty))

    @rule(index=st.integers(0, 20))
    def cancel(self, index: int) -> None:
        """Cancel an order."""
        if self.orders:
            self.orders.pop(index % len(self.orders))

    @rule(symbol=st.sampled_from(SYMBOLS), side=st.sampled_from(["buy", "sell"]), qty=st.integers(1, 10))
    def someone_orders(self, symbol: str, side: Any, qty: int) -> None:
        """Somebody else trades the account."""
        self.others_touched = True
        self.orders.append(PendingOrder(symbol=symbol, side=side, qty=Decimal(qty), price=PRICE))

    @rule(is_stopped=st.booleans(), shorts=st.booleans())
    def switch(self, is_stopped: bool, shorts: bool) -> None:
        """Pause, resume, allow and forbid."""
        self.is_stopped, self.shorts = is_stopped, shorts

    @invariant()
    def without_others_the_book_is_within_every_cap(self) -> None:
        """What only we ordered never passes a cap, however it fills."""
        if not self.others_touched:
            book = self.book()
            assert book.gross <= GROSS
            assert -NET <= book.net("sell") <= book.net("buy") <= NET
            assert len(book.symbols) <= POSITIONS


TestMarket = Market.TestCase
TestMarket.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
