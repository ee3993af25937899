"""The report from stored order events, beside the broker's own account, over a real database and HTTP."""

from __future__ import annotations

import asyncio
import time
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.trading_desk import Desk, open_desk
from tests.fakes.trading_values import NOW_NS, make_settings, make_signal
from torghut_core.engines.postgres import Postgres
from torghut_core.errors import ConfigurationError
from torghut_core.market_calendar import new_york_date
from torghut_core.simulator import process
from torghut_core.trading.leadership import ClaimRequest
from torghut_core.trading.model import OrderRequest, Side
from torghut_core.trading.orders.broker import Broker, BrokerUnavailableError
from torghut_core.trading.reporting import make_report
from torghut_core.trading.store.database import Database
from torghut_core.trading.store.money import MoneyStore

pytestmark = pytest.mark.engine
MONDAY = date(2026, 1, 5)


@pytest.fixture
async def broker(broker_server: Any) -> Any:
    made = broker_server.client(timeout_seconds=2)
    yield made
    await made.close()


@pytest.fixture
async def desk(postgres: Postgres, database: Database, broker: Any) -> Any:
    made = open_desk(postgres, database, broker)
    assert made.leadership.check(now_ns=NOW_NS) is True
    yield made
    made.leadership.release()


async def _trade(desk: Desk, state: Any, side: Side, price: str) -> None:
    """Fill ten shares at once at a price, and let the account's activities say so."""
    state.order_status = "filled"
    intent, decision_id = desk.plan(side=side, signal=make_signal(event_ns=NOW_NS + len(state.orders) * 10**9))
    order = OrderRequest(client_order_id=intent.key, symbol="AAPL", side=side, qty=Decimal(10))
    await desk.execution.submit(
        ClaimRequest(
            decision_id=decision_id,
            order=order,
            account_label="paper",
            leg="entry",
            strategy_id=desk.strategy.id,
            price=Decimal(100),
            reserved_notional=Decimal(0),
        )
    )
    kept = state.orders[intent.key]
    state.activities.append(
        {
            "id": f"20260105100000000::{len(state.activities)}",
            "activity_type": "FILL",
            "transaction_time": "2026-01-05T15:00:00Z",
            "price": price,
            "qty": "10",
            "side": side,
            "symbol": "AAPL",
            "order_id": kept["id"],
        }
    )


async def test_report_when_bought_and_sold_then_money_by_strategy_and_the_account_agrees(
    desk: Desk, database: Database, broker: Any, broker_server: Any
) -> None:
    """Bought and sold at 100.50: nothing gained but the fees of the sale; pages of activities are read to their end."""
    for side in ("buy", "sell", "buy"):
        await _trade(desk, broker_server.state, side, "100.5")  # type: ignore[arg-type]
    store = MoneyStore(database, account_label="paper")
    report = await make_report(store, make_settings(), broker=broker, first=MONDAY, last=MONDAY, now_ns=NOW_NS)
    document = report.document
    assert (document["realised"], document["fees"]["sec_text"], document["fees"]["taf_text"]) == (
        0,
        "0.020703",
        "0.00195",
    )
    assert (document["charged"]["total_text"], document["pricedBy"]) == ("0.04", "broker")
    assert [(row["strategy"], row["fills"]) for row in document["strategies"]] == [("macd-rsi", 3)]
    assert [(row["symbol"], row["qty"], row["price"]) for row in document["positions"]] == [("AAPL", 10, 100)]
    assert document["unrealised"] == -5
    assert document["broker"] == {
        "read": True, "detail": "", "comparedOrders": 3, "foreignFills": 0, "differences": []
    }  # fmt: skip
    tuesday = await make_report(
        store, make_settings(), broker=None, first=date(2026, 1, 6), last=date(2026, 1, 6), now_ns=NOW_NS
    )
    assert (tuesday.document["fills"], tuesday.curve, tuesday.document["broker"]["read"]) == (0, (), False)


async def test_report_when_the_account_says_otherwise_then_listed_and_unread_is_said(
    desk: Desk, database: Database, broker: Any, broker_server: Any
) -> None:
    """Another price, a person's fill; a broker that is down is no agreement; keys of another account are refused."""
    await _trade(desk, broker_server.state, "buy", "101")
    broker_server.state.activities.append({**broker_server.state.activities[0], "id": "z", "order_id": "a person's"})
    store = MoneyStore(database, account_label="paper")
    report = await make_report(store, make_settings(), broker=broker, first=MONDAY, last=MONDAY, now_ns=NOW_NS)
    [difference] = report.document["broker"]["differences"]
    assert (difference["what"], difference["ours_text"], difference["broker_text"]) == ("price_differs", "100.5", "101")
    assert report.document["broker"]["foreignFills"] == 1
    broker_server.state.fault = "down"
    unread = await make_report(store, make_settings(), broker=broker, first=MONDAY, last=MONDAY, now_ns=NOW_NS)
    assert (unread.document["broker"]["read"], unread.document["pricedBy"]) == (False, "fills")
    broker_server.state.fault = None
    live = make_settings(TRADING_LIVE_ACCOUNT=broker_server.state.number)
    with pytest.raises(ConfigurationError, match="TRADING_MODE=paper contradicts"):
        await make_report(store, live, broker=broker, first=MONDAY, last=MONDAY, now_ns=NOW_NS)


async def test_activities_when_they_fill_pages_then_each_once_and_a_page_that_stands_still_is_refused(
    broker: Any, broker_server: Any
) -> None:
    """A hundred a page, begun after the last one's id; an activity that cannot be read is no small thing."""
    fill = {
        "activity_type": "FILL", "transaction_time": "2026-01-05T15:00:00Z", "price": "1", "qty": "1", "side": "buy",
        "symbol": "AAPL", "order_id": "o",
    }  # fmt: skip
    broker_server.state.activities = [{**fill, "id": str(number)} for number in range(250)]
    found = await broker.activities(MONDAY, MONDAY)
    assert [activity.id for activity in found] == [str(number) for number in range(250)]
    broker_server.state.activities[3]["qty"] = "many"
    with pytest.raises(BrokerUnavailableError, match="an activity"):
        await broker.activities(MONDAY, MONDAY)


async def test_report_when_traded_at_the_simulator_then_its_account_agrees(
    postgres: Postgres, database: Database, tmp_path: Path
) -> None:
    """Bought and sold at a moving market, filled in its own time: not a share, not a cent of a price differs."""
    with process.running(
        tmp_path, ["--history-minutes", "1", "--calendar", "always-open", "--symbols", "AAPL"]
    ) as market:
        broker = Broker(base_url=market.http, key=process.KEY_ID, secret=process.SECRET_KEY, timeout_seconds=5)
        desk = open_desk(postgres, database, broker)
        assert desk.leadership.check(now_ns=NOW_NS) is True
        for number, side in enumerate(("buy", "sell")):
            intent, decision_id = desk.plan(side=side, signal=make_signal(event_ns=NOW_NS + number * 10**9))
            await desk.execution.submit(desk.request(intent, decision_id, qty=7))
            while desk.orders.open_executions():
                await desk.reconciler.refresh_executions()
                await asyncio.sleep(0.05)
        today = new_york_date(time.time_ns())
        store = MoneyStore(database, account_label="paper")
        report = await make_report(
            store, make_settings(), broker=broker, first=today - timedelta(days=1), last=today, now_ns=time.time_ns()
        )
        desk.leadership.release()
        await broker.close()
    document = report.document
    assert (document["bought_qty"], document["sold_qty"], document["positions"]) == (7, 7, [])
    assert document["realised"] == pytest.approx(document["sold"] - document["bought"])
    assert document["broker"] == {
        "read": True, "detail": "", "comparedOrders": 2, "foreignFills": 0, "differences": []
    }  # fmt: skip
