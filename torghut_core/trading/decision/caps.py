"""The limits of an order and of the book that results from it. Pure; None is no limit."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from torghut_core.trading.model import Strategy
from torghut_core.trading.settings import TradingSettings


@dataclass(frozen=True, kw_only=True)
class Caps:
    """Dollars, but for `positions`. Of two that say the same the smaller holds."""

    trade: Decimal | None
    symbol: Decimal | None
    position: Decimal | None
    """The smaller share of equity, in dollars, that a symbol may be worth."""
    strategy: Decimal | None
    gross: Decimal | None
    net: Decimal | None
    positions: int | None


def caps_of(settings: TradingSettings, strategy: Strategy, equity: Decimal) -> Caps:
    """Return the limits for an entry of `strategy` in an account worth `equity`."""
    share = smallest(strategy.max_position_pct_equity, settings.max_position_pct_equity)
    return Caps(
        trade=smallest(strategy.max_notional_per_trade, settings.max_notional_per_trade),
        symbol=settings.portfolio_max_notional_per_symbol,
        position=_of_equity(share, equity),
        strategy=strategy.max_notional_total,
        gross=smallest(settings.portfolio_max_gross, _of_equity(settings.portfolio_max_gross_pct, equity)),
        net=smallest(settings.portfolio_max_net, _of_equity(settings.portfolio_max_net_pct, equity)),
        positions=settings.portfolio_max_positions,
    )


def _of_equity(share: Decimal | None, equity: Decimal) -> Decimal | None:
    return None if share is None else max(Decimal(0), equity) * share


def smallest(*limits: Decimal | None) -> Decimal | None:
    """Return the smallest limit that is set."""
    return min((limit for limit in limits if limit is not None), default=None)
