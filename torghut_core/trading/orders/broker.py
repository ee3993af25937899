"""Alpaca's trading REST, each call made at most once and ended by a deadline over the whole of it.

Our own calls on httpx rather than alpaca-py's client: that one resends an order after 429 and 504, and has no deadline.
The bodies are held to alpaca-py's own in a test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from torghut_core.errors import UpstreamError
from torghut_core.trading.encoding import format_datetime
from torghut_core.trading.model import Account, Borrow, Order, OrderRequest, Position, Side, Snapshot

_Value = TypeVar("_Value")
_PAGE = 500
_UNDECIDED_STATUSES = frozenset({408, 425, 429})
"""Client errors that say nothing about the order itself."""


class BrokerUnavailableError(UpstreamError):
    """The broker gave no usable answer to a question. Asking again is safe."""


class OrderRefusedError(UpstreamError):
    """The broker said no, or was never reached: there is no order. `reason` is stable."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"broker refused the order: {reason}")
        self.reason = reason


class OrderUnknownError(UpstreamError):
    """The call ended without an answer that settles it: the order may exist. It must be asked about, never resent."""


class Broker:
    """The account behind one pair of keys."""

    def __init__(
        self,
        *,
        base_url: str,
        key: str,
        secret: str,
        timeout_seconds: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._timeout = timeout_seconds
        self._client = httpx.AsyncClient(
            base_url=f"{base_url}/v2",
            headers={"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret, "Accept": "application/json"},
            timeout=timeout_seconds,
            transport=transport or httpx.AsyncHTTPTransport(retries=0),
            follow_redirects=False,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def snapshot(self) -> Snapshot:
        """Return account and positions. Raises BrokerUnavailableError."""
        account, positions = await self.account(), await self.positions()
        return Snapshot(account=account, positions=positions)

    async def account(self) -> Account:
        """Return the account. Raises BrokerUnavailableError."""
        body = await self._get("/account")
        return _parsed(parse_account, body, "account")

    async def positions(self) -> dict[str, Position]:
        """Return the holdings by symbol. Raises BrokerUnavailableError."""
        body = await self._get("/positions")
        return _parsed(_positions, body, "positions")

    async def borrow(self, symbol: str) -> Borrow:
        """Return whether `symbol` can be sold short. Raises BrokerUnavailableError, also when it is not said."""
        body = await self._get(f"/assets/{quote(symbol, safe='')}")
        return _parsed(_borrow, body, "an asset")

    async def submit(self, request: OrderRequest) -> Order:
        """Send an order, once.

        Raises OrderRefusedError when there is certainly no order, OrderUnknownError when there may be one.
        """
        body = order_body(request)
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._client.post("/orders", json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise OrderRefusedError("broker_unreachable") from error
        except (httpx.HTTPError, TimeoutError) as error:
            raise OrderUnknownError(f"broker: no answer to the order ({type(error).__name__})") from error
        if response.is_success:
            try:
                return parse_order(response.json())
            except (ValueError, KeyError, TypeError, InvalidOperation) as error:
                raise OrderUnknownError("broker: the answer to the order is not an order") from error
        status = response.status_code
        if not 400 <= status < 500 or status in _UNDECIDED_STATUSES or _is_duplicate(response):
            raise OrderUnknownError(f"broker: HTTP {status} settles nothing about the order")
        raise OrderRefusedError(f"alpaca_order_rejected code={_error_code(response)} status={status}")

    async def find(self, client_order_id: str) -> Order | None:
        """Return the order with this client id, None when the broker says there is none.

        Raises BrokerUnavailableError for every other answer: only a 404 means none.
        """
        body = await self._get("/orders:by_client_order_id", {"client_order_id": client_order_id}, missing_ok=True)
        return None if body is None else _parsed(parse_order, body, "order")

    async def order(self, order_id: str) -> Order | None:
        """Return the order with the broker's id, None when there is none. Raises BrokerUnavailableError."""
        body = await self._get(f"/orders/{order_id}", missing_ok=True)
        return None if body is None else _parsed(parse_order, body, "order")

    async def open_orders(self) -> tuple[Order, ...]:
        """Return up to 500 open orders of the account, whoever placed them. Raises BrokerUnavailableError."""
        body = await self._get("/orders", {"status": "open", "limit": str(_PAGE), "nested": "false"})
        return _parsed(_orders, body, "orders")

    async def find_since(self, client_order_id: str, since: datetime) -> Order | None:
        """Return the order with this client id among all that were submitted after `since`, page by page.

        Raises BrokerUnavailableError.
        """
        after = format_datetime(since)
        while True:
            query = {"status": "all", "limit": str(_PAGE), "direction": "asc", "after": after, "nested": "false"}
            page = _parsed(_orders, await self._get("/orders", query), "orders")
            found = next((order for order in page if order.client_order_id == client_order_id), None)
            if found is not None or len(page) < _PAGE:
                return found
            last = str(page[-1].raw.get("submitted_at"))
            if last == after:
                raise BrokerUnavailableError("broker: a page of orders does not move on")
            after = last

    async def cancel(self, order_id: str) -> None:
        """Ask for an order to be cancelled; one that is already done is no error. Raises BrokerUnavailableError."""
        response = await self._send("DELETE", f"/orders/{order_id}")
        if not response.is_success and response.status_code not in (404, 422):
            raise BrokerUnavailableError(f"broker: HTTP {response.status_code} to a cancellation")

    async def _get(self, path: str, query: Mapping[str, str] | None = None, *, missing_ok: bool = False) -> Any:
        response = await self._send("GET", path, query)
        if missing_ok and response.status_code == 404:
            return None
        if not response.is_success:
            raise BrokerUnavailableError(f"broker: HTTP {response.status_code} to a question")
        try:
            return response.json()
        except ValueError as error:
            raise BrokerUnavailableError("broker: an answer is not JSON") from error

    async def _send(self, method: str, path: str, query: Mapping[str, str] | None = None) -> httpx.Response:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._client.request(method, path, params=dict(query) if query else None)
        except (httpx.HTTPError, TimeoutError) as error:
            raise BrokerUnavailableError(f"broker: no answer ({type(error).__name__})") from error


def order_body(request: OrderRequest) -> dict[str, str]:
    """Return the JSON of an order, quantities as text."""
    return {
        "symbol": request.symbol,
        "qty": str(request.qty),
        "side": request.side,
        "type": request.type,
        "time_in_force": request.time_in_force,
        "client_order_id": request.client_order_id,
    }


def parse_account(body: Mapping[str, Any]) -> Account:
    """Return Alpaca's account as a value. Raises KeyError or ValueError for another shape."""
    is_blocked = body.get("status", "ACTIVE") != "ACTIVE" or any(
        body.get(flag) is True for flag in ("trading_blocked", "account_blocked", "trade_suspended_by_user")
    )
    return Account(
        number=str(body["account_number"]),
        equity=_decimal(body["equity"]),
        cash=_decimal(body["cash"]),
        buying_power=_decimal(body["buying_power"]),
        is_blocked=is_blocked,
    )


def parse_position(body: Mapping[str, Any]) -> Position:
    """Return Alpaca's position as a value, a short one with a negative quantity."""
    qty = _decimal(body["qty"])
    signed = -abs(qty) if body.get("side") == "short" else qty
    value = _decimal(body["market_value"]) if body.get("market_value") is not None else Decimal(0)
    return Position(symbol=str(body["symbol"]), qty=signed, market_value=value)


def parse_order(body: Mapping[str, Any]) -> Order:
    """Return Alpaca's order as a value. Raises KeyError, TypeError or ValueError for another shape."""
    side: Side = "buy" if body["side"] == "buy" else "sell"
    average = body.get("filled_avg_price")
    return Order(
        id=str(body["id"]),
        client_order_id=str(body["client_order_id"]),
        symbol=str(body["symbol"]),
        side=side,
        type=str(body.get("type") or body.get("order_type") or "market"),
        time_in_force=str(body["time_in_force"]),
        qty=_decimal(body["qty"] if body.get("qty") is not None else 0),
        filled_qty=_decimal(body.get("filled_qty") or 0),
        filled_avg_price=None if average is None else _decimal(average),
        status=str(body["status"]),
        raw=dict(body),
    )


def _decimal(value: object) -> Decimal:
    number = Decimal(str(value))
    if not number.is_finite():
        raise ValueError("not a finite number")
    return number


def _borrow(body: Mapping[str, Any]) -> Borrow:
    return Borrow(is_shortable=body["shortable"] is True, is_easy=body["easy_to_borrow"] is True)


def _positions(body: Iterable[Mapping[str, Any]]) -> dict[str, Position]:
    return {position.symbol: position for position in map(parse_position, body)}


def _orders(body: Iterable[Mapping[str, Any]]) -> tuple[Order, ...]:
    return tuple(map(parse_order, body))


def _parsed(parse: Callable[[Any], _Value], body: Any, what: str) -> _Value:
    try:
        return parse(body)
    except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation) as error:
        raise BrokerUnavailableError(f"broker: an answer is not {what}") from error


def _error(response: httpx.Response) -> Mapping[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _error_code(response: httpx.Response) -> str:
    code = _error(response).get("code")
    return str(code) if isinstance(code, int) else "none"


def _is_duplicate(response: httpx.Response) -> bool:
    message = str(_error(response).get("message", "")).lower()
    return response.status_code == 422 and "client_order_id" in message and "unique" in message
