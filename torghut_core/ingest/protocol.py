"""Alpaca's market-data protocol, without a socket: what to send, what an answer means, and what follows from it.

Source: Alpaca's documentation of the real-time stock stream, and the error codes its production was seen to send.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

CHANNELS = ("trades", "quotes", "bars", "updatedBars", "statuses")
OPTIONAL_CHANNELS = frozenset(["statuses"])
"""Halts are worth knowing, but a feed without them is a feed."""


class ErrorClass(StrEnum):
    """Why the forwarder is not ready, or not complete."""

    SECOND_CONNECTION = "alpaca_406_second_connection"
    AUTH = "alpaca_auth"
    CONFIG = "alpaca_config"
    SYMBOL_LIMIT = "alpaca_symbol_limit"
    SLOW_CLIENT = "alpaca_slow_client"
    FEED_SILENT = "feed_silent"
    KAFKA_AUTH = "kafka_auth"
    KAFKA_METADATA = "kafka_metadata"
    KAFKA_PRODUCE = "kafka_produce"
    UNKNOWN = "unknown"


class Effect(StrEnum):
    """What an error does to the session."""

    NONE = "none"
    """It is no error here."""
    REQUEST = "request"
    """The last request was refused whole; what is subscribed stays."""
    END = "end"
    """This connection will not deliver; another one may."""
    END_SLOWLY = "end_slowly"
    """As END, but whoever asks again at once makes it worse, or asks in vain."""


@dataclass(frozen=True)
class Policy:
    """What follows from an error: its class, its effect, and what to say."""

    error_class: ErrorClass
    effect: Effect
    words: str


_FRAMES = {
    400: Policy(ErrorClass.CONFIG, Effect.REQUEST, "invalid syntax or symbol"),
    401: Policy(ErrorClass.AUTH, Effect.END_SLOWLY, "not authenticated"),
    402: Policy(ErrorClass.AUTH, Effect.END_SLOWLY, "authentication failed"),
    403: Policy(ErrorClass.UNKNOWN, Effect.NONE, "already authenticated"),
    404: Policy(ErrorClass.AUTH, Effect.END_SLOWLY, "authentication timed out"),
    405: Policy(ErrorClass.SYMBOL_LIMIT, Effect.REQUEST, "symbol limit exceeded"),
    406: Policy(ErrorClass.SECOND_CONNECTION, Effect.END_SLOWLY, "connection limit exceeded"),
    407: Policy(ErrorClass.SLOW_CLIENT, Effect.END, "slow client"),
    409: Policy(ErrorClass.CONFIG, Effect.END_SLOWLY, "insufficient subscription for this feed"),
    410: Policy(ErrorClass.CONFIG, Effect.REQUEST, "invalid channel for this feed"),
    500: Policy(ErrorClass.UNKNOWN, Effect.END, "internal error"),
}
_UPGRADES = {
    401: Policy(ErrorClass.AUTH, Effect.END_SLOWLY, "unauthorized"),
    403: Policy(ErrorClass.AUTH, Effect.END_SLOWLY, "forbidden"),
    404: Policy(ErrorClass.CONFIG, Effect.END_SLOWLY, "no such stream"),
    406: Policy(ErrorClass.SECOND_CONNECTION, Effect.END_SLOWLY, "connection limit"),
    429: Policy(ErrorClass.SECOND_CONNECTION, Effect.END_SLOWLY, "too many connections"),
}


def frame_policy(code: int | None, text: str = "") -> Policy:
    """Return what follows from an error frame. Without a code it knows, its text decides."""
    if code in _FRAMES:
        return _FRAMES[code]
    lowered = text.lower()
    if "connection limit" in lowered:
        return _FRAMES[406]
    if any(word in lowered for word in ("unauthorized", "forbidden", "auth failed")):
        return _FRAMES[402]
    return Policy(ErrorClass.UNKNOWN, Effect.END, "error without a known code" if code is None else f"error {code}")


def upgrade_policy(status: int) -> Policy:
    """Return what follows from an HTTP status in place of the upgrade. It is no frame's code: 404 is a wrong address."""
    return _UPGRADES.get(status, Policy(ErrorClass.UNKNOWN, Effect.END, "upgrade refused"))


def auth_request(key_id: str, secret_key: str) -> dict[str, Any]:
    """Return the authentication request. Never log it."""
    return {"action": "auth", "key": key_id, "secret": secret_key}


@dataclass(frozen=True)
class SubscriptionRequest:
    """Symbols to subscribe to, or unsubscribe from, on each of some channels."""

    action: str
    symbols: tuple[str, ...]
    channels: tuple[str, ...] = CHANNELS

    def message(self) -> dict[str, Any]:
        """Return what is sent."""
        return {"action": self.action} | {channel: list(self.symbols) for channel in self.channels}

    def parts(self, code: int) -> Sequence[SubscriptionRequest]:
        """Return what to ask instead once this was refused whole with `code`; nothing when it cannot be made smaller."""
        if code == 410 and len(self.channels) > 1:
            return [SubscriptionRequest(self.action, self.symbols, (channel,)) for channel in self.channels]
        if len(self.symbols) > 1:
            middle = len(self.symbols) // 2
            halves = self.symbols[:middle], self.symbols[middle:]
            return [SubscriptionRequest(self.action, half, self.channels) for half in halves]
        return []


class Wire:
    """How messages are written and read: msgpack in binary frames, or JSON in text frames."""

    def __init__(self, codec: str) -> None:
        self.is_msgpack = codec == "msgpack"

    @property
    def headers(self) -> dict[str, str]:
        return {"Content-Type": "application/msgpack"} if self.is_msgpack else {}

    def encode(self, message: dict[str, Any]) -> str | bytes:
        """Return a message as it is sent."""
        return msgspec.msgpack.encode(message) if self.is_msgpack else msgspec.json.encode(message).decode()
