"""alpaca-py's own clients work against the simulator, unchanged but for their addresses."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from torghut_core.simulator.process import KEY_ID, SECRET_KEY, SimulatorProcess

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # alpaca-py imports the older half of websockets
    from alpaca.common.exceptions import APIError
    from alpaca.data.historical import StockHistoricalDataClient
    from alpaca.data.live import StockDataStream
    from alpaca.data.requests import (
        StockBarsRequest,
        StockLatestQuoteRequest,
        StockLatestTradeRequest,
        StockSnapshotRequest,
        StockTradesRequest,
    )
    from alpaca.data.timeframe import TimeFrame
    from alpaca.trading.client import TradingClient
    from alpaca.trading.enums import OrderSide, QueryOrderStatus, TimeInForce
    from alpaca.trading.requests import (
        GetCalendarRequest,
        GetOrdersRequest,
        LimitOrderRequest,
        MarketOrderRequest,
        StopLimitOrderRequest,
        StopOrderRequest,
    )
    from alpaca.trading.stream import TradingStream

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture
def trading(simulator: SimulatorProcess) -> TradingClient:
    """Return alpaca-py's trading client on the simulator."""
    return TradingClient(KEY_ID, SECRET_KEY, paper=True, url_override=simulator.http)


@pytest.fixture
def data(simulator: SimulatorProcess) -> StockHistoricalDataClient:
    """Return alpaca-py's data client on the simulator."""
    return StockHistoricalDataClient(KEY_ID, SECRET_KEY, url_override=simulator.http)


@asynccontextmanager
async def streaming(stream: Any) -> AsyncIterator[None]:
    """Run an alpaca-py stream while the block does."""
    task = asyncio.create_task(stream._run_forever())
    try:
        yield
    finally:
        await stream.stop_ws()
        await stream.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def market_order(symbol: str, qty: float, side: OrderSide, client_order_id: str | None = None) -> MarketOrderRequest:
    """Return a day order at the market."""
    return MarketOrderRequest(
        symbol=symbol, qty=qty, side=side, time_in_force=TimeInForce.DAY, client_order_id=client_order_id
    )


async def test_stock_stream_when_subscribed_then_typed_trades_quotes_and_bars_arrive(start_simulator: Any) -> None:
    """The stock stream, msgpack as alpaca-py asks for it, delivers parsed messages with exact times."""
    simulator = start_simulator("--speed", "60")
    seen: dict[str, list[Any]] = {"Trade": [], "Quote": [], "Bar": []}
    has_all = asyncio.Event()

    async def note(message: Any) -> None:
        seen[type(message).__name__].append(message)
        if all(seen.values()):
            has_all.set()

    stream = StockDataStream(KEY_ID, SECRET_KEY, url_override=f"{simulator.ws}/v2/iex")
    stream.subscribe_trades(note, "AAPL")
    stream.subscribe_quotes(note, "*")
    stream.subscribe_bars(note, "AAPL", "MSFT")
    async with streaming(stream), asyncio.timeout(20):
        await has_all.wait()
    assert {message.symbol for message in seen["Trade"]} == {"AAPL"}
    quote = seen["Quote"][0]
    assert quote.ask_price > quote.bid_price > 0
    assert seen["Bar"][0].timestamp.second == 0
    assert seen["Bar"][0].high >= seen["Bar"][0].low


async def test_trading_stream_when_an_order_fills_then_new_and_fill_arrive(
    simulator: SimulatorProcess, trading: TradingClient
) -> None:
    """The trading stream reports an order's life, with the position after each fill."""
    updates: list[Any] = []
    is_filled = asyncio.Event()

    async def note(update: Any) -> None:
        updates.append(update)
        if update.event == "fill":
            is_filled.set()

    stream = TradingStream(KEY_ID, SECRET_KEY, paper=True, url_override=f"{simulator.ws}/stream")
    stream.subscribe_trade_updates(note)
    async with streaming(stream), asyncio.timeout(20):
        while (await asyncio.to_thread(simulator.state))["connections"]["listening"] == 0:
            pass
        order = await asyncio.to_thread(trading.submit_order, market_order("AAPL", 5, OrderSide.BUY))
        await is_filled.wait()
    assert [update.event for update in updates] == ["new", "fill"]
    assert updates[-1].order.id == order.id
    assert (updates[-1].position_qty, updates[-1].qty) == (5.0, 5.0)


def test_trading_client_when_an_order_is_placed_then_account_and_position_follow(trading: TradingClient) -> None:
    """A bought position costs its fill, and equity is cash plus its value."""
    order = trading.submit_order(market_order("AAPL", 10, OrderSide.BUY, "first"))
    filled = trading.get_order_by_client_id("first")
    while filled.status != "filled":
        filled = trading.get_order_by_id(order.id)
    position = trading.get_open_position("AAPL")
    account = trading.get_account()
    cost = Decimal(filled.filled_avg_price) * 10
    assert Decimal(account.cash) == Decimal(100_000) - cost
    assert Decimal(position.cost_basis) == cost
    assert (position.qty, position.side) == ("10", "long")
    assert [each.symbol for each in trading.get_all_positions()] == ["AAPL"]
    assert account.account_number == "PA0SIMULATED"


def test_trading_client_when_a_client_order_id_is_used_twice_then_the_second_is_refused(trading: TradingClient) -> None:
    """A client's order id is taken once, and the order stays findable by it."""
    first = trading.submit_order(market_order("AAPL", 1, OrderSide.BUY, "only-once"))
    with pytest.raises(APIError) as refusal:
        trading.submit_order(market_order("AAPL", 1, OrderSide.BUY, "only-once"))
    assert (refusal.value.status_code, refusal.value.code) == (422, 40010001)
    assert trading.get_order_by_client_id("only-once").id == first.id


def test_trading_client_when_the_answer_is_lost_then_the_order_is_found_by_its_client_id(
    simulator: SimulatorProcess, trading: TradingClient
) -> None:
    """An order whose answer was lost was accepted once, and asking for its id finds it."""
    simulator.switch_fault("order_answer_lost")
    with pytest.raises(OSError, match=r"aborted|reset|closed"):
        trading.submit_order(market_order("AAPL", 1, OrderSide.BUY, "lost"))
    simulator.switch_fault("order_answer_lost", on=False)
    assert trading.get_order_by_client_id("lost").client_order_id == "lost"
    assert simulator.state()["orders"] == 1


def test_trading_client_when_an_order_is_delivered_twice_then_it_exists_once_and_the_answer_says_taken(
    simulator: SimulatorProcess, trading: TradingClient
) -> None:
    """Something in between sent it again: the broker took it, and says to the second that the id is taken."""
    simulator.switch_fault("order_doubled")
    with pytest.raises(APIError) as refusal:
        trading.submit_order(market_order("AAPL", 1, OrderSide.BUY, "doubled"))
    assert (refusal.value.status_code, refusal.value.code) == (422, 40010001)
    simulator.switch_fault("order_doubled", on=False)
    assert trading.get_order_by_client_id("doubled").client_order_id == "doubled"
    assert simulator.state()["orders"] == 1


def test_trading_client_when_answers_are_cut_or_late_then_what_was_asked_is_done(
    simulator: SimulatorProcess, trading: TradingClient
) -> None:
    """A question's answer is lost as an order's is; a late answer is the right one."""
    simulator.switch_fault("http_cut", path="/v2/account")
    with pytest.raises(OSError, match=r"aborted|reset|closed"):
        trading.get_account()
    simulator.switch_fault("http_cut", on=False)
    simulator.switch_fault("http_late", ms=1, path="/v2/orders")
    assert trading.submit_order(market_order("AAPL", 1, OrderSide.BUY, "late")).client_order_id == "late"


def test_trading_client_when_the_account_cannot_bear_it_then_403(trading: TradingClient) -> None:
    """More than the buying power, and more than the holding, are refused with Alpaca's code."""
    with pytest.raises(APIError) as poor:
        trading.submit_order(market_order("AAPL", 1_000_000, OrderSide.BUY))
    assert (poor.value.status_code, poor.value.code) == (403, 40310000)
    assert poor.value.message == "insufficient buying power"
    with pytest.raises(APIError) as unknown:
        trading.get_order_by_client_id("never-sent")
    assert unknown.value.status_code == 404


def test_trading_client_when_orders_rest_then_they_are_listed_and_cancelled(trading: TradingClient) -> None:
    """Limit, stop and stop-limit orders away from the market rest until they are cancelled."""
    common = {"symbol": "AAPL", "qty": 1, "side": OrderSide.BUY, "time_in_force": TimeInForce.GTC}
    limit = trading.submit_order(LimitOrderRequest(**common, limit_price=1.0))
    trading.submit_order(StopOrderRequest(**common, stop_price=9999.0))
    trading.submit_order(StopLimitOrderRequest(**common, stop_price=9998.0, limit_price=9999.0))
    still_open = trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.OPEN, nested=True, symbols=["AAPL"]))
    assert len(still_open) == 3
    trading.cancel_order_by_id(limit.id)
    assert trading.get_order_by_id(limit.id).status == "canceled"
    assert [answer.status for answer in trading.cancel_orders()] == [200, 200]
    with pytest.raises(APIError) as refusal:
        trading.cancel_order_by_id(limit.id)
    assert refusal.value.status_code == 422
    closed = trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.CLOSED, limit=2))
    assert [order.type for order in closed] == ["stop_limit", "stop"]


def test_trading_client_when_asked_for_assets_clock_and_calendar_then_it_parses_them(trading: TradingClient) -> None:
    """Reference answers have the shapes alpaca-py expects."""
    assert {asset.symbol for asset in trading.get_all_assets()} == {"AAPL", "MSFT", "NVDA", "AMZN", "TSLA"}
    assert trading.get_asset("MSFT").tradable is True
    assert trading.get_clock().is_open is True
    days = trading.get_calendar(GetCalendarRequest(start="2026-01-05", end="2026-01-06"))
    assert [day.date.isoformat() for day in days] == ["2026-01-05", "2026-01-06"]


def test_data_client_when_asked_for_history_then_it_is_complete(
    start_simulator: Any,
) -> None:
    """Bars and trades of the market's past come complete, and agree with each other."""
    simulator = start_simulator("--start", "2026-01-05T15:00:00Z", "--history-minutes", "10", "--hold")
    client = StockHistoricalDataClient(KEY_ID, SECRET_KEY, url_override=simulator.http)
    start, end = datetime(2026, 1, 5, 14, 50, tzinfo=UTC), datetime(2026, 1, 5, 15, 0, tzinfo=UTC)
    bars = client.get_stock_bars(
        StockBarsRequest(symbol_or_symbols=["AAPL", "MSFT"], timeframe=TimeFrame.Minute, start=start, end=end)
    )
    assert [bar.timestamp for bar in bars["AAPL"]] == [start + timedelta(minutes=n) for n in range(10)]
    trades = client.get_stock_trades(StockTradesRequest(symbol_or_symbols="AAPL", start=start, end=end))["AAPL"]
    assert sum(bar.trade_count for bar in bars["AAPL"]) == len(trades)
    some = client.get_stock_trades(StockTradesRequest(symbol_or_symbols="AAPL", start=start, end=end, limit=7))["AAPL"]
    assert some == trades[:7]


def test_data_client_when_asked_for_the_newest_then_quote_trade_and_snapshot_agree(
    start_simulator: Any,
) -> None:
    """The newest quote and trade are those of the snapshot while the market is held."""
    simulator = start_simulator("--hold")
    client = StockHistoricalDataClient(KEY_ID, SECRET_KEY, url_override=simulator.http)
    quote = client.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="AAPL"))["AAPL"]
    trade = client.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="AAPL"))["AAPL"]
    snapshot = client.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols="AAPL"))["AAPL"]
    assert quote.bid_price < quote.ask_price
    assert (snapshot.latest_quote, snapshot.latest_trade) == (quote, trade)


def test_trading_client_when_the_key_is_wrong_then_it_is_refused(simulator: SimulatorProcess) -> None:
    """A wrong key is forbidden."""
    with pytest.raises(APIError) as refusal:
        TradingClient("wrong", SECRET_KEY, paper=True, url_override=simulator.http).get_account()
    assert refusal.value.status_code == 403
