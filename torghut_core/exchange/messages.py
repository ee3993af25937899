"""Market-data messages as they travel: one immutable value that carries its own encoded form.

A replayed line goes out as the bytes it was read as; only what the market itself needs of it is decoded.
Field names on the wire are Alpaca's (https://docs.alpaca.markets/docs/real-time-stock-pricing-data).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from torghut_core.clock import NANOS_PER_SECOND
from torghut_core.rfc3339 import format_ns, parse_ns

CHANNEL_BY_KIND: Final = {
    "t": "trades",
    "q": "quotes",
    "b": "bars",
    "u": "updatedBars",
    "d": "dailyBars",
    "s": "statuses",
    "l": "lulds",
    "c": "corrections",
    "x": "cancelErrors",
}
KIND_BY_CHANNEL: Final = {channel: kind for kind, channel in CHANNEL_BY_KIND.items()}

_TIMESTAMP_EXTENSION: Final = -1


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message of the market.

    `at_ns` is when it is sent, `event_ns` what its `t` says; both nanoseconds since the epoch. A trade has `price` and
    `size`, a quote `bid`, `ask` and their sizes; what a kind has not is 0. `raw` is its JSON.
    """

    at_ns: int
    event_ns: int
    kind: str
    symbol: str
    raw: bytes
    price: float = 0.0
    size: float = 0.0
    bid: float = 0.0
    ask: float = 0.0
    bid_size: float = 0.0
    ask_size: float = 0.0


class Line(msgspec.Struct, gc=False, rename={"ask_size": "as"}):
    """The fields of a recorded message that the market needs; the others pass through unread."""

    T: str
    S: str = ""
    t: str = ""
    p: float = 0.0
    s: float = 0.0
    bp: float = 0.0
    bs: float = 0.0
    ap: float = 0.0
    ask_size: float = 0.0


def encode_message(at_ns: int, event_ns: int, fields: dict[str, Any]) -> Message:
    """Return the message of `fields` (Alpaca's short keys, without `t`, which is added last)."""
    kind = fields["T"]
    return Message(
        at_ns=at_ns,
        event_ns=event_ns,
        kind=kind,
        symbol=fields["S"],
        raw=msgspec.json.encode({**fields, "t": format_ns(event_ns)}),
        price=fields.get("p", 0.0),
        size=float(fields["s"]) if kind == "t" else 0.0,
        bid=fields.get("bp", 0.0),
        ask=fields.get("ap", 0.0),
        bid_size=fields.get("bs", 0.0),
        ask_size=fields.get("as", 0.0),
    )


def decode_fields(message: Message) -> dict[str, Any]:
    """Return every field of a message, extensions of a recorded line included."""
    fields: dict[str, Any] = msgspec.json.decode(message.raw)
    return fields


def history_fields(message: Message) -> dict[str, Any]:
    """Return a message's fields as REST answers carry them: without its kind and symbol."""
    return {key: value for key, value in decode_fields(message).items() if key not in ("T", "S")}


def json_frame(raws: Sequence[bytes]) -> bytes:
    """Return one JSON array of already encoded messages."""
    return b"[" + b",".join(raws) + b"]"


def msgpack_frame(raws: Sequence[bytes]) -> bytes:
    """Return the messages as one msgpack array, `t` as msgpack's timestamp extension, exact to the nanosecond."""
    return msgspec.msgpack.encode([_with_timestamp(msgspec.json.decode(raw)) for raw in raws])


def _with_timestamp(fields: Any) -> Any:
    if isinstance(fields, dict) and isinstance(fields.get("t"), str):
        try:
            fields["t"] = timestamp_extension(parse_ns(fields["t"]))
        except ValueError:
            return fields  # the malformed fault sends what is no time; it stays what it is
    return fields


def timestamp_extension(ns: int) -> msgspec.msgpack.Ext:
    """Return nanoseconds since the epoch as a msgpack timestamp (64-bit form, which ends in 2514)."""
    seconds, rest = divmod(ns, NANOS_PER_SECOND)
    return msgspec.msgpack.Ext(_TIMESTAMP_EXTENSION, struct.pack(">Q", (rest << 34) | seconds))
