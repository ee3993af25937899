"""Trades and quotes out of JSON bytes, straight into columns, by a compiled pass that makes no Python objects.

It reads what producers usually write: one record a line, keys in any order, plain ASCII strings without escapes, decimal
numbers of up to 15 digits, timestamps in UTC. Of such a record it reads exactly the values a full JSON parser would
(such a number is an integer over a power of ten, both exact, so one division rounds as a parser must). Anything else it
leaves to the caller as unusual, and never guesses.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from torghut_core.engines.byte_column import ByteColumn

UNUSUAL, TRADE, QUOTE = 0, 1, 2
ANY = 0
"""Asks for trades and quotes, as messages or envelopes, told apart by `T` or `channel`."""

PADDING = b"\n" + bytes(40)
"""What must follow the lines, so that the pass needs no bounds checks: it never goes on after a newline."""


class Scanned(NamedTuple):
    """One row per line, in columns."""

    kind: NDArray[np.uint8]
    symbol: NDArray[np.int64]
    """Place in the symbol table, −1 where the table lacks it."""
    packed: NDArray[np.uint64]
    """The symbol's bytes, for those the table lacks."""
    at_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    """Price and size of a trade; bid, ask, bid size, ask size of a quote."""
    bounds: NDArray[np.int64]
    """Start and end of the line."""


class SymbolTable:
    """Symbols by place, and an open-addressing index over those of up to eight bytes for the compiled pass."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.places: dict[str, int] = {}
        self.keys = np.zeros(1024, np.uint64)
        self.slots = np.zeros(1024, np.int64)

    def place(self, name: str) -> int:
        """Return the place of `name`, a new one when it is new."""
        found = self.places.get(name)
        if found is None:
            found = self.places[name] = len(self.names)
            self.names.append(name)
            if 2 * len(self.names) > len(self.keys):
                self.keys = np.zeros(4 * len(self.keys), np.uint64)
                self.slots = np.zeros(len(self.keys), np.int64)
                self._index(self.names)
            else:
                self._index([name])
        return found

    def _index(self, names: Iterable[str]) -> None:
        for name in names:
            text = name.encode()
            if 0 < len(text) <= 8:
                _insert(self.keys, self.slots, np.uint64(int.from_bytes(text, "little")), self.places[name])


def scan_lines(lines: bytes, count: int, wanted: int, table: SymbolTable) -> Scanned:
    """Scan `count` newline-separated records followed by `PADDING`."""
    found = _unscanned(count)
    _scan_lines(np.frombuffer(lines, np.uint8), len(lines) - len(PADDING) + 1, wanted, table.keys, table.slots, found)
    return found


def scan_records(records: ByteColumn, wanted: int, table: SymbolTable) -> Scanned:
    """Scan a terminated column of records."""
    found = _unscanned(len(records))
    found.bounds[:, 0], found.bounds[:, 1] = records.starts, records.ends
    _scan_records(records.data, wanted, table.keys, table.slots, found)
    return found


def _unscanned(count: int) -> Scanned:
    return Scanned(
        kind=np.zeros(count, np.uint8),
        symbol=np.empty(count, np.int64),
        packed=np.empty(count, np.uint64),
        at_ns=np.empty(count, np.int64),
        values=np.empty((count, 4)),
        bounds=np.empty((count, 2), np.int64),
    )


def unpacked(packed: int) -> str:
    """Return the symbol that `Scanned.packed` holds."""
    return packed.to_bytes(8, "little").rstrip(b"\0").decode("ascii")


_u = np.uint64
"""Every place in the bytes is indexed as unsigned: the compiler then leaves out the test for negative ones."""


def _key(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(text.encode(), "little"))


# What a key means. Values: column, and from the third column on a quote's alone.
_OTHER, _PAYLOAD, _EVENT_TS, _TIME, _ENVELOPE_SYMBOL, _SYMBOL, _T, _CHANNEL, _FIRST_VALUE = range(9)
_MEANINGS = {
    "payload": _PAYLOAD,
    "event_ts": _EVENT_TS,
    "eventTs": _EVENT_TS,
    "t": _TIME,
    "symbol": _ENVELOPE_SYMBOL,
    "S": _SYMBOL,
    "T": _T,
    "channel": _CHANNEL,
    **{name: _FIRST_VALUE + number for number, name in enumerate(["p", "s", "bp", "ap", "bs", "as"])},
}
_COLUMN = np.array([0, 1, 0, 1, 2, 3])


def _perfect_hash(texts: list[str]) -> np.uint64:
    """Return an odd factor that sends every key to a slot of its own among 64."""
    keys = [int.from_bytes(text.encode(), "little") for text in texts]
    factor = 0x9E3779B97F4A7C15
    while len({(key * factor % (1 << 64)) >> 58 for key in keys}) < len(keys):
        factor = (factor * 6364136223846793005 + 1442695040888963406) % (1 << 64) | 1
    return np.uint64(factor)


_FACTOR = _perfect_hash(list(_MEANINGS))
_SHIFT = np.uint64(58)
_HASHED = np.zeros(64, np.uint64)
_MEANS = np.zeros(64, np.int64)
for _name, _meaning in _MEANINGS.items():
    _at = (int(_key(_name)) * int(_FACTOR) % (1 << 64)) >> 58
    _HASHED[_at], _MEANS[_at] = _key(_name), _meaning

_KIND_T, _KIND_Q, _KIND_TRADES, _KIND_QUOTES = _key("t"), _key("q"), _key("trades"), _key("quotes")
_POWERS = 10.0 ** np.arange(16)
_POWERS_INT = 10 ** np.arange(10)
_BEFORE_MONTH = np.array([0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334])
_IN_MONTH = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_QUOTE_MARK, _COMMA, _MINUS, _DOT, _COLON, _NEWLINE = 34, 44, 45, 46, 58, 10
_OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST, _BACKSLASH, _ZERO, _NINE = 123, 125, 91, 93, 92, 48, 57
_IS_PLAIN = np.array([32 <= c <= 126 and c not in (_QUOTE_MARK, _BACKSLASH) for c in range(256)])
_IS_DIGIT = np.array([_ZERO <= c <= _NINE for c in range(256)])
# What was found: time, symbol, and the values by column; a trade's and a quote's values are told apart.
_HAS_TIME, _HAS_SYMBOL, _HAS_TRADE, _HAS_QUOTE = 1, 2, 4 + 8, 16 + 32 + 64 + 128


@njit(cache=True)
def _slot(keys: Any, key: Any) -> Any:
    mask = np.uint64(len(keys) - 1)
    at = ((key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
    while keys[at] != np.uint64(0) and keys[at] != key:
        at = (at + np.uint64(1)) & mask
    return np.int64(at)


@njit(cache=True)
def _insert(keys: Any, slots: Any, key: Any, place: int) -> None:
    at = _slot(keys, key)
    keys[at] = key
    slots[at] = place


@njit(cache=True)
def _blank(data: Any, p: int) -> int:
    while data[_u(p)] == 32:
        p += 1
    return p


@njit(cache=True)
def _string(data: Any, p: int) -> int:
    """Return the place of the closing mark of the string whose first character is at p, −1 when it is unusual."""
    while _IS_PLAIN[data[_u(p)]]:
        p += 1
    return p if data[_u(p)] == _QUOTE_MARK else -1


@njit(cache=True)
def _pack(data: Any, start: int, end: int) -> Any:
    packed = np.uint64(0)
    for k in range(end - start):
        packed |= np.uint64(data[_u(start + k)]) << np.uint64(8 * k)
    return packed


@njit(cache=True)
def _digits(data: Any, p: int) -> int:
    while _IS_DIGIT[data[_u(p)]]:
        p += 1
    return p


@njit(cache=True)
def _number_end(data: Any, p: int) -> int:
    """Return the end of the number at p, −1 when it is none or has an exponent."""
    if data[_u(p)] == _MINUS:
        p += 1
    end = _digits(data, p)
    if end == p or (end > p + 1 and data[_u(p)] == _ZERO):
        return -1
    if data[_u(end)] == _DOT:
        p = end + 1
        end = _digits(data, p)
        if end == p:
            return -1
    if data[_u(end)] == 101 or data[_u(end)] == 69:
        return -1
    return end


@njit(cache=True)
def _number(data: Any, p: int, end: int) -> Any:
    """Return whether the number between p and end has at most 15 digits, and its value."""
    is_negative = data[_u(p)] == _MINUS
    if is_negative:
        p += 1
    mantissa: Any = 0
    fraction = 0
    is_fraction = 0
    digits = 0
    while p < end:
        if data[_u(p)] == _DOT:
            is_fraction = 1
        else:
            mantissa = mantissa * 10 + (np.int64(data[_u(p)]) - _ZERO)
            fraction += is_fraction
            digits += 1
            if digits > 15:
                return False, 0.0
        p += 1
    value = mantissa / _POWERS[fraction]
    return True, -value if is_negative else value


@njit(cache=True)
def _two(data: Any, p: int) -> Any:
    a = np.int64(data[_u(p)]) - _ZERO
    b = np.int64(data[_u(p + 1)]) - _ZERO
    if a < 0 or a > 9 or b < 0 or b > 9:
        return -1
    return a * 10 + b


@njit(cache=True)
def _time(data: Any, p: int) -> Any:
    """Return nanoseconds of the UTC timestamp at p and the place of its closing mark, −1 when it is unusual."""
    century, year, month, day = _two(data, p), _two(data, p + 2), _two(data, p + 5), _two(data, p + 8)
    hour, minute, second = _two(data, p + 11), _two(data, p + 14), _two(data, p + 17)
    if data[_u(p + 4)] != _MINUS or data[_u(p + 7)] != _MINUS or data[_u(p + 10)] != 84 or data[_u(p + 13)] != _COLON:
        return 0, -1
    if data[_u(p + 16)] != _COLON or year < 0 or month < 1 or month > 12 or day < 1:
        return 0, -1
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
        return 0, -1
    year += century * 100
    if year < 1970 or year > 2115:
        return 0, -1
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if day > _IN_MONTH[month] + (1 if is_leap and month == 2 else 0):
        return 0, -1
    p += 19
    nanos: Any = 0
    if data[_u(p)] == _DOT:
        end = _digits(data, p + 1)
        count = end - p - 1
        if count < 1 or count > 9:
            return 0, -1
        for k in range(p + 1, end):
            nanos = nanos * 10 + (np.int64(data[_u(k)]) - _ZERO)
        nanos *= _POWERS_INT[9 - count]
        p = end
    if data[_u(p)] != 90 or data[_u(p + 1)] != _QUOTE_MARK:
        return 0, -1
    before = year - 1
    days = 365 * (year - 1970) + before // 4 - before // 100 + before // 400 - 477
    days += _BEFORE_MONTH[month] + (1 if is_leap and month > 2 else 0) + day - 1
    return (days * 86_400 + hour * 3600 + minute * 60 + second) * 1_000_000_000 + nanos, p + 1


@njit(cache=True)
def _scalar(data: Any, p: int) -> int:
    """Return the end of the string, number or literal at p, −1 when it is something else."""
    c = data[_u(p)]
    if c == _QUOTE_MARK:
        end = _string(data, p + 1)
        return end + 1 if end >= 0 else -1
    if c == _MINUS or _ZERO <= c <= _NINE:
        return _number_end(data, p)
    if c == 110 and data[_u(p + 1)] == 117 and data[_u(p + 2)] == 108 and data[_u(p + 3)] == 108:  # null
        return p + 4
    if c == 116 and data[_u(p + 1)] == 114 and data[_u(p + 2)] == 117 and data[_u(p + 3)] == 101:  # true
        return p + 4
    if (
        c == 102
        and data[_u(p + 1)] == 97
        and data[_u(p + 2)] == 108
        and data[_u(p + 3)] == 115
        and data[_u(p + 4)] == 101
    ):  # false
        return p + 5
    return -1


@njit(cache=True)
def _skip(data: Any, p: int) -> int:
    """Return the end of the scalar or list of scalars at p, −1 when it is something else."""
    if data[_u(p)] != _OPEN_LIST:
        return _scalar(data, p)
    p = _blank(data, p + 1)
    if data[_u(p)] == _CLOSE_LIST:
        return p + 1
    while True:
        p = _scalar(data, p)
        if p < 0:
            return -1
        p = _blank(data, p)
        if data[_u(p)] == _CLOSE_LIST:
            return p + 1
        if data[_u(p)] != _COMMA:
            return -1
        p = _blank(data, p + 1)


@njit(cache=True)
def _meaning_of(key: Any) -> Any:
    at = (key * _FACTOR) >> _SHIFT
    return _MEANS[at] if _HASHED[at] == key else _OTHER


@njit(cache=True)
def _record(data: Any, p: int, wanted: int, keys: Any, slots: Any, out: Any, row: int) -> Any:
    """Read the record at p into `row`; return its kind and its end."""
    kind = wanted
    in_envelope, in_message = 0, 0
    depth = 1
    if data[_u(p)] != _OPEN:
        return UNUSUAL, p
    p = _blank(data, p + 1)
    while True:
        if data[_u(p)] != _QUOTE_MARK:
            return UNUSUAL, p
        end = p + 1
        key = _u(0)
        shift = _u(0)
        while _IS_PLAIN[data[_u(end)]]:
            key |= _u(data[_u(end)]) << (shift & _u(63))
            shift += _u(8)
            end += 1
        if data[_u(end)] != _QUOTE_MARK:
            return UNUSUAL, p
        meaning = _meaning_of(key) if shift <= _u(64) else _OTHER
        p = _blank(data, end + 1)
        if data[_u(p)] != _COLON:
            return UNUSUAL, p
        p = _blank(data, p + 1)
        if meaning == _PAYLOAD and depth == 1 and data[_u(p)] == _OPEN:
            depth = 2
            p = _blank(data, p + 1)
            continue
        if meaning >= _FIRST_VALUE and (depth == 2 or wanted == ANY):
            bit = 4 << (meaning - _FIRST_VALUE)
            end = _number_end(data, p)
            if end < 0:
                return UNUSUAL, p
            is_exact, out.values[row, _COLUMN[meaning - _FIRST_VALUE]] = _number(data, p, end)
            if not is_exact:
                return UNUSUAL, p
            p = end
            if depth == 2:
                in_envelope |= bit
            else:
                in_message |= bit
        elif depth == 1 and (meaning == _EVENT_TS or (meaning == _TIME and wanted == ANY)):
            if data[_u(p)] != _QUOTE_MARK:
                return UNUSUAL, p
            out.at_ns[row], end = _time(data, p + 1)
            if end < 0:
                return UNUSUAL, p
            p = end + 1
            if meaning == _TIME:
                in_message |= _HAS_TIME
            else:
                in_envelope |= _HAS_TIME
        elif depth == 1 and (meaning == _ENVELOPE_SYMBOL or (meaning == _SYMBOL and wanted == ANY)):
            if data[_u(p)] != _QUOTE_MARK:
                return UNUSUAL, p
            end = _string(data, p + 1)
            if end < 0 or end - p > 9 or end == p + 1:
                return UNUSUAL, p
            packed = _pack(data, p + 1, end)
            at = _slot(keys, packed)
            out.symbol[row] = slots[at] if keys[at] == packed else -1
            out.packed[row] = packed
            p = end + 1
            if meaning == _SYMBOL:
                in_message |= _HAS_SYMBOL
            else:
                in_envelope |= _HAS_SYMBOL
        elif depth == 1 and wanted == ANY and (meaning == _T or meaning == _CHANNEL):
            if data[_u(p)] != _QUOTE_MARK:
                return UNUSUAL, p
            end = _string(data, p + 1)
            if end < 0 or end - p > 9 or kind != ANY:
                return UNUSUAL, p
            said = _pack(data, p + 1, end)
            if (meaning == _T and said == _KIND_T) or (meaning == _CHANNEL and said == _KIND_TRADES):
                kind = TRADE
            elif (meaning == _T and said == _KIND_Q) or (meaning == _CHANNEL and said == _KIND_QUOTES):
                kind = QUOTE
            else:
                return UNUSUAL, p
            p = end + 1
            if meaning == _T:
                in_message |= 256
            else:
                in_envelope |= 256
        else:
            p = _skip(data, p)
            if p < 0:
                return UNUSUAL, 0
        p = _blank(data, p)
        if data[_u(p)] == _CLOSE and depth == 2:
            depth = 1
            p = _blank(data, p + 1)
        if data[_u(p)] == _COMMA:
            p = _blank(data, p + 1)
        elif data[_u(p)] == _CLOSE and depth == 1:
            break
        else:
            return UNUSUAL, p
    if in_envelope != 0 and in_message != 0:
        return UNUSUAL, p
    needed = _HAS_TIME | _HAS_SYMBOL | (_HAS_TRADE if kind == TRADE else _HAS_QUOTE)
    if wanted == ANY:
        needed |= 256
    return (kind if (in_envelope | in_message) == needed else UNUSUAL), p + 1


@njit(cache=True)
def _whole_record(data: Any, p: int, wanted: int, keys: Any, slots: Any, out: Any, row: int) -> Any:
    """Read the record at p into `row`; return its kind, UNUSUAL when anything but blanks follows, and its line's end."""
    kind, end = _record(data, p, wanted, keys, slots, out, row)
    end = max(end, p)
    if kind != UNUSUAL:
        end = _blank(data, end)
        if data[_u(end)] == 13:
            end += 1
        if data[_u(end)] != _NEWLINE:
            kind = UNUSUAL
    return kind, end


@njit(cache=True)
def _scan_lines(data: Any, size: int, wanted: int, keys: Any, slots: Any, out: Any) -> None:
    p = 0
    for row in range(len(out.kind)):
        if p >= size:
            break
        out.kind[row], end = _whole_record(data, p, wanted, keys, slots, out, row)
        while data[_u(end)] != _NEWLINE:
            end += 1
        out.bounds[row, 0] = p
        out.bounds[row, 1] = end
        p = end + 1


@njit(cache=True)
def _scan_records(data: Any, wanted: int, keys: Any, slots: Any, out: Any) -> None:
    for row in range(len(out.kind)):
        kind, end = _whole_record(data, out.bounds[row, 0], wanted, keys, slots, out, row)
        # A newline inside the record ends the scan early.
        out.kind[row] = kind if end == out.bounds[row, 1] else UNUSUAL


def warm_up() -> None:
    """Compile, or load what was compiled before; takes seconds the first time."""
    table = SymbolTable()
    table.place("A")
    scan_lines(b"{}" + PADDING, 1, ANY, table)
    scan_records(ByteColumn.terminated([b"{}"]), TRADE, table)
