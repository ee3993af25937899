"""What a trade costs beside its price: the regulators' fees on sales, and a commission for each share.

A broker without commission passes on two fees of a sale: the SEC's (Section 31 of the Exchange Act, a rate of its dollars)
and FINRA's trading activity fee (a rate of its shares, capped for a trade). Alpaca adds up each of the two over the day
and charges the total rounded up to the cent (https://docs.alpaca.markets/docs/regulatory-fees). So what is
folded here is exact for each fill, and `charged` says what the day's total becomes.

The cap is that of an order, however many fills it came in.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from torghut_core.trading.model import Side

ZERO = Decimal(0)
_CENT = Decimal("0.01")

SEC_RATE = Decimal("0.0000206")
"""Dollars of each dollar sold: $20.60 a million, SEC fee rate advisory for fiscal year 2026, since 4 April 2026."""
TAF_PER_SHARE = Decimal("0.000195")
TAF_CAP = Decimal("9.79")
"""Dollars a share sold, and at most for an order: FINRA By-Laws, Schedule A, section 1, as of 1 January 2026."""


@dataclass(frozen=True, kw_only=True)
class FeeRates:
    """Dollars: of a dollar sold, of a share sold, at most of an order's shares sold, of a share bought or sold."""

    sec_rate: Decimal = SEC_RATE
    taf_per_share: Decimal = TAF_PER_SHARE
    taf_cap: Decimal = TAF_CAP
    commission_per_share: Decimal = ZERO


@dataclass(frozen=True, kw_only=True)
class Fees:
    """Dollars by kind, not rounded."""

    sec: Decimal = ZERO
    taf: Decimal = ZERO
    commission: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        return self.sec + self.taf + self.commission

    def __add__(self, other: Fees) -> Fees:
        return Fees(sec=self.sec + other.sec, taf=self.taf + other.taf, commission=self.commission + other.commission)


def fees_of_fill(side: Side, qty: Decimal, price: Decimal, *, before: Decimal, rates: FeeRates) -> Fees:
    """Return the fees that a fill of `qty` shares adds to those of its order, of which `before` shares had filled."""
    commission = qty * rates.commission_per_share
    if side == "buy":
        return Fees(commission=commission)
    taf = _taf(before + qty, rates) - _taf(before, rates)
    return Fees(sec=qty * price * rates.sec_rate, taf=taf, commission=commission)


def _taf(shares: Decimal, rates: FeeRates) -> Decimal:
    return min(shares * rates.taf_per_share, rates.taf_cap)


def charged(fees: Fees) -> Fees:
    """Return what a day's fees come to at the broker: each kind's total, rounded up to the cent."""
    return Fees(sec=_up(fees.sec), taf=_up(fees.taf), commission=_up(fees.commission))


def _up(dollars: Decimal) -> Decimal:
    # What a division left behind the twelfth place is no cent more.
    return round(dollars, 12).quantize(_CENT, rounding=ROUND_CEILING)
