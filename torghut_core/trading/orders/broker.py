"""Alpaca's trading REST, each call made at most once and ended by a deadline over the whole of it.

Our own calls on httpx rather than alpaca-py's client: that one resends an order after 429 and 504, and has no deadline.
The bodies are held to alpaca-py's own in a test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import httpx

from torghut_core.clock import Clock, SystemClock
from torghut_core.errors import UpstreamError
from torghut_core.market_calendar import NEW_YORK
from torghut_core.trading.bounded import TooLongError, read_limited
from torghut_core.trading.encoding import format_datetime
from torghut_core.trading.model import Account, Asset, Order, OrderRequest, Position, Snapshot
from torghut_core.trading.orders.activities import Activity, parse_activity
from torghut_core.trading.orders.answers import (
    AnswerError,
    decode,
    each,
    parse_account,
    parse_asset,
    parse_order,
    parse_position,
)
from torghut_core.trading.orders.pacing import Pacing

_Value = TypeVar("_Value")
_PAGE = 500
_MAX_PAGES = 20
_ACTIVITIES = 100
_MAX_ACTIVITY_PAGES = 1000
_MAX_ANSWER_BYTES = 8_000_000
_UNDECIDED_STATUSES = frozenset({408, 425, 429})
"""Client errors that say nothing about the order itself."""
_REFUSED_SECONDS = 15.0
_MARKET_TIME = "X-Torghut-Market-Time"


class BrokerUnavailableError(UpstreamError):
    """The broker gave no usable answer to a question. Asking again is safe."""


class OrderRefusedError(UpstreamError):
    """The broker said no, or was never reached: there is no order. `reason` is stable."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"broker refused the order: {reason}")
        self.reason = reason


class OrderUnknownError(UpstreamError):
    """The call ended without an answer that settles it: the order may exist. It must be asked about, never resent."""


@dataclass(frozen=True, kw_only=True)
class _Answer:
    status: int
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class Brokerage(Protocol):
    """What trading asks of a broker: the one behind a pair of keys, or an exchange in this process."""

    async def close(self) -> None: ...
    async def snapshot(self) -> Snapshot: ...
    async def account(self) -> Account: ...
    async def positions(self) -> dict[str, Position]: ...
    async def asset(self, symbol: str) -> Asset: ...
    async def submit(self, request: OrderRequest) -> Order: ...
    async def find(self, client_order_id: str) -> Order | None: ...
    async def order(self, order_id: str) -> Order | None: ...
    async def open_orders(self) -> tuple[Order, ...]: ...
    async def find_since(self, client_order_id: str, since: datetime) -> Order | None: ...
    async def cancel(self, order_id: str) -> None: ...


class Broker:
    """The account behind one pair of keys.

    With `market_time` each request says of what instant it is, as only a simulated exchange understands.
    """

    def __init__(
        self,
        *,
        base_url: str,
        key: str,
        secret: str,
        timeout_seconds: float,
        per_minute: int = 200,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        market_time: Callable[[], int] | None = None,
    ) -> None:
        self._timeout = timeout_seconds
        self._market_time = market_time
        self._pacing = Pacing(clock or SystemClock(), per_minute=per_minute)
        self._client = httpx.AsyncClient(
            base_url=f"{base_url}/v2",
            headers={
                "APCA-API-KEY-ID": key,
                "APCA-API-SECRET-KEY": secret,
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            timeout=timeout_seconds,
            transport=transport or httpx.AsyncHTTPTransport(retries=0),
            follow_redirects=False,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def snapshot(self) -> Snapshot:
        """Return open orders, positions and account, in this order. Raises BrokerUnavailableError."""
        orders, bad_orders = await self._open_orders()
        positions, bad_positions = await self._positions()
        return Snapshot(
            account=await self.account(),
            positions=positions,
            orders=orders,
            unreadable=frozenset(bad_orders | bad_positions),
        )

    async def account(self) -> Account:
        """Return the account. Raises BrokerUnavailableError."""
        return _parsed(parse_account, await self._get("/account"), "account")

    async def positions(self) -> dict[str, Position]:
        """Return the holdings by symbol that can be read. Raises BrokerUnavailableError."""
        return (await self._positions())[0]

    async def asset(self, symbol: str) -> Asset:
        """Return what `symbol` may be traded as. Raises BrokerUnavailableError, also when it is not said."""
        return _parsed(parse_asset, await self._get(f"/assets/{quote(symbol, safe='')}"), "an asset")

    async def activities(self, first: date, last: date) -> tuple[Activity, ...]:
        """Return fills and fees of the New York days `first` to `last`, both included, in the broker's order.

        Raises BrokerUnavailableError, also for a page that does not move on or an activity that cannot be read: a
        comparison with a part of them would find differences that are none.
        """
        found: dict[str, Activity] = {}
        query = {
            "activity_types": "FILL,FEE",
            "after": _midnight(first),
            "until": _midnight(last + timedelta(days=1)),
            "direction": "asc",
            "page_size": str(_ACTIVITIES),
        }
        for _ in range(_MAX_ACTIVITY_PAGES):
            page = list(
                _parsed(
                    lambda body: each(body, "activities"), await self._get("/account/activities", query), "activities"
                )
            )
            for item in page:
                activity = _parsed(parse_activity, item, "an activity")
                if activity is not None:
                    found[activity.id] = activity
            if len(page) < _ACTIVITIES:
                return tuple(found.values())
            token = page[-1].get("id") if isinstance(page[-1], dict) else None
            if not isinstance(token, str) or token == query.get("page_token"):
                break
            query["page_token"] = token
        raise BrokerUnavailableError("broker: a page of activities does not move on")

    async def submit(self, request: OrderRequest) -> Order:
        """Send an order, once.

        Raises OrderRefusedError when there is certainly no order, OrderUnknownError when there may be one.
        """
        body = order_body(request)
        try:
            answer = await self._send("POST", "/orders", body=body, is_urgent=True)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise OrderRefusedError("broker_unreachable") from error
        except (httpx.HTTPError, TimeoutError, TooLongError) as error:
            raise OrderUnknownError(f"broker: no answer to the order ({type(error).__name__})") from error
        if answer.is_success:
            try:
                return parse_order(decode(answer.body))
            except AnswerError as error:
                raise OrderUnknownError("broker: the answer to the order is not an order") from error
        status = answer.status
        if not 400 <= status < 500 or status in _UNDECIDED_STATUSES or _is_duplicate(answer):
            raise OrderUnknownError(f"broker: HTTP {status} settles nothing about the order")
        raise OrderRefusedError(f"alpaca_order_rejected code={_error_code(answer)} status={status}")

    async def find(self, client_order_id: str) -> Order | None:
        """Return the order with this client id, None when the broker says there is none.

        Raises BrokerUnavailableError for every other answer: only a 404 means none, and another order's is no answer.
        """
        body = await self._get("/orders:by_client_order_id", {"client_order_id": client_order_id}, missing_ok=True)
        if body is None:
            return None
        order = _parsed(parse_order, body, "order")
        if order.client_order_id != client_order_id:
            raise BrokerUnavailableError("broker: an answer is about another order")
        return order

    async def order(self, order_id: str) -> Order | None:
        """Return the order with the broker's id, None when there is none. Raises BrokerUnavailableError."""
        body = await self._get(f"/orders/{quote(order_id, safe='')}", missing_ok=True)
        if body is None:
            return None
        order = _parsed(parse_order, body, "order")
        if order.id != order_id:
            raise BrokerUnavailableError("broker: an answer is about another order")
        return order

    async def open_orders(self) -> tuple[Order, ...]:
        """Return the account's open orders that can be read, whoever placed them. Raises BrokerUnavailableError."""
        return (await self._open_orders())[0]

    async def find_since(self, client_order_id: str, since: datetime) -> Order | None:
        """Return the order with this client id among all that were submitted after `since`, page by page.

        Raises BrokerUnavailableError, also when one of them cannot be read: it might be the one.
        """
        async for page in self._pages("all", since=format_datetime(since)):
            for item in page:
                order = _parsed(parse_order, item, "order")
                if order.client_order_id == client_order_id:
                    return order
        return None

    async def cancel(self, order_id: str) -> None:
        """Ask for an order to be cancelled; one that is already done is no error. Raises BrokerUnavailableError."""
        try:
            answer = await self._send("DELETE", f"/orders/{quote(order_id, safe='')}", is_urgent=True)
        except (httpx.HTTPError, TimeoutError, TooLongError) as error:
            raise BrokerUnavailableError(f"broker: no answer ({type(error).__name__})") from error
        if not answer.is_success and answer.status not in (404, 422):
            raise BrokerUnavailableError(f"broker: HTTP {answer.status} to a cancellation")

    async def _open_orders(self) -> tuple[tuple[Order, ...], set[str]]:
        found: dict[str, Order] = {}
        unreadable: set[str] = set()
        async for page in self._pages("open", since=None):
            for item in page:
                try:
                    order = parse_order(item)
                except AnswerError as error:
                    unreadable.add(_symbol_of(error, "order"))
                else:
                    found[order.id] = order
        return tuple(found.values()), unreadable

    async def _positions(self) -> tuple[dict[str, Position], set[str]]:
        found: dict[str, Position] = {}
        unreadable: set[str] = set()
        for item in _parsed(lambda body: each(body, "positions"), await self._get("/positions"), "positions"):
            try:
                position = parse_position(item)
            except AnswerError as error:
                unreadable.add(_symbol_of(error, "position"))
            else:
                found[position.symbol] = position
        return found, unreadable

    async def _pages(self, status: str, *, since: str | None) -> Any:
        after = since
        for _ in range(_MAX_PAGES):
            query = {"status": status, "limit": str(_PAGE), "direction": "asc", "nested": "false"}
            if after is not None:
                query["after"] = after
            page = list(_parsed(lambda body: each(body, "orders"), await self._get("/orders", query), "orders"))
            yield page
            if len(page) < _PAGE:
                return
            last = page[-1].get("submitted_at") if isinstance(page[-1], dict) else None
            if not isinstance(last, str) or last == after:
                break
            after = last
        raise BrokerUnavailableError("broker: a page of orders does not move on")

    async def _get(self, path: str, query: Mapping[str, str] | None = None, *, missing_ok: bool = False) -> Any:
        try:
            answer = await self._send("GET", path, query)
        except (httpx.HTTPError, TimeoutError, TooLongError) as error:
            raise BrokerUnavailableError(f"broker: no answer ({type(error).__name__})") from error
        if missing_ok and answer.status == 404:
            return None
        if not answer.is_success:
            raise BrokerUnavailableError(f"broker: HTTP {answer.status} to a question")
        try:
            return decode(answer.body)
        except AnswerError as error:
            raise BrokerUnavailableError("broker: an answer is not JSON") from error

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Mapping[str, str] | None = None,
        is_urgent: bool = False,
    ) -> _Answer:
        """Send once and read the answer up to a limit; httpx's errors, TimeoutError and TooLongError escape."""
        async with asyncio.timeout(self._timeout) as deadline:
            try:
                await self._pacing.wait(is_urgent=is_urgent)
            except asyncio.CancelledError as error:
                if not deadline.expired():
                    raise
                # Ended by the deadline before anything was sent: certainly no order.
                raise httpx.PoolTimeout("no room within the broker's limit of requests") from error
            headers = {} if self._market_time is None else {_MARKET_TIME: str(self._market_time())}
            parameters = dict(query) if query else None
            async with self._client.stream(method, path, params=parameters, json=body, headers=headers) as response:
                if response.status_code == 429:
                    self._pacing.refused(_REFUSED_SECONDS)
                return _Answer(status=response.status_code, body=await read_limited(response, _MAX_ANSWER_BYTES))


def _midnight(day: date) -> str:
    """Return a New York day's first instant, RFC 3339 in UTC."""
    return format_datetime(datetime.combine(day, time(0), NEW_YORK))


def order_body(request: OrderRequest) -> dict[str, str]:
    """Return the JSON of an order, quantities and prices as plain text."""
    body = {
        "symbol": request.symbol,
        "qty": _plain(request.qty),
        "side": request.side,
        "type": request.type,
        "time_in_force": request.time_in_force,
        "client_order_id": request.client_order_id,
    }
    if request.limit_price is not None:
        body["limit_price"] = _plain(request.limit_price)
    if request.stop_price is not None:
        body["stop_price"] = _plain(request.stop_price)
    return body


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"


def _symbol_of(error: AnswerError, what: str) -> str:
    if error.symbol is None:
        raise BrokerUnavailableError(f"broker: a list holds what is no {what}") from error
    return error.symbol


def _parsed(parse: Callable[[Any], _Value], body: Any, what: str) -> _Value:
    try:
        return parse(body)
    except AnswerError as error:
        raise BrokerUnavailableError(f"broker: an answer is not {what}") from error


def _error(answer: _Answer) -> Mapping[str, Any]:
    try:
        body = decode(answer.body)
    except AnswerError:
        return {}
    return body if isinstance(body, dict) else {}


def _error_code(answer: _Answer) -> str:
    code = _error(answer).get("code")
    return str(code) if isinstance(code, int) and abs(code) < 10**12 else "none"


def _is_duplicate(answer: _Answer) -> bool:
    message = str(_error(answer).get("message", "")).lower()
    return answer.status == 422 and "client_order_id" in message and "unique" in message
