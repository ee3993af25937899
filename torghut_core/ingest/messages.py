"""One message at a time, with a full parser: what the compiled passes leave, checked field by field.

Bars, corrections, cancels, statuses and whatever looks unusual come here. A message that cannot be used is refused with
a reason, one word for the metrics, and costs itself alone.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import msgpack
import msgspec

from torghut_core.ingest.rows import BARS, QUOTES, STATUS, TRADES, UPDATED_BARS
from torghut_core.rfc3339 import format_ns, parse_ns

KINDS = {"t": TRADES, "q": QUOTES, "b": BARS, "u": UPDATED_BARS, "s": STATUS, "l": STATUS, "c": TRADES, "x": TRADES}
"""The channel of each message type. Corrections and cancels travel with the trades they are about."""
CONTROL = frozenset(["success", "error", "subscription"])
_KEEPS_TYPE = frozenset(["c", "x", "l"])
_MAX_SYMBOL = 32
_BARS_IDENTITY = ("o", "h", "l", "c", "v", "n", "vw")
_FIRST_NS, _LAST_NS = 0, 4_102_444_800 * 1_000_000_000
_UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)


class MessageError(ValueError):
    """A message that cannot be used; its text is the reason, one word for the metrics."""


class Message(NamedTuple):
    """A message that can be used."""

    channel: int
    symbol: str
    at_ns: int
    event_ts: str
    payload: dict[str, Any]
    identity: Hashable
    trade_id: tuple[str, int] | None
    """Exchange and number, where both are of the usual kind."""
    quote: tuple[tuple[str, str], tuple[float, ...]] | None = None
    """Venues, and bid, bid size, ask and ask size, where they are of the usual kind."""


def decode_value(data: bytes, *, is_msgpack: bool) -> Any:
    """Return a value of the wire. Raises MessageError `undecodable`."""
    try:
        if is_msgpack:  # not by msgspec, whose times end at microseconds
            return msgpack.unpackb(data, timestamp=0, strict_map_key=True)
        return msgspec.json.decode(data)
    except _UNREADABLE as error:
        raise MessageError("undecodable") from error


def read_message(fields: Mapping[str, Any]) -> Message:
    """Return a market-data message from its fields. Raises MessageError with the reason."""
    kind = fields.get("T")
    channel = KINDS.get(kind) if isinstance(kind, str) else None
    if channel is None:
        raise MessageError("unknown_type")
    symbol = fields.get("S")
    if not isinstance(symbol, str) or not 0 < len(symbol) <= _MAX_SYMBOL or not symbol.isascii():
        raise MessageError("bad_symbol")
    at_ns, event_ts = _time(fields.get("t"))
    _check(str(kind), fields)
    payload = {name: value for name, value in fields.items() if name != "T" or kind in _KEEPS_TYPE}
    payload["t"] = event_ts if not isinstance(fields.get("t"), str) else fields["t"]
    trade_id = None
    if kind == "t":
        trade_id = trade_id_of(fields)
    said = _quote_of(fields) if kind == "q" else None
    return Message(channel, symbol, at_ns, event_ts, payload, _identity(str(kind), fields, event_ts), trade_id, said)


def _quote_of(fields: Mapping[str, Any]) -> tuple[tuple[str, str], tuple[float, ...]] | None:
    bid, ask = fields.get("bx", ""), fields.get("ax", "")
    if not isinstance(bid, str) or not isinstance(ask, str) or not (bid + ask).isascii() or max(len(bid), len(ask)) > 8:
        return None
    return (bid, ask), tuple(float(fields[name]) for name in ("bp", "bs", "ap", "as"))


def _time(value: Any) -> tuple[int, str]:
    try:
        if isinstance(value, str):
            at_ns = parse_ns(value)
            text = value if value[-1] == "Z" and value[10] == "T" and len(value) <= 30 else format_ns(at_ns)
        elif isinstance(value, msgpack.Timestamp):
            at_ns = value.to_unix_nano()
            text = format_ns(at_ns)
        else:
            raise MessageError("bad_time")
    except (ValueError, OverflowError) as error:
        raise MessageError("bad_time") from error
    if not _FIRST_NS <= at_ns < _LAST_NS:
        raise MessageError("bad_time")
    return at_ns, text


def _number(fields: Mapping[str, Any], name: str, reason: str, *, may_be_zero: bool) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise MessageError(reason)
    if value < 0 or (value == 0 and not may_be_zero):
        raise MessageError(reason)
    return float(value)


def _check(kind: str, fields: Mapping[str, Any]) -> None:
    if kind == "t":
        _number(fields, "p", "bad_price", may_be_zero=False)
        _number(fields, "s", "bad_size", may_be_zero=True)
    elif kind == "q":
        for name, reason in (("bp", "bad_price"), ("ap", "bad_price"), ("bs", "bad_size"), ("as", "bad_size")):
            _number(fields, name, reason, may_be_zero=True)
    elif kind in ("b", "u"):
        high, low = (_number(fields, name, "bad_price", may_be_zero=False) for name in ("h", "l"))
        opened, closed = (_number(fields, name, "bad_price", may_be_zero=False) for name in ("o", "c"))
        if not low <= min(opened, closed) <= max(opened, closed) <= high:
            raise MessageError("bad_price")
        _number(fields, "v", "bad_size", may_be_zero=True)


def trade_id_of(fields: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return a trade's exchange and number, None when either is of an unusual kind."""
    exchange, number = fields.get("x"), fields.get("i")
    if not isinstance(exchange, str) or not isinstance(number, int) or isinstance(number, bool):
        return None
    is_usual = exchange.isascii() and 0 < len(exchange) <= 8 and 0 <= number < 1 << 63
    return (exchange, number) if is_usual else None


def _identity(kind: str, fields: Mapping[str, Any], event_ts: str) -> Hashable:
    """Return what makes two messages the same: kind, symbol, exchange and id, or all that it says where there is no id."""
    symbol = fields["S"]
    if kind == "t" and isinstance(fields.get("i"), int | str):
        return kind, symbol, repr(fields.get("x")), fields["i"]
    if kind in ("b", "u"):
        return kind, symbol, event_ts, *(repr(fields.get(name)) for name in _BARS_IDENTITY)
    return kind, symbol, event_ts, repr(sorted((name, repr(value)) for name, value in fields.items()))
