"""The price an entry is judged at: its own signal's two-sided quote. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

from torghut_core.trading.model import Side, Signal

_BPS = Decimal(10_000)


@dataclass(frozen=True, kw_only=True)
class Quote:
    """Bid and ask at the bar's end, dollars; None for a side that was not quoted."""

    bid: Decimal | None
    ask: Decimal | None

    @property
    def is_two_sided(self) -> bool:
        return self.bid is not None and self.ask is not None

    @property
    def is_crossed(self) -> bool:
        return self.bid is not None and self.ask is not None and self.bid > self.ask

    @property
    def spread_bps(self) -> Decimal | None:
        """Hundredths of a percent of the middle."""
        if self.bid is None or self.ask is None:
            return None
        return (self.ask - self.bid) / ((self.ask + self.bid) / 2) * _BPS

    def price(self, side: Side) -> Decimal | None:
        """Return what an order of this side would meet; None without a quote that can be traded on."""
        if not self.is_two_sided or self.is_crossed:
            return None
        return self.ask if side == "buy" else self.bid


def quote_of(signal: Signal) -> Quote:
    """Return the signal's quote; a side that is not a positive finite number is none."""
    return Quote(bid=_price(signal.bid), ask=_price(signal.ask))


def _price(value: float | None) -> Decimal | None:
    if value is None or not math.isfinite(value) or value <= 0:
        return None
    return Decimal(str(value))
