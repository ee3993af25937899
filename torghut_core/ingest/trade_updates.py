"""The account's own order events: a second stream of another protocol, sparse by nature, so only pings tell of its death.

Source: https://docs.alpaca.markets/docs/websocket-streaming (frames are JSON, text or binary).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from torghut_core.backoff import FullJitter
from torghut_core.ingest.protocol import ErrorClass, upgrade_policy
from torghut_core.ingest.seen import SeenTable, identity_of, is_repeat
from torghut_core.logs import event

_logger = logging.getLogger("torghut.ws.trade_updates")
_ANSWER_SECONDS = 10.0
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _RefusedError(Exception):
    pass


class TradeUpdates:
    """Keeps the trading stream up and hands each update on once."""

    def __init__(
        self,
        *,
        url: str,
        key_id: str,
        secret_key: str,
        backoff: FullJitter,
        slow_backoff: FullJitter,
        on_update: Callable[[Mapping[str, Any]], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._url = url
        self._key_id = key_id
        self._secret_key = secret_key
        self._backoff = backoff
        self._slow_backoff = slow_backoff
        self._on_update = on_update
        self._monotonic = monotonic
        self._seen = SeenTable(3600.0, 10_000)
        self.problem: tuple[ErrorClass, str] | None = (ErrorClass.UNKNOWN, "trade updates: not connected yet")
        self.repeats = 0
        self.dropped = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Connect again and again until `stop` is set."""
        attempt = 0
        while not stop.is_set():
            slow = False
            try:
                await self._listen(stop)
                attempt = 0
                self.problem = (ErrorClass.UNKNOWN, "trade updates: closed")
            except _RefusedError:
                slow = True
                self.problem = (ErrorClass.AUTH, "trade updates: the key is refused")
            except InvalidStatus as error:
                policy = upgrade_policy(error.response.status_code)
                slow = policy.error_class is not ErrorClass.UNKNOWN
                self.problem = (policy.error_class, f"trade updates: HTTP {error.response.status_code}")
            except (WebSocketException, OSError, TimeoutError) as error:
                attempt = 0 if self.problem is None else attempt
                self.problem = (ErrorClass.UNKNOWN, f"trade updates: no connection: {type(error).__name__}")
            if stop.is_set():
                return
            attempt += 1
            event(_logger, "trade_updates_ended", logging.WARNING, reason=self.problem[1], attempt=attempt)
            with suppress(TimeoutError):
                async with asyncio.timeout((self._slow_backoff if slow else self._backoff).delay(attempt)):
                    await stop.wait()

    async def _listen(self, stop: asyncio.Event) -> None:
        is_local = urlsplit(self._url).hostname in ("127.0.0.1", "localhost", "::1")
        async with connect(
            self._url,
            open_timeout=_ANSWER_SECONDS,
            close_timeout=2,
            ping_interval=10,
            ping_timeout=10,
            proxy=None if is_local else True,
        ) as socket:
            await _send(socket, {"action": "auth", "key": self._key_id, "secret": self._secret_key})
            async with asyncio.timeout(_ANSWER_SECONDS):
                while (said := await self._next(socket)).get("stream") != "authorization":
                    continue
                if _data(said).get("status") != "authorized":
                    raise _RefusedError
                await _send(socket, {"action": "listen", "data": {"streams": ["trade_updates"]}})
                while (said := await self._next(socket)).get("stream") != "listening":
                    continue
            self.problem = None
            leaving = asyncio.create_task(self._leave(socket, stop))
            try:
                while not stop.is_set():
                    said = await self._next(socket)
                    if said.get("stream") == "trade_updates":
                        self._take(_data(said))
            finally:
                leaving.cancel()
                await asyncio.gather(leaving, return_exceptions=True)

    @staticmethod
    async def _leave(socket: ClientConnection, stop: asyncio.Event) -> None:
        await stop.wait()
        await socket.close()

    async def _next(self, socket: ClientConnection) -> dict[str, Any]:
        while True:
            try:
                value = msgspec.json.decode(await socket.recv(decode=False))
            except _UNREADABLE:
                self.dropped += 1
                continue
            if isinstance(value, dict):
                return value
            self.dropped += 1

    def _take(self, update: Mapping[str, Any]) -> None:
        order = update.get("order")
        symbol = order.get("symbol") if isinstance(order, dict) else None
        if not isinstance(order, dict) or not isinstance(symbol, str) or not 0 < len(symbol) <= 32:
            self.dropped += 1
            return
        order_id = order.get("id") or order.get("client_order_id")
        key = (order_id, update.get("event"), order.get("status"), update.get("timestamp"), update.get("execution_id"))
        if is_repeat(self._seen.address, *identity_of(key), self._monotonic()):
            self.repeats += 1
            return
        self._on_update(update)


async def _send(socket: ClientConnection, message: dict[str, Any]) -> None:
    async with asyncio.timeout(_ANSWER_SECONDS):
        await socket.send(msgspec.json.encode(message).decode())


def _data(said: Mapping[str, Any]) -> dict[str, Any]:
    data = said.get("data")
    return data if isinstance(data, dict) else {}
