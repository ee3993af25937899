"""One connection after the other to Alpaca's stream: connect, authenticate, subscribe, read, and again.

Every wait has a time-out. An open socket is not a connection: only acknowledged subscriptions are. Silence reconnects
while the handshake runs or the feed's session is open; outside it, silence is normal and pings tell of a dead peer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException

from torghut_core.backoff import Backoff
from torghut_core.ingest.protocol import (
    ErrorClass,
    Frame,
    Subscriptions,
    auth_message,
    classify,
    decode_frame,
    ends_session,
    subscription_messages,
)
from torghut_core.logs import event

_logger = logging.getLogger("torghut.ws.alpaca")
_HANDSHAKE_SECONDS = 10.0
_RESUBSCRIBE_SECONDS = 5.0
_MAX_FRAME_BYTES = 64 << 20


class _SessionEnded(Exception):
    def __init__(self, error_class: ErrorClass, reason: str) -> None:
        super().__init__(reason)
        self.error_class = error_class


class StreamSession:
    """Keeps one market-data connection up and hands its frames on."""

    def __init__(
        self,
        *,
        url: str,
        key_id: str,
        secret_key: str,
        batch_size: int,
        idle_seconds: float,
        backoff: Backoff,
        is_feed_open: Callable[[], bool],
        on_frame: Callable[[Frame], None],
        has_room: Callable[[], Awaitable[None]],
    ) -> None:
        self._url = url
        self._key_id = key_id
        self._secret_key = secret_key
        self._batch_size = batch_size
        self._idle_seconds = idle_seconds
        self._backoff = backoff
        self._is_feed_open = is_feed_open
        self._on_frame = on_frame
        self._has_room = has_room
        self.subscriptions = Subscriptions()
        self.error_class: ErrorClass | None = ErrorClass.UNKNOWN
        """Why the gate is closed, None while every wanted symbol is acknowledged."""
        self.is_ready = False
        self.connects = 0
        self.reconnects = 0
        self.connect_errors: dict[str, int] = {}
        self._changed = asyncio.Event()

    def want(self, symbols: frozenset[str]) -> None:
        """Set the universe; a running session unsubscribes first, then subscribes."""
        if symbols and symbols != self.subscriptions.wanted:
            self.subscriptions.wanted = symbols
            self._changed.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Connect again and again until `stop` is set."""
        attempt = 0
        while not stop.is_set():
            was_ready = False
            try:
                await self._connected(stop)
            except _SessionEnded as ended:
                was_ready = self.is_ready
                self._closed(ended.error_class, str(ended))
            except InvalidStatus as error:
                status = error.response.status_code
                self._closed(classify(status), f"upgrade refused with HTTP {status}")
            except (WebSocketException, InvalidHandshake, OSError, TimeoutError) as error:
                was_ready = self.is_ready
                self._closed(ErrorClass.UNKNOWN, f"connection failed ({type(error).__name__})")
            attempt = 1 if was_ready else attempt + 1
            self.is_ready = False
            if stop.is_set():
                return
            self.reconnects += 1
            try:
                await asyncio.wait_for(stop.wait(), self._backoff.delay(attempt))
            except TimeoutError:
                continue

    def _closed(self, error_class: ErrorClass, reason: str) -> None:
        self.error_class = error_class
        self.connect_errors[error_class] = self.connect_errors.get(error_class, 0) + 1
        event(_logger, "session_ended", logging.WARNING, error_class=error_class.value, reason=reason)

    async def _connected(self, stop: asyncio.Event) -> None:
        is_local = urlsplit(self._url).hostname in ("127.0.0.1", "localhost", "::1")
        async with connect(
            self._url,
            open_timeout=_HANDSHAKE_SECONDS,
            close_timeout=2,
            ping_interval=20,
            ping_timeout=20,
            max_size=_MAX_FRAME_BYTES,
            proxy=None if is_local else True,
        ) as socket:
            self.subscriptions.acknowledged.clear()
            await socket.send(auth_message(self._key_id, self._secret_key))
            await self._until_authenticated(socket)
            await self._subscribe(socket, "subscribe", self.subscriptions.wanted)
            await self._read(socket, stop)

    async def _until_authenticated(self, socket: ClientConnection) -> None:
        deadline = time.monotonic() + _HANDSHAKE_SECONDS
        while True:
            frame = decode_frame(await asyncio.wait_for(socket.recv(), max(0.0, deadline - time.monotonic())))
            for message in frame.control:
                if message.get("T") == "error":
                    self._raise_for(message)
                elif message.get("T") == "success" and "auth" in str(message.get("msg")):
                    return

    def _raise_for(self, message: dict[str, object]) -> None:
        code = message.get("code")
        number = code if isinstance(code, int) else None
        error_class = classify(number, str(message.get("msg", "")))
        if ends_session(number):
            raise _SessionEnded(error_class, f"Alpaca error {number}")
        event(_logger, "alpaca_error", logging.WARNING, code=number)

    async def _subscribe(self, socket: ClientConnection, action: str, symbols: frozenset[str]) -> None:
        for request in subscription_messages(action, symbols, self._batch_size):
            await socket.send(request)

    async def _read(self, socket: ClientConnection, stop: asyncio.Event) -> None:
        asked_at = heard_at = time.monotonic()
        self._changed.clear()
        while not stop.is_set():
            await self._has_room()
            try:
                received = await asyncio.wait_for(socket.recv(), 0.5)
            except TimeoutError:
                received = None
            now = time.monotonic()
            if received is not None:
                heard_at = now
                self._take(decode_frame(received))
            if self._changed.is_set():
                self._changed.clear()
                acknowledged = frozenset().union(*self.subscriptions.acknowledged.values())
                await self._subscribe(socket, "unsubscribe", acknowledged - self.subscriptions.wanted)
                await self._subscribe(socket, "subscribe", self.subscriptions.missing)
                asked_at = now
            if not self.is_ready and now - asked_at >= _RESUBSCRIBE_SECONDS:
                if now - heard_at >= 2 * _RESUBSCRIBE_SECONDS:
                    raise _SessionEnded(ErrorClass.UNKNOWN, "subscriptions were not acknowledged")
                await self._subscribe(socket, "subscribe", self.subscriptions.missing)
                asked_at = now
            if now - heard_at >= self._idle_seconds and self._is_feed_open():
                raise _SessionEnded(ErrorClass.UNKNOWN, f"silent for {self._idle_seconds:.0f} s in the feed's session")

    def _take(self, frame: Frame) -> None:
        for message in frame.control:
            if message.get("T") == "error":
                self._raise_for(message)
            elif message.get("T") == "subscription":
                self.subscriptions.acknowledge(message)
        is_ready = self.subscriptions.is_complete
        if is_ready and not self.is_ready:
            self.connects += 1
            self.error_class = None
            event(_logger, "subscribed", symbols=len(self.subscriptions.wanted))
        elif self.is_ready and not is_ready:
            self.error_class = ErrorClass.UNKNOWN
        self.is_ready = is_ready
        if frame.data or frame.dropped:
            self._on_frame(frame)
