"""What every gate may look at. Whatever could not be read is None, and a gate that needs it refuses."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from torghut_core.market_calendar import Session
from torghut_core.trading.decision.intents import Intent
from torghut_core.trading.decision.sizing import Book, Size
from torghut_core.trading.model import Account, Borrow
from torghut_core.trading.settings import TradingSettings


@dataclass(frozen=True, kw_only=True)
class GateContext:
    """One intent and the state of the world it is judged in."""

    settings: TradingSettings
    intent: Intent
    now_ns: int
    session: Session
    is_leader: bool
    is_account_confirmed: bool
    """Whether the broker said whose account this is, and nothing contradicted it."""
    universe: frozenset[str]
    price: Decimal | None
    account: Account | None
    book: Book | None
    size: Size | None
    """None when price or account are missing."""
    reserved: Decimal
    """Dollars of buying power promised to orders that the account's reading does not show yet."""
    busy_symbols: frozenset[str]
    """Symbols with an open order, or one whose fate is unknown."""
    borrow: Borrow | None
    """Whether the symbol can be borrowed; None when it was not needed or could not be read."""
    last_order_ns: int | None
    """When this strategy's last order in the symbol was handed to the broker, this intent's own left out."""

    @property
    def qty(self) -> int:
        return self.size.qty if self.size is not None else 0

    @property
    def signed_qty(self) -> int:
        return self.qty if self.intent.side == "buy" else -self.qty

    @property
    def notional(self) -> Decimal | None:
        """Dollars at the newest price."""
        return None if self.price is None else self.price * self.qty

    @property
    def opens_exposure(self) -> bool:
        """Whether the order buys, or sells more than is held: what is known to reduce a long position does not.

        Unknown holdings count as none.
        """
        held = self.book.position_qty if self.book is not None else Decimal(0)
        return self.intent.side == "buy" or self.qty > held
