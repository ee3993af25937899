"""Alpaca's market-data protocol, without a socket: what to send, and what an answer means.

Source: Alpaca's documentation of the real-time stock stream, and the error codes its production was seen to send.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec

CHANNELS = ("trades", "quotes", "bars", "updatedBars")
KINDS = {"t": "trades", "q": "quotes", "b": "bars", "u": "updatedBars", "s": "status"}
_CONTROL = frozenset(["success", "error", "subscription"])


class ErrorClass(StrEnum):
    """Why the forwarder is not ready."""

    SECOND_CONNECTION = "alpaca_406_second_connection"
    AUTH = "alpaca_auth"
    KAFKA_AUTH = "kafka_auth"
    KAFKA_METADATA = "kafka_metadata"
    KAFKA_PRODUCE = "kafka_produce"
    UNKNOWN = "unknown"


_BY_CODE = {401: ErrorClass.AUTH, 402: ErrorClass.AUTH, 404: ErrorClass.AUTH, 406: ErrorClass.SECOND_CONNECTION}
_KEEPS_SESSION = frozenset([400, 403, 405])
"""Invalid request, already authenticated, symbol limit: earlier subscriptions stay valid."""


def classify(code: int | None, text: str = "") -> ErrorClass:
    """Return the class of an error frame or of a refused upgrade (HTTP status as `code`)."""
    if code in _BY_CODE:
        return _BY_CODE[code]
    lowered = text.lower()
    if "connection limit" in lowered:
        return ErrorClass.SECOND_CONNECTION
    if code not in _KEEPS_SESSION and any(word in lowered for word in ("unauthorized", "forbidden", "auth failed")):
        return ErrorClass.AUTH
    return ErrorClass.UNKNOWN


def ends_session(code: int | None) -> bool:
    """Tell whether an error frame means that this connection will not deliver."""
    return code not in _KEEPS_SESSION


def auth_message(key_id: str, secret_key: str) -> str:
    """Return the authentication request. Never log it."""
    return msgspec.json.encode({"action": "auth", "key": key_id, "secret": secret_key}).decode()


def subscription_messages(action: str, symbols: Iterable[str], batch_size: int) -> list[str]:
    """Return requests that `subscribe` to or `unsubscribe` from every channel, `batch_size` symbols each."""
    wanted = sorted(symbols)
    batches = [wanted[start : start + batch_size] for start in range(0, len(wanted), batch_size)]
    return [msgspec.json.encode({"action": action} | dict.fromkeys(CHANNELS, batch)).decode() for batch in batches]


_DECODER = msgspec.json.Decoder(list[dict[str, Any]])
_ANY = msgspec.json.Decoder()


@dataclass
class Frame:
    """A decoded frame: market-data messages by channel, control messages, and what could not be used."""

    control: list[dict[str, Any]] = field(default_factory=list)
    data: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)


def decode_frame(frame: str | bytes) -> Frame:
    """Return the messages of a frame (an array, or one object). Bad elements are counted, never raised."""
    found = Frame()
    try:
        messages: Sequence[Any] = _DECODER.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            value = _ANY.decode(frame)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found.dropped["undecodable_frame"] = 1
            return found
        messages = value if isinstance(value, list) else [value]
    for message in messages:
        kind = message.get("T") if isinstance(message, dict) else None
        channel = KINDS.get(kind) if isinstance(kind, str) else None
        if channel is not None:
            found.data.setdefault(channel, []).append(message)
        elif kind in _CONTROL:
            found.control.append(message)
        else:
            reason = "not_an_object" if kind is None else "unknown_type"
            found.dropped[reason] = found.dropped.get(reason, 0) + 1
    return found


@dataclass
class Subscriptions:
    """What was asked for, and what Alpaca acknowledged, per channel: ready means all of it."""

    wanted: frozenset[str] = frozenset()
    acknowledged: dict[str, frozenset[str]] = field(default_factory=dict)

    def acknowledge(self, message: dict[str, Any]) -> None:
        """Take a subscription message; each names everything that is subscribed now."""
        for channel in CHANNELS:
            symbols = message.get(channel)
            if isinstance(symbols, list):
                self.acknowledged[channel] = frozenset(str(symbol) for symbol in symbols)

    @property
    def missing(self) -> frozenset[str]:
        """Symbols that lack at least one channel."""
        return frozenset(
            symbol
            for symbol in self.wanted
            if any(symbol not in self.acknowledged.get(channel, frozenset()) for channel in CHANNELS)
        )

    @property
    def is_complete(self) -> bool:
        return bool(self.wanted) and not self.missing
