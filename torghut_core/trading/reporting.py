"""The report of some days' trading: the statement from the database, and what the broker's own account says otherwise."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import date
from typing import Any

from torghut_core.market_calendar import new_york_date
from torghut_core.trading.money.differences import Comparison, compare, in_span
from torghut_core.trading.money.events import Event, Mark, Trade
from torghut_core.trading.money.fees import charged
from torghut_core.trading.money.shown import amounts, statement_json
from torghut_core.trading.money.statement import Point, Statement, make_statement
from torghut_core.trading.orders.activities import Activity
from torghut_core.trading.orders.broker import Broker, BrokerUnavailableError
from torghut_core.trading.settings import TradingSettings, check_broker_account
from torghut_core.trading.store.money import MoneyStore

SCHEMA_VERSION = "torghut.trading-report/v1"


@dataclass(frozen=True, kw_only=True)
class Report:
    """The report's document, and the curve it was made from."""

    document: dict[str, Any]
    curve: tuple[Point, ...]


async def make_report(
    store: MoneyStore, settings: TradingSettings, *, broker: Broker | None, first: date, last: date, now_ns: int
) -> Report:
    """Return the report of the New York days `first` to `last`, both included. Reads only.

    Without a broker, or where it does not answer, positions are priced by their newest own fill and nothing is compared;
    the document says so. Raises EngineUnavailableError, and ConfigurationError for the keys of another account.
    """
    events: list[Event] = list(await asyncio.to_thread(store.events))
    names, orders = await asyncio.to_thread(store.names), await asyncio.to_thread(store.order_ids)
    marks, activities, trouble = await _ask(broker, settings, first, last, now_ns)
    statement = make_statement([*events, *marks], rates=settings.fee_rates, first=first, last=last)
    trades = [event for event in events if isinstance(event, Trade) and in_span(event.at_ns, first, last)]
    comparison = None if activities is None else _compare(statement, trades, activities, orders)
    document = {
        "schemaVersion": SCHEMA_VERSION,
        "account": settings.account_label,
        "from": first.isoformat(),
        "to": last.isoformat(),
        "pricedBy": "broker" if marks else "fills",
        **statement_json(statement, names),
        "broker": {"read": comparison is not None, "detail": trouble, **_comparison_json(comparison)},
    }
    return Report(document=document, curve=statement.curve)


async def _ask(
    broker: Broker | None, settings: TradingSettings, first: date, last: date, now_ns: int
) -> tuple[list[Mark], tuple[Activity, ...] | None, str]:
    if broker is None:
        return [], None, "APCA_API_KEY_ID and APCA_API_SECRET_KEY are not set"
    try:
        check_broker_account(settings, (await broker.account()).number)
        activities = await broker.activities(first, last)
        # A position's price is today's: it says nothing of the end of another day.
        held = await broker.positions() if last >= new_york_date(now_ns) else {}
    except BrokerUnavailableError as error:
        return [], None, str(error)
    return [Mark(at_ns=now_ns, symbol=name, price=position.price) for name, position in held.items()], activities, ""


def _compare(
    statement: Statement, trades: list[Trade], activities: tuple[Activity, ...], orders: frozenset[str]
) -> Comparison:
    by_day = {date.fromisoformat(day): charged(row.fees) for day, row in statement.by_day.items()}
    return compare(trades, activities, own_orders=orders, charged=by_day)


def _comparison_json(comparison: Comparison | None) -> dict[str, Any]:
    if comparison is None:
        return {"comparedOrders": 0, "foreignFills": 0, "differences": []}
    return {
        "comparedOrders": comparison.compared_orders,
        "foreignFills": comparison.foreign_fills,
        "differences": [
            {
                "what": item.what,
                "about": item.about,
                "symbol": item.symbol,
                **amounts(ours=item.ours, broker=item.broker),
            }
            for item in comparison.differences
        ],
    }
