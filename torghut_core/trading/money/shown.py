"""A statement as JSON, for the API and the report: every amount a number, and beside it its exact text."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from torghut_core.rfc3339 import format_ns
from torghut_core.trading.money.account import NOBODY
from torghut_core.trading.money.fees import Fees
from torghut_core.trading.money.statement import Drawdown, Point, Statement, Totals

_PLACES = 8
_MOST_POINTS = 1000


def statement_json(statement: Statement, names: Mapping[str, str]) -> dict[str, Any]:
    """Return totals, rows by day, strategy and symbol, open positions, curve and drawdown; `names` are strategies' by id."""
    account, total = statement.account, statement.total
    return {
        **totals_json(total),
        **amounts(unrealised=account.unrealised, profit=total.net + account.unrealised),
        "charged": fees_json(statement.charged),
        "days": [{"day": day, **totals_json(row)} for day, row in statement.by_day.items()],
        "strategies": [
            {"strategy_id": key or None, "strategy": _name(key, names), **totals_json(row)}
            for key, row in statement.by_strategy.items()
        ],
        "symbols": [{"symbol": symbol, **totals_json(row)} for symbol, row in statement.by_symbol.items()],
        "rows": [
            {"day": day.isoformat(), "strategy": _name(strategy, names), "symbol": symbol, **totals_json(row)}
            for (day, strategy, symbol), row in sorted(statement.rows.items())
        ],
        "positions": positions_json(statement, names),
        "drawdown": drawdown_json(statement.drawdown),
        "curve": curve_json(statement.curve),
    }


def positions_json(statement: Statement, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the open positions by strategy and symbol, nobody's known ones last."""
    account = statement.account
    found = []
    for key in sorted(statement.positions, key=lambda item: (item[0] == NOBODY, _name(item[0], names), item[1])):
        lot, price = account.lots[key], account.prices.get(key[1])
        found.append(
            {
                "strategy_id": key[0] or None,
                "strategy": _name(key[0], names),
                "symbol": key[1],
                **amounts(
                    qty=lot.qty,
                    average_price=lot.average_price,
                    price=price,
                    realised=lot.realised,
                    unrealised=account.unrealised_of(key),
                ),
            }
        )
    return found


def totals_json(row: Totals) -> dict[str, Any]:
    """Return one row's sums."""
    return {
        **amounts(
            realised=row.realised,
            net=row.net,
            bought_qty=row.bought_qty,
            bought=row.bought,
            sold_qty=row.sold_qty,
            sold=row.sold,
            foreign_proceeds=row.foreign,
        ),
        "fees": fees_json(row.fees),
        "fills": row.fills,
        "closes": row.closes,
        "wins": row.wins,
    }


def fees_json(fees: Fees) -> dict[str, Any]:
    """Return the fees by kind and in all."""
    return amounts(sec=fees.sec, taf=fees.taf, commission=fees.commission, total=fees.total)


def drawdown_json(found: Drawdown) -> dict[str, Any]:
    """Return the deepest fall from the best."""
    return {
        **amounts(dollars=found.dollars, share=found.share),
        "peak_at": None if found.peak_ns is None else format_ns(found.peak_ns),
        "trough_at": None if found.trough_ns is None else format_ns(found.trough_ns),
    }


def curve_json(curve: tuple[Point, ...]) -> list[dict[str, Any]]:
    """Return the curve, thinned to at most a thousand points, the last one kept."""
    step = max(1, -(-len(curve) // _MOST_POINTS))
    kept = [*curve[:-1][::step], *curve[-1:]]
    return [{"at": format_ns(point.at_ns), **amounts(equity=point.equity)} for point in kept]


def amounts(**values: Decimal | None) -> dict[str, Any]:
    """Return each amount rounded to eight places, as a number and as text."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found[name] = None if value is None else _number(value)
        found[f"{name}_text"] = None if value is None else _text(value)
    return found


def _number(value: Decimal) -> int | float:
    rounded = round(value, _PLACES)
    return int(rounded) if rounded == rounded.to_integral_value() else float(rounded)


def _text(value: Decimal) -> str:
    rounded = round(value, _PLACES).normalize()
    return f"{rounded if rounded else Decimal(0):f}"


def _name(strategy: str, names: Mapping[str, str]) -> str:
    return "nobody" if strategy == NOBODY else names.get(strategy, strategy)
