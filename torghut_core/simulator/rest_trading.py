"""REST of the trading side: account, positions, orders, assets, clock, calendar.

Answers have the shapes of https://docs.alpaca.markets/reference; numbers are texts there, and so they are here.
Replacing an order (PATCH) and notional orders are not offered.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import msgspec

from torghut_core import market_calendar_table
from torghut_core.clock import NANOS_PER_SECOND, Clock, utc_datetime
from torghut_core.exchange.broker import Broker, asset_id
from torghut_core.exchange.ledger import Position, plain
from torghut_core.exchange.orders import ApiError, Order, invalid, parse_order
from torghut_core.exchange.query import limit_of, symbols_of, time_of
from torghut_core.exchange.shapes import account_fields, asset_fields, position_fields
from torghut_core.market_calendar import NEW_YORK, MarketCalendar, Session, new_york_date, trading_day
from torghut_core.simulator.wire import Request, Response, json_response

_MAX_ORDERS = 500
_ALWAYS_OPEN_DAYS = 36_500


class TradingApi:
    """Handlers of the trading routes; each returns an answer or raises ApiError."""

    def __init__(
        self,
        *,
        broker: Broker,
        clock: Clock,
        calendar: MarketCalendar,
        account_number: str,
        starting_cash: Decimal,
    ) -> None:
        self._broker = broker
        self._clock = clock
        self._calendar = calendar
        self._account_number = account_number
        self._starting_cash = starting_cash
        self._created_ns = clock.now_ns()

    def account(self, _request: Request) -> Response:
        """GET /v2/account."""
        return json_response(
            account_fields(
                self._broker,
                number=self._account_number,
                starting_cash=self._starting_cash,
                created_ns=self._created_ns,
            )
        )

    def positions(self, _request: Request) -> Response:
        """GET /v2/positions."""
        return json_response([position_fields(self._broker, position) for position in self._broker.ledger.positions()])

    def position(self, _request: Request, symbol: str) -> Response:
        """GET /v2/positions/{symbol or asset id}."""
        return json_response(position_fields(self._broker, self._find_position(symbol)))

    def _find_position(self, symbol: str) -> Position:
        for position in self._broker.ledger.positions():
            if symbol.upper() == position.symbol or symbol == asset_id(position.symbol):
                return position
        raise ApiError(404, 40410000, "position does not exist")

    def activities(self, request: Request) -> Response:
        """GET /v2/account/activities."""
        return json_response(self._broker.activities.listed(request.query))

    def activities_of(self, request: Request, kind: str) -> Response:
        """GET /v2/account/activities/{type}."""
        return json_response(self._broker.activities.listed(request.query, kind))

    def submit_order(self, request: Request) -> Response:
        """POST /v2/orders."""
        try:
            body = msgspec.json.decode(request.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ApiError(400, 40010000, "request body format is invalid") from error
        return json_response(self._broker.submit(parse_order(body)).fields())

    def close_position(self, _request: Request, symbol: str) -> Response:
        """DELETE /v2/positions/{symbol}: a market order for all of it."""
        position = self._find_position(symbol)
        side = "sell" if position.qty > 0 else "buy"
        wanted = {
            "symbol": position.symbol,
            "side": side,
            "qty": plain(abs(position.qty)),
            "type": "market",
            "time_in_force": "day",
        }
        return json_response(self._broker.submit(parse_order(wanted)).fields())

    def orders(self, request: Request) -> Response:
        """GET /v2/orders with status, symbols, side, after, until, limit, direction; nested changes nothing here."""
        query = request.query
        status = query.get("status", "open")
        if status not in ("open", "closed", "all"):
            raise invalid(f"invalid status {status[:20]!r}: must be one of open, closed, all")
        direction = query.get("direction", "desc")
        if direction not in ("asc", "desc"):
            raise invalid(f"invalid direction {direction[:20]!r}: must be asc or desc")
        wanted = set(symbols_of(query))
        after_ns, until_ns = time_of(query, "after"), time_of(query, "until")

        def is_wanted(order: Order) -> bool:
            return (
                (status == "all" or order.is_open == (status == "open"))
                and (not wanted or order.request.symbol in wanted)
                and query.get("side", order.request.side) == order.request.side
                and (after_ns is None or order.created_ns > after_ns)
                and (until_ns is None or order.created_ns < until_ns)
            )

        orders = [order for order in self._broker.orders() if is_wanted(order)]
        if direction == "desc":
            orders.reverse()
        limit = limit_of(query, default=50, most=_MAX_ORDERS)
        return json_response([order.fields() for order in orders[:limit]])

    def order(self, _request: Request, order_id: str) -> Response:
        """GET /v2/orders/{id}."""
        return json_response(self._broker.find(order_id).fields())

    def order_by_client_id(self, request: Request) -> Response:
        """GET /v2/orders:by_client_order_id?client_order_id=..."""
        client_order_id = request.query.get("client_order_id", "")
        if not client_order_id:
            raise invalid("client_order_id is required")
        return json_response(self._broker.find_by_client_id(client_order_id).fields())

    def cancel_order(self, _request: Request, order_id: str) -> Response:
        """DELETE /v2/orders/{id}."""
        self._broker.cancel(order_id)
        return Response(status=204)

    def cancel_orders(self, _request: Request) -> Response:
        """DELETE /v2/orders."""
        canceled = self._broker.cancel_all()
        return json_response([{"id": order.id, "status": 200, "body": order.fields()} for order in canceled], 207)

    def assets(self, _request: Request) -> Response:
        """GET /v2/assets."""
        return json_response([asset_fields(symbol) for symbol in sorted(self._symbols())])

    def asset(self, _request: Request, symbol: str) -> Response:
        """GET /v2/assets/{symbol or asset id}."""
        for known in self._symbols():
            if symbol.upper() == known or symbol == asset_id(known):
                return json_response(asset_fields(known))
        raise ApiError(404, 40410000, f"asset not found for {symbol[:32]}")

    def _symbols(self) -> set[str]:
        return self._broker.known_symbols | self._broker.prices.symbols

    def clock(self, _request: Request) -> Response:
        """GET /v2/clock. An always-open market closes in a hundred years."""
        now_ns = self._clock.now_ns()
        is_open = self._calendar.session(now_ns) is Session.REGULAR
        if self._calendar.is_always_open:
            far = utc_datetime(now_ns) + timedelta(days=_ALWAYS_OPEN_DAYS)
            next_open = next_close = far
        else:
            opened_ns, closes_ns = self._calendar.next_regular(now_ns)
            if is_open:
                opened_ns = self._calendar.next_regular(closes_ns)[0]
            next_open, next_close = utc_datetime(opened_ns), utc_datetime(closes_ns)
        return json_response(
            {
                "timestamp": utc_datetime(now_ns).astimezone(NEW_YORK).isoformat(),
                "is_open": is_open,
                "next_open": next_open.astimezone(NEW_YORK).isoformat(),
                "next_close": next_close.astimezone(NEW_YORK).isoformat(),
            }
        )

    def calendar(self, request: Request) -> Response:
        """GET /v2/calendar?start=&end= (dates; without them the year around today)."""
        today = new_york_date(self._clock.now_ns())
        first = _date_of(request.query, "start", today)
        last = _date_of(request.query, "end", first + timedelta(days=365))
        first = max(first, date.fromisoformat(market_calendar_table.FIRST_DAY))
        last = min(last, date.fromisoformat(market_calendar_table.LAST_DAY))
        days = (first + timedelta(days=offset) for offset in range((last - first).days + 1))
        return json_response([fields for day in days if (fields := self._day_fields(day)) is not None])

    def _day_fields(self, day: date) -> dict[str, str] | None:
        if self._calendar.is_always_open:
            hours: tuple[str, ...] = ("00:00", "23:59", "0000", "2359")
        else:
            trading = trading_day(day)
            if trading is None:
                return None
            bounds = (trading.regular_open_ns, trading.regular_close_ns)
            opened, closes = (_new_york_time(ns) for ns in bounds)
            outer = (_new_york_time(ns).replace(":", "") for ns in (trading.pre_open_ns, trading.post_close_ns))
            hours = (opened, closes, *outer)
        return {
            "date": day.isoformat(),
            "open": hours[0],
            "close": hours[1],
            "session_open": hours[2],
            "session_close": hours[3],
        }


def _new_york_time(ns: int) -> str:
    return datetime.fromtimestamp(ns // NANOS_PER_SECOND, UTC).astimezone(NEW_YORK).strftime("%H:%M")


def _date_of(query: dict[str, str], field: str, default: date) -> date:
    text = query.get(field)
    if text is None:
        return default
    try:
        return date.fromisoformat(text[:10])
    except ValueError as error:
        raise invalid(f"invalid {field} {text[:32]!r}: must be a date, as 2026-01-02") from error
