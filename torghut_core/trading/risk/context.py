"""What every gate may look at. Whatever could not be read is None, and a gate that needs it refuses."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property

from torghut_core.market_calendar import Session
from torghut_core.trading.decision.book import Book, PendingOrder
from torghut_core.trading.decision.caps import Caps, caps_of
from torghut_core.trading.decision.quote import Quote
from torghut_core.trading.decision.sizing import Size
from torghut_core.trading.decision.terms import Terms
from torghut_core.trading.model import Asset, Leg, Side, Signal, Strategy
from torghut_core.trading.settings import TradingSettings


@dataclass(frozen=True, kw_only=True)
class Control:
    """What PostgreSQL says may not be done, read before anything else; every claim reads it again."""

    is_killed: bool = False
    """Whether the database's kill switch is on."""
    is_stopped: bool = False
    stopped_since_ns: int | None = None
    stopped_by: str | None = None
    loss_limit: str | None = None
    """The loss limit that was reached and not resumed."""
    loss_since_ns: int | None = None
    has_late_order: bool = False
    """Whether an order that arrived late is still open."""


@dataclass(frozen=True, kw_only=True)
class GateContext:
    """One order to be, and the state of the world it is judged in. What only entries are asked for has defaults."""

    leg: Leg
    settings: TradingSettings
    control: Control
    strategy: Strategy
    symbol: str
    side: Side
    now_ns: int
    session: Session
    is_leader: bool
    is_account_confirmed: bool
    """Whether the broker said whose account this is, and nothing contradicted it."""
    book: Book | None
    unknown_symbols: frozenset[str]
    """Symbols with an order whose fate is unknown."""
    signal: Signal | None = None
    quote: Quote = field(default_factory=lambda: Quote(bid=None, ask=None))
    terms: Terms = field(default_factory=Terms)
    size: Size | None = None
    """None when price or account are missing."""
    universe: frozenset[str] = frozenset()
    asset: Asset | None = None
    """What the broker says of the symbol; None when it was not needed or could not be read."""
    last_order_ns: int | None = None
    """When this strategy's last order in the symbol was handed to the broker, this one left out."""
    emergency_reasons: tuple[str, ...] = ()
    is_flattening: bool = False

    @property
    def qty(self) -> Decimal:
        return self.size.qty if self.size is not None else Decimal(0)

    @cached_property
    def price(self) -> Decimal | None:
        """Dollars a share at worst: the quote's side, or the limit or stop where that is dearer."""
        quoted = self.quote.price(self.side)
        if quoted is None:
            return None
        return max(price for price in (quoted, self.terms.limit_price, self.terms.stop_price) if price is not None)

    @property
    def notional(self) -> Decimal | None:
        return None if self.price is None else self.price * self.qty

    @cached_property
    def caps(self) -> Caps | None:
        return None if self.book is None else caps_of(self.settings, self.strategy, self.book.equity)

    @cached_property
    def result(self) -> Book | None:
        """The book with this order on its way, None when there is none."""
        if self.book is None or self.price is None or self.qty <= 0:
            return None
        return self.book.with_order(
            PendingOrder(
                symbol=self.symbol, side=self.side, qty=self.qty, price=self.price, strategy_id=self.strategy.id
            )
        )

    @cached_property
    def own_side_exposure(self) -> Decimal:
        """Dollars the symbol could be worth on the side that the order widens."""
        if self.result is None:
            return Decimal(0)
        low, high = self.result.span(self.symbol)
        return (high if self.side == "buy" else -low) * (self.result.price(self.symbol) or Decimal(0))
