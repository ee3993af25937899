"""What money is folded from: fills of own orders, and corrections by the account's readings."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from torghut_core.trading.model import Leg, Side

Kind = Literal["handed_over", "split"]


@dataclass(frozen=True, kw_only=True)
class Trade:
    """Shares of one order that changed hands at a price, dollars a share; `strategy` is None where no one's is known."""

    at_ns: int
    order_id: str
    strategy: str | None
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    leg: Leg = "entry"


@dataclass(frozen=True, kw_only=True)
class Correction:
    """What the account's reading says of a strategy's shares that no order of ours explains.

    `handed_over`: so many (signed) of its shares are not the strategy's any more. `split`: so many (signed) came to it,
    or went, at no cost.
    """

    at_ns: int
    strategy: str
    symbol: str
    kind: Kind
    qty: Decimal


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A symbol's price at an instant, dollars a share."""

    at_ns: int
    symbol: str
    price: Decimal


Event = Trade | Correction | Mark
