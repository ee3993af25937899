"""Order events from the broker's stream, `trade_updates`: the same events as polling finds, sooner.

https://docs.alpaca.markets/docs/websocket-streaming. What cannot be used is counted and left out; polling goes on.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from torghut_core.errors import UpstreamError
from torghut_core.logs import event
from torghut_core.trading.metrics import Metrics
from torghut_core.trading.model import Order
from torghut_core.trading.orders.answers import AnswerError, decode, parse_order

_LOG = logging.getLogger(__name__)
_MAX_MESSAGE_BYTES = 1_000_000
_GREETING_SECONDS = 10.0


class TradeUpdatesError(UpstreamError):
    """The stream cannot be opened, or ended."""


class TradeUpdates:
    """Listens for one account's order events while it is wanted."""

    def __init__(
        self,
        *,
        base_url: str,
        key: str,
        secret: str,
        on_order: Callable[[Order], Awaitable[object]],
        is_wanted: Callable[[], bool],
        metrics: Metrics,
    ) -> None:
        self._url = f"{base_url.replace('http', 'ws', 1)}/stream"
        self._key = key
        self._secret = secret
        self._on_order = on_order
        self._is_wanted = is_wanted
        self._metrics = metrics

    async def listen(self) -> None:
        """Take events until the stream ends. Raises TradeUpdatesError; whoever calls decides when to try again."""
        if not self._is_wanted():
            return
        try:
            async with connect(
                self._url, max_size=_MAX_MESSAGE_BYTES, open_timeout=_GREETING_SECONDS, proxy=None
            ) as socket:
                async with asyncio.timeout(_GREETING_SECONDS):
                    await self._greet(socket)
                event(_LOG, "trade_updates_listening")
                async for message in socket:
                    if not self._is_wanted():
                        return
                    await self._take(message)
        except (WebSocketException, OSError, TimeoutError) as error:
            raise TradeUpdatesError(f"trade_updates: the stream failed ({type(error).__name__})") from error
        raise TradeUpdatesError("trade_updates: the stream was closed")

    async def _greet(self, socket: ClientConnection) -> None:
        await socket.send(json.dumps({"action": "auth", "key": self._key, "secret": self._secret}))
        if _data(await socket.recv(), "authorization").get("status") != "authorized":
            raise TradeUpdatesError("trade_updates: the broker refused the keys")
        await socket.send(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        if "trade_updates" not in (_data(await socket.recv(), "listening").get("streams") or ()):
            raise TradeUpdatesError("trade_updates: the broker does not send them")

    async def _take(self, message: str | bytes) -> None:
        try:
            order = parse_order(_data(message, "trade_updates").get("order"))
        except (AnswerError, TradeUpdatesError):
            self._metrics.add("trade_updates_skipped_total")
            return
        self._metrics.add("trade_updates_total")
        await self._on_order(order)


def _data(message: str | bytes, stream: str) -> dict[str, Any]:
    try:
        body = decode(message.encode() if isinstance(message, str) else message)
    except AnswerError as error:
        raise TradeUpdatesError("trade_updates: a message is not JSON") from error
    data = body.get("data") if isinstance(body, dict) and body.get("stream") == stream else None
    if not isinstance(data, dict):
        raise TradeUpdatesError(f"trade_updates: a message is not about {stream}")
    return data
