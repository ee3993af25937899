"""The envelope every record on Kafka travels in.

Written as JSON, its keys in the contract's order. Readers take JSON and msgpack, unknown keys, and the camelCase
spelling (`ingestTs`, `eventTs`, `isFinal`) of older producers.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from torghut_core.errors import InputError

Channel = Literal["trades", "quotes", "bars", "updatedBars", "status", "trade_updates", "microbars", "signals"]
Source = Literal["ws", "rest", "ta"]


class Window(msgspec.Struct, frozen=True):
    """The window of a derived record: ISO 8601 durations and RFC 3339 bounds."""

    size: str
    step: str | None = None
    start: str | None = None
    end: str | None = None


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """One record.

    `ingest_ts` and `event_ts` are RFC 3339 UTC with up to nine fraction digits. `seq` rises strictly per symbol and
    channel, across restarts too. `payload` keeps Alpaca's short keys. Sizes in it may be fractions.
    """

    ingest_ts: str
    event_ts: str
    feed: str
    channel: Channel
    symbol: str
    seq: int
    is_final: bool
    source: Source
    window: Window | None
    payload: dict[str, Any]
    version: int = 1


class _CamelEnvelope(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The older spelling; the same fields under camelCase names."""

    ingest_ts: str
    event_ts: str
    feed: str
    channel: Channel
    symbol: str
    seq: int
    is_final: bool
    source: Source
    window: Window | None = None
    payload: dict[str, Any]
    version: int = 1


_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""The last for payloads nested deeper than anyone means."""
_ENCODER = msgspec.json.Encoder()
_JSON = msgspec.json.Decoder(Envelope)
_JSON_CAMEL = msgspec.json.Decoder(_CamelEnvelope)
_MSGPACK = msgspec.msgpack.Decoder(Envelope)
_MSGPACK_CAMEL = msgspec.msgpack.Decoder(_CamelEnvelope)


def encode(envelope: Envelope) -> bytes:
    """Return the envelope as JSON, keys in contract order."""
    return _ENCODER.encode(envelope)


def decode(record: bytes) -> Envelope:
    """Return the envelope of a JSON or msgpack record.

    Raises InputError, naming the field and the rule, when the record is neither.
    """
    is_json = record[:1] in (b"{", b" ", b"\n", b"\t", b"\r")
    decoder, camel = (_JSON, _JSON_CAMEL) if is_json else (_MSGPACK, _MSGPACK_CAMEL)
    try:
        return decoder.decode(record)
    except _UNREADABLE as error:
        try:
            older = camel.decode(record)
        except _UNREADABLE:
            raise InputError(f"record is not an envelope: {error}") from error
        return Envelope(**{name: getattr(older, name) for name in Envelope.__struct_fields__})
