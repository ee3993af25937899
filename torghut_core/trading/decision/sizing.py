"""How many shares an entry stands for: a budget, shrunk to the room that each cap leaves. Pure.

What it returns is only a wish: the gates ask every cap again, over the book that would result.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from torghut_core.trading.decision.book import Book
from torghut_core.trading.decision.caps import Caps, caps_of, smallest
from torghut_core.trading.decision.terms import in_lots
from torghut_core.trading.model import Side, Strategy
from torghut_core.trading.settings import TradingSettings

_ZERO = Decimal(0)


@dataclass(frozen=True, kw_only=True)
class Size:
    """Shares, the reason when there are none, and the audit trail for the decision."""

    qty: Decimal
    reason: str | None
    audit: dict[str, Any]


@dataclass(frozen=True)
class _Room:
    reason: str
    dollars: Decimal


def size_entry(
    *,
    side: Side,
    symbol: str,
    price: Decimal,
    strategy: Strategy,
    book: Book,
    settings: TradingSettings,
    volatility: Decimal | None,
    is_fractional: bool = False,
    qty: Decimal | None = None,
    budget: Decimal | None = None,
) -> Size:
    """Return the shares to open at `price`; the binding constraint is the reason when there are none.

    `qty` (shares) or `budget` (dollars) are what the rule asks for: no more than that, and no more than the budgets of
    strategy and settings where there are any.

    A budget smaller than the smallest lot is no share: never a minimum that a later cap would refuse.
    """
    wanted, method = _budgeted_shares(price=price, strategy=strategy, book=book, settings=settings)
    asked = qty if qty is not None else None if budget is None else budget / price
    if asked is not None and (method == "default_qty" or asked < wanted):
        wanted, method = asked, "proposal_qty" if qty is not None else "proposal_budget"
    scaled = _volatility_scaled(wanted, volatility, settings)
    rooms = _rooms(side, symbol, book, caps_of(settings, strategy, book.equity), strategy)
    binding = min(rooms, key=lambda room: room.dollars, default=None)
    dearest = max(price, book.price(symbol) or price)
    shares = scaled if binding is None else min(scaled, binding.dollars / dearest)
    qty = in_lots(max(_ZERO, shares), is_fractional=is_fractional)
    audit = {
        "method": method,
        "price": str(price),
        "wanted": str(wanted),
        "volatility_scaled": str(scaled),
        "rooms": {room.reason: str(room.dollars) for room in rooms},
        "qty": str(qty),
    }
    if qty > 0:
        return Size(qty=qty, reason=None, audit=audit)
    is_budget = in_lots(max(_ZERO, scaled), is_fractional=is_fractional) == 0
    return Size(qty=_ZERO, reason="qty_below_min" if is_budget or binding is None else binding.reason, audit=audit)


def _budgeted_shares(
    *, price: Decimal, strategy: Strategy, book: Book, settings: TradingSettings
) -> tuple[Decimal, str]:
    if settings.portfolio_notional_per_position is not None:
        budget = smallest(settings.portfolio_notional_per_position, strategy.max_notional_per_trade)
        assert budget is not None
        return budget / price, "portfolio_notional_per_position"
    budgets = []
    if strategy.max_notional_per_trade is not None:
        budgets.append(("strategy_notional", strategy.max_notional_per_trade))
    if strategy.max_position_pct_equity is not None:
        budgets.append(("strategy_equity_pct", book.equity * strategy.max_position_pct_equity))
    if settings.max_notional_per_trade is not None:
        budgets.append(("global_notional", settings.max_notional_per_trade))
    if not budgets:
        return Decimal(settings.default_qty), "default_qty"
    method, dollars = min(budgets, key=lambda named: named[1])
    return dollars / price, method


def _volatility_scaled(shares: Decimal, volatility: Decimal | None, settings: TradingSettings) -> Decimal:
    if settings.portfolio_volatility_target is None or volatility is None:
        return shares
    divisor = max(volatility, settings.portfolio_volatility_floor)
    return shares * settings.portfolio_volatility_target / divisor if divisor > 0 else shares


def _rooms(side: Side, symbol: str, book: Book, caps: Caps, strategy: Strategy) -> list[_Room]:
    rooms: list[_Room] = []
    if caps.positions is not None and symbol not in book.symbols and len(book.symbols) >= caps.positions:
        rooms.append(_Room("max_positions_exceeded", _ZERO))
    if caps.trade is not None:
        rooms.append(_Room("max_notional_exceeded", caps.trade))
    # Only what widens the symbol counts against it: the side's own end of the span.
    low, high = book.span(symbol)
    own = (high if side == "buy" else -low) * (book.price(symbol) or _ZERO)
    if caps.symbol is not None:
        rooms.append(_Room("symbol_capacity_exhausted", caps.symbol - own))
    if caps.position is not None:
        rooms.append(_Room("max_position_pct_exceeded", caps.position - own))
    if caps.strategy is not None:
        room = caps.strategy - book.strategy_exposure(strategy.id)
        rooms.append(_Room("strategy_capacity_exhausted", room))
    if caps.gross is not None:
        others = book.gross - book.exposure(symbol)
        rooms.append(_Room("gross_exposure_capacity_exhausted", caps.gross - others - own))
    if caps.net is not None:
        net = book.net(side)
        room = caps.net - net if side == "buy" else caps.net + net
        rooms.append(_Room("net_exposure_capacity_exhausted", room))
    return rooms
