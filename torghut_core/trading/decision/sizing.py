"""How many shares an intent stands for: a budget, the portfolio's room, and for sells what is there to sell. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Any

from torghut_core.trading.model import Side, Strategy
from torghut_core.trading.settings import TradingSettings


@dataclass(frozen=True, kw_only=True)
class Book:
    """What is held and what is on its way, projected over the orders accepted so far in this batch.

    Quantities are shares, values dollars. `pending_sells` are shares already promised to open sell orders.
    """

    equity: Decimal
    position_qty: Decimal
    position_value: Decimal
    pending_sells: Decimal
    gross_exposure: Decimal
    net_exposure: Decimal
    held_symbols: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Size:
    """A whole number of shares, the reason when it is none, and the audit trail for the decision."""

    qty: int
    reason: str | None
    audit: dict[str, Any]


@dataclass(frozen=True)
class _Cap:
    reason: str
    shares: Decimal


def size_intent(
    *,
    side: Side,
    symbol: str,
    price: Decimal,
    strategy: Strategy,
    book: Book,
    settings: TradingSettings,
    volatility: Decimal | None,
) -> Size:
    """Return the whole number of shares to trade at `price`; the binding constraint is the reason when it is none.

    A budget smaller than one share is no share: never a minimum that a later cap would refuse.
    """
    wanted, method = _budgeted_shares(price=price, strategy=strategy, book=book, settings=settings)
    scaled = _volatility_scaled(wanted, volatility, settings)
    caps = _caps(side=side, symbol=symbol, price=price, book=book, settings=settings)
    binding = min(caps, key=lambda cap: cap.shares, default=None)
    shares = scaled if binding is None else min(scaled, binding.shares)
    qty = max(0, int(shares.to_integral_value(ROUND_DOWN)))
    audit = {
        "method": method,
        "price": str(price),
        "wanted": str(wanted),
        "volatility_scaled": str(scaled),
        "caps": {cap.reason: str(cap.shares) for cap in caps},
        "qty": qty,
    }
    if qty > 0:
        return Size(qty=qty, reason=None, audit=audit)
    return Size(qty=0, reason="qty_below_min" if scaled < 1 or binding is None else binding.reason, audit=audit)


def _budgeted_shares(
    *, price: Decimal, strategy: Strategy, book: Book, settings: TradingSettings
) -> tuple[Decimal, str]:
    if settings.portfolio_notional_per_position is not None:
        return settings.portfolio_notional_per_position / price, "portfolio_notional_per_position"
    budgets = []
    if strategy.max_notional_per_trade is not None:
        budgets.append(("strategy_notional", strategy.max_notional_per_trade))
    if strategy.max_position_pct_equity is not None:
        budgets.append(("strategy_equity_pct", book.equity * strategy.max_position_pct_equity))
    if settings.max_notional_per_trade is not None:
        budgets.append(("global_notional", settings.max_notional_per_trade))
    if not budgets:
        return Decimal(settings.default_qty), "default_qty"
    method, budget = min(budgets, key=lambda named: named[1])
    return budget / price, method


def _volatility_scaled(shares: Decimal, volatility: Decimal | None, settings: TradingSettings) -> Decimal:
    if settings.portfolio_volatility_target is None or volatility is None:
        return shares
    divisor = max(volatility, settings.portfolio_volatility_floor)
    return shares * settings.portfolio_volatility_target / divisor if divisor > 0 else shares


def _caps(*, side: Side, symbol: str, price: Decimal, book: Book, settings: TradingSettings) -> list[_Cap]:
    caps: list[_Cap] = []
    available = max(Decimal(0), book.position_qty - book.pending_sells)
    if side == "sell" and not settings.allow_shorts:
        caps.append(_Cap("shorts_not_allowed" if book.position_qty <= 0 else "sell_inventory_unavailable", available))
    is_reducing = (side == "sell" and book.position_qty > 0) or (side == "buy" and book.position_qty < 0)
    if is_reducing:
        return caps
    limit = settings.portfolio_max_positions
    if limit is not None and symbol not in book.held_symbols and len(book.held_symbols) >= limit:
        caps.append(_Cap("max_positions_exceeded", Decimal(0)))
    if settings.portfolio_max_notional_per_symbol is not None:
        room = settings.portfolio_max_notional_per_symbol - abs(book.position_value)
        caps.append(_Cap("symbol_capacity_exhausted", room / price))
    gross = _smallest(settings.portfolio_max_gross, settings.portfolio_max_gross_pct, book.equity)
    if gross is not None:
        caps.append(_Cap("gross_exposure_capacity_exhausted", (gross - book.gross_exposure) / price))
    net = _smallest(settings.portfolio_max_net, settings.portfolio_max_net_pct, book.equity)
    if net is not None:
        room = net - book.net_exposure if side == "buy" else net + book.net_exposure
        caps.append(_Cap("net_exposure_capacity_exhausted", room / price))
    return caps


def _smallest(amount: Decimal | None, share_of_equity: Decimal | None, equity: Decimal) -> Decimal | None:
    limits = [amount, None if share_of_equity is None else equity * share_of_equity]
    return min((limit for limit in limits if limit is not None), default=None)
