"""The broker's stream of order events: greeted properly, one bad message costs itself, every end is told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.torghut_core.trading.test_broker import ORDER
from torghut_core.trading.metrics import Metrics
from torghut_core.trading.model import Order
from torghut_core.trading.orders.updates import TradeUpdates, TradeUpdatesError

AUTHORIZED = {"stream": "authorization", "data": {"status": "authorized", "action": "authenticate"}}
LISTENING = {"stream": "listening", "data": {"streams": ["trade_updates"]}}


def _update(**changes: Any) -> dict[str, Any]:
    return {"stream": "trade_updates", "data": {"event": "fill", "order": {**ORDER, **changes}}}


@asynccontextmanager
async def _broker(answers: list[list[Any]]) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """Serve a stream that answers each message with the next list of frames, then closes; yields what it was sent."""
    heard: list[dict[str, Any]] = []

    async def talk(socket: ServerConnection) -> None:
        for frames in answers:
            heard.append(json.loads(await socket.recv()))
            for frame in frames:
                await socket.send(frame if isinstance(frame, str | bytes) else json.dumps(frame).encode())
        await socket.close()

    async with serve(talk, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}", heard


def _updates(url: str, on_order: Callable[[Order], Awaitable[object]], *wanted: bool) -> tuple[TradeUpdates, Metrics]:
    answers, metrics = iter(wanted), Metrics()
    return (
        TradeUpdates(
            base_url=url,
            key="PK1",
            secret="s3cret",
            on_order=on_order,
            is_wanted=lambda: next(answers, True),
            metrics=metrics,
        ),
        metrics,
    )


async def _ignore(order: Order) -> None:
    raise AssertionError(f"nothing was to be heard of {order.symbol}")


async def test_listen_when_orders_change_then_each_is_handed_on_and_the_end_is_told() -> None:
    """Text and binary frames alike, in order; a stream that closes is an error, so that it is opened again."""
    frames = [_update(status="new"), json.dumps(_update(status="filled", filled_qty="3", filled_avg_price="100.5"))]
    heard: list[tuple[str, str]] = []

    async def on_order(order: Order) -> None:
        heard.append((order.status, str(order.filled_qty)))

    async with _broker([[AUTHORIZED], [LISTENING, *frames]]) as (url, said):
        updates, metrics = _updates(url, on_order)
        with pytest.raises(TradeUpdatesError, match="closed"):
            await updates.listen()
    assert heard == [("new", "0"), ("filled", "3")]
    assert said == [
        {"action": "auth", "key": "PK1", "secret": "s3cret"},
        {"action": "listen", "data": {"streams": ["trade_updates"]}},
    ]
    assert metrics.get("trade_updates_total") == 2


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff",
        "{",
        "[]",
        "null",
        {"stream": "other", "data": {}},
        {"stream": "trade_updates"},
        {"stream": "trade_updates", "data": []},
        {"stream": "trade_updates", "data": {"event": "fill"}},
        {"stream": "trade_updates", "data": {"order": None}},
        _update(symbol="\x00"),
        _update(qty="NaN"),
        _update(side="hold"),
        "[" * 20_000,
    ],
)
async def test_listen_when_a_message_cannot_be_used_then_it_is_counted_and_the_next_is_taken(frame: Any) -> None:
    """One bad message costs itself alone."""
    heard: list[str] = []

    async def on_order(order: Order) -> None:
        heard.append(order.id)

    async with _broker([[AUTHORIZED], [LISTENING, frame, _update()]]) as (url, _):
        updates, metrics = _updates(url, on_order)
        with pytest.raises(TradeUpdatesError, match="closed"):
            await updates.listen()
    assert (heard, metrics.get("trade_updates_skipped_total"), metrics.get("trade_updates_total")) == (["o-1"], 1, 1)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([[{"stream": "authorization", "data": {"status": "unauthorized"}}]], "refused the keys"),
        ([[{"stream": "listening", "data": {}}]], "not about authorization"),
        ([["no json"]], "not JSON"),
        ([[AUTHORIZED], [{"stream": "listening", "data": {"streams": []}}]], "does not send them"),
        ([[AUTHORIZED], [{"stream": "listening", "data": {"streams": None}}]], "does not send them"),
        ([], "ConnectionClosed"),
        ([["x" * 1_000_001]], "ConnectionClosed"),
    ],
)
async def test_listen_when_the_greeting_goes_wrong_then_said_how(answers: list[list[Any]], said: str) -> None:
    """Refused keys, another stream, nonsense, a closed door: an error of ours that names it, never a secret."""
    async with _broker(answers) as (url, _):
        updates, _ = _updates(url, _ignore)
        with pytest.raises(TradeUpdatesError, match=said) as raised:
            await updates.listen()
    assert "s3cret" not in str(raised.value)


async def test_listen_when_nobody_answers_then_said() -> None:
    """A broker out of reach is an error of ours, too."""
    updates, _ = _updates("http://127.0.0.1:9", _ignore)
    with pytest.raises(TradeUpdatesError, match="failed"):
        await updates.listen()


async def test_listen_when_this_process_does_not_lead_then_no_connection() -> None:
    """Only the leader listens: a broker that would answer is not even greeted."""
    async with _broker([[AUTHORIZED], [LISTENING, _update()]]) as (url, said):
        updates, metrics = _updates(url, _ignore, False)
        await updates.listen()
    assert (said, metrics.get("trade_updates_total")) == ([], 0)


async def test_listen_when_leadership_is_lost_then_the_next_message_ends_it_unheard() -> None:
    """What another process is to hear now is left to it."""
    async with _broker([[AUTHORIZED], [LISTENING, _update()]]) as (url, said):
        updates, metrics = _updates(url, _ignore, True, False)
        await updates.listen()
    assert ([each["action"] for each in said], metrics.get("trade_updates_total")) == (["auth", "listen"], 0)
