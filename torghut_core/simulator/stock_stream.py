"""The market-data WebSocket `/v2/{feed}`: authentication, subscriptions, one connection per account.

Messages and codes: https://docs.alpaca.markets/docs/streaming-market-data. A client that sends the header
`Content-Type: application/msgpack` gets msgpack in binary frames, any other JSON in text frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from torghut_core.exchange.messages import KIND_BY_CHANNEL, Message, json_frame, msgpack_frame
from torghut_core.simulator.faults import FaultPanel
from torghut_core.simulator.wire import WebSocket

ERRORS: Final = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    409: "insufficient subscription",
    410: "invalid subscribe action for this feed",
    500: "internal error",
}
_SUBSCRIBABLE: Final = tuple(channel for channel in KIND_BY_CHANNEL if channel not in ("corrections", "cancelErrors"))
_WITH_TRADES: Final = {"c": "t", "x": "t"}
"""Corrections and cancels come to whoever has the trades."""
_OTHER_FEEDS_CHANNELS: Final = frozenset(("orderbooks", "news"))
_MESSAGES_PER_FRAME: Final = 1000
_BYTES_PER_FRAME: Final = 200_000
"""Below the 1 MiB that clients usually accept in one message, msgpack included."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Who may connect, and with what entitlement."""

    key_id: str
    secret_key: str
    feeds: frozenset[str]
    """Feeds of the account's plan; another one answers 409."""
    symbol_limit: int | None = None
    """Symbols allowed in trades and quotes together; None for no limit."""
    auth_seconds: float = 10.0


class ConnectionSlot:
    """The one market-data connection an account may have."""

    def __init__(self) -> None:
        self._holder: object | None = None
        self._is_wanted_inside = False
        self._is_held_inside = False

    @property
    def occupant(self) -> str:
        """Return who holds the slot: `nobody`, `client`, or `simulator` when it was told to occupy it."""
        if self._is_held_inside:
            return "simulator"
        return "nobody" if self._holder is None else "client"

    def take(self, holder: object) -> bool:
        """Give the slot to `holder` if it is free; tell whether it has it."""
        if self._holder is not None or self._is_held_inside:
            return False
        self._holder = holder
        return True

    def free(self, holder: object) -> None:
        """Give the slot up, if `holder` has it. A wish to occupy it comes first."""
        if self._holder is holder:
            self._holder = None
            self._is_held_inside = self._is_wanted_inside

    def occupy(self) -> None:
        """Take the slot for the simulator itself, at once or as soon as its holder is gone."""
        self._is_wanted_inside = True
        self._is_held_inside = self._holder is None

    def release(self) -> None:
        """Give up what `occupy` took or waits for."""
        self._is_wanted_inside = self._is_held_inside = False


class Subscriptions:
    """What one connection asked for, per channel; `*` stands for every symbol."""

    def __init__(self) -> None:
        self._symbols: dict[str, dict[str, None]] = {channel: {} for channel in _SUBSCRIBABLE}
        self._keys: set[tuple[str, str]] = set()
        self._whole_kinds: set[str] = set()

    @property
    def is_empty(self) -> bool:
        return not any(self._symbols.values())

    def change(self, wanted: dict[str, list[str]], *, is_added: bool) -> None:
        """Add or take away symbols."""
        for channel, symbols in wanted.items():
            for symbol in symbols:
                if is_added:
                    self._symbols[channel][symbol] = None
                else:
                    self._symbols[channel].pop(symbol, None)
        kinds = {channel: KIND_BY_CHANNEL[channel] for channel in self._symbols}
        self._whole_kinds = {kinds[channel] for channel, symbols in self._symbols.items() if "*" in symbols}
        self._keys = {(kinds[channel], symbol) for channel, symbols in self._symbols.items() for symbol in symbols}

    def counted_with(self, wanted: dict[str, list[str]]) -> int:
        """Return how many symbols trades and quotes would have together with `wanted`."""
        return sum(
            len(self._symbols[channel].keys() | set(wanted.get(channel, ()))) for channel in ("trades", "quotes")
        )

    def select(self, messages: Sequence[Message]) -> list[bytes]:
        """Return the encoded messages that were asked for."""
        keys, whole = self._keys, self._whole_kinds
        return [
            m.raw for m in messages if (kind := _WITH_TRADES.get(m.kind, m.kind)) in whole or (kind, m.symbol) in keys
        ]

    def acknowledgement(self) -> dict[str, Any]:
        """Return the cumulative state as the stream acknowledges it; corrections follow trades by themselves."""
        listed = {channel: list(symbols) for channel, symbols in self._symbols.items()}
        trades = listed["trades"]
        return {"T": "subscription", **listed, "corrections": list(trades), "cancelErrors": list(trades)}


class StockSession:
    """One client of the market-data stream."""

    def __init__(self, websocket: WebSocket, *, feed: str, account: Account, slot: ConnectionSlot, faults: FaultPanel):
        self._websocket = websocket
        self._feed = feed
        self._account = account
        self._slot = slot
        self._faults = faults
        self._is_msgpack = "msgpack" in websocket.request.headers.get("content-type", "")
        self.subscriptions = Subscriptions()

    async def serve(self, on_subscribed: Callable[[], None]) -> None:
        """Speak with the client until it leaves or is sent away; `on_subscribed` is called once it asked for data."""
        self._send_control({"T": "success", "msg": "connected"})
        try:
            async with asyncio.timeout(self._account.auth_seconds):
                is_welcome = await self._authenticate()
        except TimeoutError:
            self._send_error(404)
            return
        if not is_welcome:
            return
        try:
            while (data := await self._websocket.receive()) is not None:
                self._obey(data)
                if not self.subscriptions.is_empty:
                    on_subscribed()
        finally:
            self._slot.free(self)

    async def _authenticate(self) -> bool:
        while (data := await self._websocket.receive()) is not None:
            request = self._decode(data)
            if request is None:
                self._send_error(400)
                continue
            if request.get("action") != "auth":
                self._send_error(401)
                continue
            refusal = self._refusal(request)
            if refusal is not None:
                self._send_error(refusal)
                return False
            self._send_control({"T": "success", "msg": "authenticated"})
            return True
        return False

    def _refusal(self, request: dict[str, Any]) -> int | None:
        if self._faults.is_on("stream_500"):
            return 500
        if self._faults.is_on("auth_401"):
            return int(self._faults.parameter("auth_401", "code"))
        if (request.get("key"), request.get("secret")) != (self._account.key_id, self._account.secret_key):
            return 402
        if self._feed not in self._account.feeds:
            return 409
        if self._faults.is_on("reject_406") or not self._slot.take(self):
            return 406
        return None

    def _obey(self, data: bytes) -> None:
        request = self._decode(data)
        action = None if request is None else request.get("action")
        if request is None or action not in ("auth", "subscribe", "unsubscribe"):
            self._send_error(400)
        elif action == "auth":
            self._send_error(403)
        else:
            self._change_subscriptions(request, is_added=action == "subscribe")

    def _change_subscriptions(self, request: dict[str, Any], *, is_added: bool) -> None:
        wanted = {key: value for key, value in request.items() if key != "action"}
        if any(channel in _OTHER_FEEDS_CHANNELS for channel in wanted):
            self._send_error(410)
            return
        ignored = ("corrections", "cancelErrors")
        wanted = {channel: symbols for channel, symbols in wanted.items() if channel not in ignored}
        for channel, symbols in wanted.items():
            is_list = isinstance(symbols, list) and all(isinstance(symbol, str) and symbol for symbol in symbols)
            if channel not in _SUBSCRIBABLE or not is_list:
                self._send_error(400)
                return
        refused = self._refused_code(wanted) if is_added else None
        if refused is not None:
            self._send_error(refused)
            return
        limit = self._account.symbol_limit
        if is_added and limit is not None and self.subscriptions.counted_with(wanted) > limit:
            self._send_error(405)
            return
        self.subscriptions.change(wanted, is_added=is_added)
        self._send_control(self.subscriptions.acknowledgement())

    def _refused_code(self, wanted: dict[str, list[str]]) -> int | None:
        if not self._faults.is_on("refuse_subscription"):
            return None
        symbol = self._faults.parameter("refuse_subscription", "symbol")
        channel = self._faults.parameter("refuse_subscription", "channel")
        is_meant = (not channel or channel in wanted) and (
            not symbol or any(symbol in each for each in wanted.values())
        )
        return int(self._faults.parameter("refuse_subscription", "code")) if is_meant else None

    def _decode(self, data: bytes) -> dict[str, Any] | None:
        try:
            value = msgspec.msgpack.decode(data) if self._is_msgpack else msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return value if isinstance(value, dict) and all(isinstance(key, str) for key in value) else None

    def _send_error(self, code: int) -> None:
        self._send_control({"T": "error", "code": code, "msg": ERRORS.get(code, "internal error")})

    def _send_control(self, message: dict[str, Any]) -> None:
        raw = msgspec.json.encode(message)
        self._websocket.send(self._frame([raw]), is_binary=self._is_msgpack)

    def _frame(self, raws: Sequence[bytes]) -> bytes:
        return msgpack_frame(raws) if self._is_msgpack else json_frame(raws)

    def publish(self, messages: Sequence[Message]) -> int:
        """Send what the client asked for of `messages`, many to a frame; return how many that were."""
        if self._faults.is_on("silent_socket"):
            return 0
        if self.end_if_slow():
            return 0
        raws = self.subscriptions.select(messages)
        for chunk in _chunks(raws):
            self._websocket.send(self._frame(chunk), is_binary=self._is_msgpack)
        return len(raws)

    def publish_broken(self, data: bytes) -> None:
        """Send bytes that are no message, as a frame of their own."""
        if not self.subscriptions.is_empty and not self._faults.is_on("silent_socket"):
            self._websocket.send(data, is_binary=self._is_msgpack)

    def end_if_slow(self) -> bool:
        """Send a client away with 407 when the slow-reader fault says it is slow; tell whether it was."""
        if not self._faults.is_on("slow_reader") or self.subscriptions.is_empty:
            return False
        if self._websocket.pending_bytes <= self._faults.parameter("slow_reader", "max_pending_bytes"):
            return False
        self._send_error(407)
        self._slot.free(self)
        self._websocket.hang_up()
        return True

    async def drain(self) -> None:
        """Wait until the client has taken enough, unless slow clients are sent away."""
        if not self._faults.is_on("slow_reader"):
            await self._websocket.drain()

    def mute(self, is_mute: bool) -> None:
        """Leave pings unanswered, or answer them again."""
        self._websocket.is_mute = is_mute

    def abort(self) -> None:
        """Cut the connection without a word."""
        self._slot.free(self)
        self._websocket.abort()


def _chunks(raws: list[bytes]) -> list[list[bytes]]:
    if sum(map(len, raws)) <= _BYTES_PER_FRAME and len(raws) <= _MESSAGES_PER_FRAME:
        return [raws] if raws else []
    chunks: list[list[bytes]] = [[]]
    size = 0
    for raw in raws:
        if size + len(raw) > _BYTES_PER_FRAME or len(chunks[-1]) == _MESSAGES_PER_FRAME:
            chunks.append([])
            size = 0
        chunks[-1].append(raw)
        size += len(raw)
    return chunks
