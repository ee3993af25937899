"""Our order bodies are those of alpaca-py, its answers parse, and every call ends."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from torghut_core.trading.model import OrderRequest
from torghut_core.trading.orders.answers import parse_account, parse_order, parse_position
from torghut_core.trading.orders.broker import (
    Broker,
    BrokerUnavailableError,
    OrderRefusedError,
    OrderUnknownError,
    order_body,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # alpaca-py imports a deprecated module of websockets
    from alpaca.trading.client import TradingClient
    from alpaca.trading.enums import OrderSide, TimeInForce
    from alpaca.trading.requests import MarketOrderRequest

REQUEST = OrderRequest(client_order_id="c" * 64, symbol="AAPL", side="buy", qty=Decimal(3))
ORDER: dict[str, Any] = {
    "id": "o-1",
    "client_order_id": "c" * 64,
    "symbol": "AAPL",
    "side": "buy",
    "type": "market",
    "time_in_force": "day",
    "qty": "3",
    "filled_qty": "0",
    "filled_avg_price": None,
    "status": "accepted",
    "submitted_at": "2026-01-05T15:00:00Z",
}


def _broker(respond: Any, timeout_seconds: float = 5) -> Broker:
    return Broker(
        base_url="http://127.0.0.1:1",
        key="k",
        secret="s",
        timeout_seconds=timeout_seconds,
        transport=httpx.MockTransport(respond),
    )


def test_order_body_when_compared_with_alpaca_py_then_the_same_but_for_text() -> None:
    """What we send is what the vendor's client would send, the quantity as text."""
    theirs = MarketOrderRequest(
        symbol="AAPL", qty=3, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, client_order_id="c" * 64
    ).to_request_fields()
    assert {key: str(getattr(value, "value", value)).removesuffix(".0") for key, value in theirs.items()} == order_body(
        REQUEST
    )


def test_lookup_when_vendor_client_has_one_then_it_is_by_client_id() -> None:
    """The path we ask is the vendor's method of this name."""
    assert hasattr(TradingClient, "get_order_by_client_id")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 302])
async def test_submit_when_status_settles_nothing_then_unknown_after_one_call(status: int) -> None:
    """Neither a rate limit nor a gateway's error says that there is no order; nothing is resent."""
    calls: list[str] = []

    def respond(request: httpx.Request) -> httpx.Response:
        calls.append(request.method)
        return httpx.Response(status, headers={"location": "/v2/orders"})

    with pytest.raises(OrderUnknownError):
        await _broker(respond).submit(REQUEST)
    assert calls == ["POST"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_submit_when_refused_then_refused_with_status(status: int) -> None:
    """A client error about the order itself is final."""
    with pytest.raises(OrderRefusedError) as caught:
        await _broker(lambda _: httpx.Response(status, json={"code": 1, "message": "secret words"})).submit(REQUEST)
    assert caught.value.reason == f"alpaca_order_rejected code=1 status={status}"


async def test_submit_when_client_id_is_taken_then_unknown() -> None:
    """The order is there: it must be looked at, not called rejected."""
    answer = httpx.Response(422, json={"code": 40010001, "message": "client_order_id must be unique"})
    with pytest.raises(OrderUnknownError):
        await _broker(lambda _: answer).submit(REQUEST)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (httpx.ConnectError("x"), OrderRefusedError),
        (httpx.ConnectTimeout("x"), OrderRefusedError),
        (httpx.ReadTimeout("x"), OrderUnknownError),
        (httpx.WriteError("x"), OrderUnknownError),
        (httpx.RemoteProtocolError("x"), OrderUnknownError),
    ],
)
async def test_submit_when_transport_fails_then_only_an_unmade_connection_is_certain(
    error: Exception, raised: type[Exception]
) -> None:
    """What may have been sent is unknown."""

    def respond(_: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(raised):
        await _broker(respond).submit(REQUEST)


async def test_find_when_only_404_says_none_then_other_failures_are_raised() -> None:
    """An outage is not an absence."""
    assert await _broker(lambda _: httpx.Response(404)).find("x") is None
    for answer in (
        httpx.Response(500),
        httpx.Response(401),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
    ):
        with pytest.raises(BrokerUnavailableError):
            await _broker(lambda _, answer=answer: answer).find("x")


async def test_find_since_when_order_is_on_the_second_page_then_found() -> None:
    """All pages are looked at, each from the last order of the one before."""
    asked: list[str] = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params["after"])
        if len(asked) == 1:
            return httpx.Response(200, json=[{**ORDER, "client_order_id": str(i)} for i in range(500)])
        return httpx.Response(200, json=[ORDER])

    order = await _broker(respond).find_since("c" * 64, datetime(2026, 1, 5, 3, tzinfo=UTC))
    assert order is not None
    assert asked == ["2026-01-05T03:00:00Z", "2026-01-05T15:00:00Z"]


async def test_borrow_when_asset_is_read_then_both_flags_and_silence_is_unavailable() -> None:
    """A symbol's flags are taken only when they are said."""
    answers = [httpx.Response(200, json={"shortable": True, "easy_to_borrow": False}), httpx.Response(404)]
    broker = _broker(lambda _: answers.pop(0))
    borrow = await broker.asset("BRK.B")
    assert (borrow.is_shortable, borrow.is_easy) == (True, False)
    with pytest.raises(BrokerUnavailableError):
        await broker.asset("X/Y")


def test_parsing_when_alpaca_answers_then_exact_decimals() -> None:
    """Money and quantities never pass a float."""
    account = parse_account(
        {"account_number": "PA1", "equity": "100000.1", "cash": "1", "buying_power": "0.3", "trading_blocked": True}
    )
    assert (account.equity, account.buying_power, account.is_blocked) == (Decimal("100000.1"), Decimal("0.3"), True)
    assert "PA1" not in repr(account)
    short = parse_position({"symbol": "T", "qty": "5", "side": "short", "market_value": "-50"})
    assert (short.qty, short.market_value) == (Decimal(-5), Decimal(-50))
    assert parse_order({**ORDER, "filled_qty": "1.5", "filled_avg_price": "10.01"}).filled_avg_price == Decimal("10.01")
