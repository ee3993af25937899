"""Order type, limit and stop of an entry, on the exchange's price grid. Pure.

Ticks: SEC rule 612, a cent from one dollar up, a hundredth of a cent below.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal

from torghut_core.trading.model import OrderType, Side, Strategy

_ONE = Decimal(1)
_CENT, _SUB_CENT = Decimal("0.01"), Decimal("0.0001")
_BPS = Decimal(10_000)
_LOT, _PART = Decimal(1), Decimal("0.000001")


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How an order is to be sent; prices stand on the grid."""

    type: OrderType = "market"
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


def entry_terms(strategy: Strategy, side: Side, price: Decimal, *, limit: Decimal | None = None) -> Terms:
    """Return the terms of an entry at `price`, the quote's side that it would meet; `limit` is one that the rule set.

    A limit stands `price_offset_bps` beyond the price, so that it can be met; a stop as far beyond it, so that it waits
    for the market to come there. Both are rounded away from a worse price than meant: a buy's limit down, its stop up.
    """
    if limit is not None:
        return Terms(type="limit", limit_price=on_grid(limit, is_up=side == "sell"))
    direction = _ONE if side == "buy" else -_ONE
    beyond = price * (_ONE + direction * strategy.price_offset_bps / _BPS)
    limit = on_grid(beyond, is_up=side == "sell")
    stop = on_grid(beyond, is_up=side == "buy")
    if strategy.order_type == "limit":
        return Terms(type="limit", limit_price=limit)
    if strategy.order_type == "stop":
        return Terms(type="stop", stop_price=stop)
    if strategy.order_type == "stop_limit":
        return Terms(type="stop_limit", limit_price=stop, stop_price=stop)
    return Terms()


def on_grid(price: Decimal, *, is_up: bool) -> Decimal:
    """Return the next price on the grid, above or below; never zero."""
    tick = _CENT if price >= _ONE else _SUB_CENT
    rounded = (price / tick).to_integral_value(ROUND_CEILING if is_up else ROUND_FLOOR) * tick
    return max(rounded, tick)


def in_lots(shares: Decimal, *, is_fractional: bool) -> Decimal:
    """Return the shares that can be ordered of `shares`: whole ones, or millionths where the asset allows; never up."""
    lot = _PART if is_fractional else _LOT
    return max(Decimal(0), (shares / lot).to_integral_value(ROUND_DOWN) * lot)
