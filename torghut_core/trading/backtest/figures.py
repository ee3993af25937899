"""The figures of a backtest, folded from its fills. Dollars, shares of one, seconds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from torghut_core.market_calendar import new_york_date
from torghut_core.rfc3339 import format_ns
from torghut_core.trading.backtest.outcomes import Outcome
from torghut_core.trading.backtest.recording import Floats, Ints, Recording
from torghut_core.trading.backtest.run import Result
from torghut_core.trading.model import Side
from torghut_core.trading.money.fees import fees_of_fill
from torghut_core.trading.orders.ledger import Lot

_MINUTE_NS = 60_000_000_000
_FEW_TRADES = 30
_MINUTES_A_YEAR = 252 * 390
_DAYS_A_YEAR = 252
_ENOUGH_DAYS = 20


@dataclass(frozen=True, kw_only=True)
class Trade:
    """One stay of a strategy in a symbol, from flat to flat."""

    strategy: str
    symbol: str
    opened_ns: int
    closed_ns: int
    profit: Decimal


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a backtest came to."""

    start_equity: Decimal
    end_equity: Decimal
    minutes: Ints
    """Ends of the minutes of the equity curve."""
    equity: Floats
    exposure: Floats
    """Gross value held over equity, at those minutes."""
    sharpe: float | None
    sharpe_period: str
    drawdown: float
    drawdown_ns: int | None
    trades: Sequence[Trade]
    turnover: Decimal
    fees: Decimal
    orders: Mapping[str, int]
    decisions: Mapping[str, int]
    reasons: Mapping[str, int]
    warnings: Sequence[str] = field(default_factory=tuple)

    @property
    def total_return(self) -> float:
        return float(self.end_equity / self.start_equity - 1)

    @property
    def hit_rate(self) -> float | None:
        """Share of the trades that were closed with a profit; None without one."""
        return sum(trade.profit > 0 for trade in self.trades) / len(self.trades) if self.trades else None


def figures_of(result: Result, recording: Recording, *, chosen_on_same_data: bool = False) -> Figures:
    """Return the figures of a result over the recording that it was made of."""
    fills = sorted(
        ((fill.at_ns, outcome, fill) for outcome in result.outcomes for fill in outcome.fills),
        key=lambda item: (item[0], item[1].key),
    )
    lots: dict[tuple[str, str], Lot] = {}
    opened: dict[tuple[str, str], int] = {}
    begun: dict[tuple[str, str], Decimal] = {}
    trades: list[Trade] = []
    turnover = Decimal(0)
    rates, done, fees = result.plan.settings.fee_rates, dict[str, Decimal](), dict[int, Decimal]()
    for at_ns, outcome, fill in fills:
        key = (outcome.strategy, outcome.symbol)
        before = lots.get(key, Lot())
        side: Side = "buy" if outcome.side == "buy" else "sell"
        after = before.after(side, fill.qty, fill.price)
        if before.qty == 0:
            opened[key], begun[key] = at_ns, before.realised
        if before.qty != 0 and (after.qty == 0 or (after.qty > 0) != (before.qty > 0)):
            trades.append(
                Trade(
                    strategy=key[0],
                    symbol=key[1],
                    opened_ns=opened[key],
                    closed_ns=at_ns,
                    profit=after.realised - begun[key],
                )
            )
            opened[key], begun[key] = at_ns, after.realised
        lots[key] = after
        turnover += fill.qty * fill.price
        cost = fees_of_fill(side, fill.qty, fill.price, before=done.get(outcome.key, Decimal(0)), rates=rates).total
        done[outcome.key] = done.get(outcome.key, Decimal(0)) + fill.qty
        fees[at_ns] = fees.get(at_ns, Decimal(0)) + cost
    total = sum(fees.values(), Decimal(0))
    minutes, equity, gross = _curve(result, recording, fills, fees)
    peak = np.maximum.accumulate(equity) if len(equity) else equity
    fallen = 1 - equity / peak if len(equity) else equity
    worst = int(np.argmax(fallen)) if len(fallen) else None
    sharpe, period = _sharpe(minutes, equity)
    return Figures(
        start_equity=result.plan.cash,
        end_equity=result.equity - total,
        minutes=minutes,
        equity=equity,
        exposure=gross / equity if len(equity) else gross,
        sharpe=sharpe,
        sharpe_period=period,
        drawdown=float(fallen[worst]) if worst is not None else 0.0,
        drawdown_ns=int(minutes[worst]) if worst is not None and fallen[worst] > 0 else None,
        trades=trades,
        turnover=turnover,
        fees=total,
        orders=Counter(outcome.order_status for outcome in result.outcomes if outcome.order_status is not None),
        decisions=Counter(outcome.status for outcome in result.outcomes),
        reasons=Counter(reason for outcome in result.outcomes for reason in outcome.reasons),
        warnings=_warnings(result, trades, chosen_on_same_data=chosen_on_same_data),
    )


def _warnings(result: Result, trades: Sequence[Trade], *, chosen_on_same_data: bool) -> tuple[str, ...]:
    found = [
        f"{strategy.name} judges {strategy.timeframe} rows, and these data hold {' and '.join(result.timeframes)} alone: it was asked nothing"
        for strategy in result.strategies
        if strategy.is_enabled and strategy.timeframe not in result.timeframes
    ]
    found += [
        f"{name} failed (times: {count}), and nothing was traded for it then; the last time: {said}"
        for name, (count, said) in sorted(result.failures.items())
    ]
    if len(trades) < _FEW_TRADES:
        found.append(f"closed trades ({len(trades)}) are fewer than {_FEW_TRADES}: the result may be chance")
    if chosen_on_same_data:
        found.append("the parameters were chosen on these very data: the result says nothing of others")
    if result.held:
        held = ", ".join(f"{qty.normalize():f} {symbol}" for symbol, qty in sorted(result.held.items()))
        found.append(f"still held at the end, at the last price: {held}")
    return tuple(found)


def _curve(
    result: Result, recording: Recording, fills: Sequence[tuple[int, Outcome, Any]], fees: Mapping[int, Decimal]
) -> tuple[Ints, Floats, Floats]:
    """Return minutes, equity and gross value held: cash and holdings at each minute's last close."""
    first, last = result.first_ns // _MINUTE_NS + 1, result.last_ns // _MINUTE_NS + 1
    minutes = np.arange(first, last + 1, dtype=np.int64) * _MINUTE_NS
    cash = np.full(len(minutes), float(result.plan.cash))
    held: dict[str, Floats] = {}
    for at_ns, outcome, fill in fills:
        start = int(np.searchsorted(minutes, at_ns))
        signed = float(fill.qty) * (1 if outcome.side == "buy" else -1)
        cash[start:] -= signed * float(fill.price)
        held.setdefault(outcome.symbol, np.zeros(len(minutes)))[start:] += signed
    for at_ns, cost in fees.items():
        cash[int(np.searchsorted(minutes, at_ns)) :] -= float(cost)
    equity, gross, has_rows = cash, np.zeros(len(minutes)), np.zeros(len(minutes), np.bool_)
    for symbol in sorted({series.symbol for series in recording.series}):
        finest = max((each for each in recording.series if each.symbol == symbol), key=len)
        at = np.searchsorted(finest.event_ns, minutes, side="right") - 1
        previous = np.concatenate([[-1], at[:-1]])
        has_rows |= at > previous
        if symbol in held:
            value = held[symbol] * np.where(at >= 0, finest.columns["close"][np.maximum(at, 0)], 0.0)
            equity = equity + value
            gross += np.abs(value)
    # Nights and silences are no minutes: nothing was earned or risked in them that a later one does not show.
    return minutes[has_rows], equity[has_rows], gross[has_rows]


def _sharpe(minutes: Ints, equity: Floats) -> tuple[float | None, str]:
    """Return mean over deviation of the returns, a year's worth: of days where there are enough, else of minutes."""
    days = [new_york_date(int(ns)) for ns in minutes]
    lasts = [at for at in range(len(days)) if at + 1 == len(days) or days[at] != days[at + 1]]
    if len(lasts) >= _ENOUGH_DAYS:
        points, a_year, period = equity[lasts], _DAYS_A_YEAR, "daily returns, times the root of 252"
    else:
        points, a_year, period = equity, _MINUTES_A_YEAR, "one-minute returns, times the root of 252 x 390"
    if len(points) < 3:
        return None, period
    returns = np.diff(points) / points[:-1]
    deviation = float(returns.std(ddof=1))
    return (float(returns.mean()) / deviation * math.sqrt(a_year) if deviation > 0 else None), period


def summary(result: Result, figures: Figures) -> dict[str, Any]:
    """Return the report as a JSON object; the same input gives the same bytes."""
    plan = result.plan
    exposed = figures.exposure
    return {
        "schemaVersion": "torghut.backtest/v1",
        "from": format_ns(result.first_ns),
        "to": format_ns(result.last_ns),
        "symbols": list(result.symbols),
        "strategies": [strategy.name for strategy in result.strategies if strategy.is_enabled],
        "fills": plan.fills,
        "seed": plan.seed,
        "latencyMs": plan.settings.simulated_latency_ms,
        "startEquity": _money(figures.start_equity),
        "endEquity": _money(figures.end_equity),
        "profit": _money(figures.end_equity - figures.start_equity),
        "return": _share(figures.total_return),
        "sharpe": {"value": None if figures.sharpe is None else round(figures.sharpe, 2), "of": figures.sharpe_period},
        "maxDrawdown": {
            "share": _share(figures.drawdown),
            "at": None if figures.drawdown_ns is None else format_ns(figures.drawdown_ns),
        },
        "trades": len(figures.trades),
        "hitRate": None if figures.hit_rate is None else _share(figures.hit_rate),
        "exposure": {
            "timeHeld": _share(float((exposed > 0).mean())) if len(exposed) else 0.0,
            "mean": _share(float(exposed.mean())) if len(exposed) else 0.0,
            "max": _share(float(exposed.max())) if len(exposed) else 0.0,
        },
        "turnover": _money(figures.turnover),
        "fees": _money(figures.fees),
        "orders": dict(sorted(figures.orders.items())),
        "decisions": dict(sorted(figures.decisions.items())),
        "reasons": dict(sorted(figures.reasons.items(), key=lambda item: (-item[1], item[0]))),
        "rows": result.rows,
        "instants": result.steps,
        "held": {symbol: f"{qty.normalize():f}" for symbol, qty in sorted(result.held.items())},
        "warnings": list(figures.warnings),
    }


def _money(value: Decimal) -> float:
    return float(round(value, 2))


def _share(value: float) -> float:
    return round(value, 6)
