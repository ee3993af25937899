"""The simulator put together: one market, one account, one port."""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from torghut_core.errors import InputError
from torghut_core.exchange.broker import Broker
from torghut_core.exchange.ledger import Ledger
from torghut_core.exchange.orders import ApiError
from torghut_core.exchange.prices import Board
from torghut_core.market_calendar import MarketCalendar, new_york_date
from torghut_core.simulator.book import Book
from torghut_core.simulator.clock import MarketClock
from torghut_core.simulator.control import ControlApi
from torghut_core.simulator.distortion import Distortion
from torghut_core.simulator.faults import FaultPanel
from torghut_core.simulator.following import BrokerClock, Following, time_said
from torghut_core.simulator.generator import GeneratedSource
from torghut_core.simulator.market import Market, Source
from torghut_core.simulator.options import Options
from torghut_core.simulator.replay import ReplaySource
from torghut_core.simulator.rest_data import DataApi
from torghut_core.simulator.rest_trading import TradingApi
from torghut_core.simulator.stock_stream import Account, ConnectionSlot, StockSession
from torghut_core.simulator.trading_stream import TradingSession
from torghut_core.simulator.wire import Request, Response, SocketHandler, WebSocket, WireServer, json_response

MARGIN_MULTIPLIER = Decimal(2)
_STREAM_PATH = re.compile(r"/v2/([a-z_]+)|/v1beta1/(overnight)")
Handler = Callable[..., Response]


def open_source(options: Options, now_ns: int) -> tuple[Source, int]:
    """Return the market's source and the instant the market begins at.

    A generated market's source begins earlier, by its history. Raises InputError when a file cannot be used.
    """
    if options.file is not None:
        replay = ReplaySource(options.file)
        start_ns = options.start_ns(new_york_date(replay.first_ns))
        if start_ns is not None:
            replay = ReplaySource(options.file, start_ns)
        return replay, replay.first_ns
    origin_ns = options.start_ns(new_york_date(now_ns)) or now_ns
    source = GeneratedSource(
        seed=options.seed,
        symbols=options.symbols,
        start_ns=origin_ns - options.history_minutes * 60_000_000_000,
        calendar=options.calendar,
        late_trades=options.late_trades,
    )
    return source, origin_ns


class Simulator:
    """Everything behind the port. `now_ns` is the machine's time, where a generated market begins."""

    def __init__(self, options: Options, now_ns: int) -> None:
        source, start_ns = open_source(options, now_ns)
        calendar = MarketCalendar(options.calendar)
        self._account = Account(
            key_id=options.key_id,
            secret_key=options.secret_key,
            feeds=options.feeds,
            symbol_limit=options.symbol_limit,
            auth_seconds=options.auth_seconds,
        )
        self._slot = ConnectionSlot()
        self._faults = FaultPanel()
        self._faults.on_change = self._apply_fault
        self._trading_sessions: list[TradingSession] = []
        self._orders_wait = asyncio.Event()
        self._fault_switched = asyncio.Event()
        self._awaits_subscriber = options.hold
        book = Book()
        distortion = Distortion(self._faults, options.seed)
        self._clock = MarketClock(
            origin_ns=start_ns, speed=options.speed, path=options.clock_file, is_held=options.hold
        )
        board, broker_clock = Board(), BrokerClock(self._clock)
        self._broker = Broker(
            ledger=Ledger(cash=options.cash, multiplier=MARGIN_MULTIPLIER),
            prices=board,
            clock=broker_clock,
            calendar=calendar,
            seed=options.seed,
            refuses=lambda: self._faults.is_on("reject_orders"),
            charges_fees=options.fees,
        )
        self._following = Following(broker=self._broker, board=board, clock=broker_clock)
        self._broker.on_update = self._publish_update
        self._broker.on_submit = self._order_waits
        self._market = Market(
            source=source, book=book, broker=self._following, clock=self._clock, distortion=distortion
        )
        self._market.prefill(start_ns)
        self._broker.known_symbols |= source.symbols
        trading = TradingApi(
            broker=self._broker,
            clock=broker_clock,
            calendar=calendar,
            account_number=options.account_number,
            starting_cash=options.cash,
        )
        control = ControlApi(
            market=self._market,
            broker=self._broker,
            clock=self._clock,
            faults=self._faults,
            slot=self._slot,
            trading_sessions=self._trading_sessions,
        )
        self._routes = _routes(trading, DataApi(book=book, clock=self._clock), control)
        self.wire = WireServer(http=self._answer, sockets=self._route_socket)

    async def run(self) -> None:
        """Run market and broker until cancelled. Raises InputError when the recording cannot be read on."""
        admitting = asyncio.create_task(self._admit_orders(), name="broker")
        market = asyncio.create_task(self._market.run(), name="market")
        try:
            await market
            await admitting
        finally:
            for task in (market, admitting):
                task.cancel()
            await asyncio.gather(market, admitting, return_exceptions=True)

    def _order_waits(self) -> None:
        """Let an order into the market: at the instant that its client said, or as soon as the broker gets to it."""
        if self._following.is_following:
            self._broker.admit()
        else:
            self._orders_wait.set()

    async def _admit_orders(self) -> None:
        while True:
            await self._orders_wait.wait()
            self._orders_wait.clear()
            self._broker.admit()

    # HTTP.

    async def _answer(self, request: Request) -> Response:
        path = request.path
        if path.startswith("/v2/"):
            while self._faults.covers_path("http_timeout", path):
                await self._fault_switched.wait()
            if self._faults.covers_path("http_500", path):
                status = self._faults.parameter("http_500", "status")
                return json_response({"code": status * 100_000, "message": "internal server error"}, status)
            refusal = self._refusal(request)
            if refusal is not None:
                return refusal
        response = self._dispatch(request)
        is_order = request.method == "POST" and path == "/v2/orders"
        if is_order and self._faults.is_on("order_doubled"):
            response = self._dispatch(request)
        is_lost = is_order and response.status == 200 and self._faults.is_on("order_answer_lost")
        if is_lost or self._faults.covers_path("http_cut", path):
            return Response(is_cut=True)
        if self._faults.covers_path("http_late", path):
            await asyncio.sleep(self._faults.parameter("http_late", "ms") / 1000)
        return response

    def _refusal(self, request: Request) -> Response | None:
        key = request.headers.get("apca-api-key-id", "")
        secret = request.headers.get("apca-api-secret-key", "")
        if not key or not secret or self._faults.is_on("auth_401"):
            return json_response({"code": 40110000, "message": "request is not authorized"}, 401)
        is_known = hmac.compare_digest(key.encode(), self._account.key_id.encode()) and hmac.compare_digest(
            secret.encode(), self._account.secret_key.encode()
        )
        return None if is_known else json_response({"code": 40310000, "message": "forbidden."}, 403)

    def _dispatch(self, request: Request) -> Response:
        is_path_known = False
        for method, pattern, handler in self._routes:
            match = pattern.fullmatch(request.path)
            if match is None:
                continue
            is_path_known = True
            if method != request.method:
                continue
            try:
                said_ns = time_said(request.headers)
                if said_ns is not None:
                    self._following.follow(said_ns)
                return handler(request, **match.groupdict())
            except ApiError as error:
                return json_response(error.body, error.status)
            except InputError as error:
                return json_response({"code": 42210000, "message": str(error)}, 422)
        status = 405 if is_path_known else 404
        message = "method not allowed" if is_path_known else "endpoint not found"
        return json_response({"code": status * 100_000, "message": message}, status)

    # WebSockets.

    def _route_socket(self, request: Request) -> SocketHandler | Response | None:
        if request.path == "/stream":
            return self._serve_trading
        if _STREAM_PATH.fullmatch(request.path):
            if self._faults.is_on("upgrade_status"):
                seconds = self._faults.parameter("upgrade_status", "retry_after")
                headers = {"Retry-After": str(seconds)} if seconds else {}
                return Response(status=self._faults.parameter("upgrade_status", "status"), headers=headers)
            return self._serve_stock
        return None

    async def _serve_stock(self, websocket: WebSocket) -> None:
        match = _STREAM_PATH.fullmatch(websocket.request.path)
        assert match is not None
        session = StockSession(
            websocket, feed=match[1] or match[2], account=self._account, slot=self._slot, faults=self._faults
        )
        session.mute(self._is_mute())
        self._market.sessions.append(session)
        try:
            await session.serve(self._begin)
        finally:
            self._market.sessions.remove(session)

    def _begin(self) -> None:
        """Let a market run that was held for its first subscriber; a later hold is only ended by request."""
        if self._awaits_subscriber:
            self._awaits_subscriber = False
            self._clock.release()

    async def _serve_trading(self, websocket: WebSocket) -> None:
        session = TradingSession(websocket, account=self._account, faults=self._faults)
        self._trading_sessions.append(session)
        try:
            await session.serve()
        finally:
            self._trading_sessions.remove(session)

    def _publish_update(self, update: dict[str, Any]) -> None:
        for session in self._trading_sessions:
            session.publish(update)

    # Faults that act on what is connected already.

    def _is_mute(self) -> bool:
        return self._faults.is_on("silent_socket") and not self._faults.parameter("silent_socket", "pong")

    def _apply_fault(self, name: str) -> None:
        self._fault_switched.set()
        self._fault_switched = asyncio.Event()
        if name == "silent_socket":
            for session in self._market.sessions:
                session.mute(self._is_mute())
        elif name == "slow_reader":
            for session in tuple(self._market.sessions):
                session.end_if_slow()
        elif name == "trade_updates_disconnect" and self._faults.is_on(name):
            for trading in tuple(self._trading_sessions):
                trading.abort()


def _routes(trading: TradingApi, data: DataApi, control: ControlApi) -> list[tuple[str, re.Pattern[str], Handler]]:
    symbol, order = r"(?P<symbol>[^/]+)", r"(?P<order_id>[^/]+)"
    table: list[tuple[str, str, Handler]] = [
        ("GET", "/v2/account", trading.account),
        ("GET", "/v2/account/activities", trading.activities),
        ("GET", "/v2/account/activities/(?P<kind>[^/]+)", trading.activities_of),
        ("GET", "/v2/positions", trading.positions),
        ("GET", f"/v2/positions/{symbol}", trading.position),
        ("DELETE", f"/v2/positions/{symbol}", trading.close_position),
        ("POST", "/v2/orders", trading.submit_order),
        ("GET", "/v2/orders", trading.orders),
        ("DELETE", "/v2/orders", trading.cancel_orders),
        ("GET", "/v2/orders:by_client_order_id", trading.order_by_client_id),
        ("GET", f"/v2/orders/{order}", trading.order),
        ("DELETE", f"/v2/orders/{order}", trading.cancel_order),
        ("GET", "/v2/assets", trading.assets),
        ("GET", f"/v2/assets/{symbol}", trading.asset),
        ("GET", "/v2/clock", trading.clock),
        ("GET", "/v2/calendar", trading.calendar),
        ("GET", "/v2/stocks/bars", data.bars),
        ("GET", "/v2/stocks/trades", data.trades),
        ("GET", "/v2/stocks/quotes/latest", data.latest_quotes),
        ("GET", "/v2/stocks/trades/latest", data.latest_trades),
        ("GET", "/v2/stocks/snapshots", data.snapshots),
        ("GET", f"/v2/stocks/{symbol}/bars", data.symbol_bars),
        ("GET", f"/v2/stocks/{symbol}/trades", data.symbol_trades),
        ("GET", f"/v2/stocks/{symbol}/quotes/latest", data.symbol_latest_quote),
        ("GET", f"/v2/stocks/{symbol}/trades/latest", data.symbol_latest_trade),
        ("GET", f"/v2/stocks/{symbol}/snapshot", data.symbol_snapshot),
        ("GET", "/simulator/state", control.state),
        ("POST", "/simulator/speed", control.change_speed),
        ("POST", "/simulator/hold", control.hold),
        ("POST", "/simulator/resume", control.resume),
        ("GET", "/simulator/faults", control.faults),
        ("POST", "/simulator/faults", control.switch_fault),
        ("POST", "/simulator/occupy", control.occupy),
        ("POST", "/simulator/release", control.release),
        ("POST", "/simulator/disconnect", control.disconnect),
        ("POST", "/simulator/inject", control.inject),
    ]
    return [(method, re.compile(pattern), handler) for method, pattern, handler in table]
