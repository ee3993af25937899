"""Trades and quotes of a msgpack frame to envelopes, in one compiled pass that writes each message as JSON.

A message is taken here when it is a map of plain scalars and short lists of them, each known key once; every other is
left to the caller. Source of the format: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from torghut_core.byte_words import (
    byte,
    bytes_before,
    compiled,
    copy,
    double_of,
    first_bytes,
    put_byte,
    put_word,
    reversed_bytes,
    stops,
    word,
)
from torghut_core.ingest.rows import DONE, FULL, UNUSUAL, envelope, has_room, minute_of, powers_of, scratch_of
from torghut_core.ingest.seen import quote_words, trade_words
from torghut_core.ingest.writing import put_decimal, put_integer, put_time

_u = np.uint64


def _word(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(text.encode(), "little"))


_KIND, _S, _T, _P, _SIZE, _I, _X = (_word(name) for name in ("T", "S", "t", "p", "s", "i", "x"))
_BX, _BP, _BS, _AX, _AP, _AS = (_word(name) for name in ("bx", "bp", "bs", "ax", "ap", "as"))
_IS_TRADE, _IS_QUOTE, _NULL, _TRUE, _FALSE = _word("t"), _word("q"), _word("null"), _word("true"), _word("false")
_NONE, _TEXT, _INTEGER, _DECIMAL, _TIME, _OTHER = 0, 1, 2, 3, 4, 5
_TRADE_NEEDS, _QUOTE_NEEDS = 1 + 2 + 4 + 8 + 16 + 32, 1 + 2 + 64 + 128 + 256 + 512
_SCRATCH = 32_768
SCRATCH_SIZE = _SCRATCH + 4096
"""Bytes for one payload while it is read."""


@compiled
def _big(data: Any, p: Any, size: Any) -> Any:
    """Return the number of `size` bytes at p, the highest first."""
    return reversed_bytes(word(data, p)) >> _u(64 - 8 * size)


@compiled
def _put_string(data: Any, p: Any, length: Any, out: Any, at: Any) -> Any:
    """Write the string of `length` bytes at p with its marks; return the place after it, −1 when it is not plain."""
    place = p
    end = p + length
    while place < end:
        plain = bytes_before(stops(word(data, place)))
        place += plain
        if plain < 8:
            break
    if place < end:
        return np.int64(-1)
    put_byte(out, at, _u(34))
    at = copy(out, at + 1, data, p, end)
    put_byte(out, at, _u(34))
    return at + 1


@compiled
def _scalar(data: Any, p: Any, out: Any, at: Any, powers: Any) -> Any:
    """Write the text, number or literal at p.

    Return what it was, its end, the place after what was written, and its value as an integer and as a number.
    """
    b = byte(data, p)
    kind, whole, value = _NONE, _u(0), 0.0
    if b < 0x80 or 0xCC <= b <= 0xCF:
        size = 0 if b < 0x80 else 1 << (b - 0xCC)
        whole = _u(b) if size == 0 else _big(data, p + 1, size)
        p += 1 + size
        at = put_integer(out, at, whole)
        kind, value = _INTEGER, np.float64(whole)
    elif b == 0xCB:
        value = double_of(reversed_bytes(word(data, p + 1)))
        p += 9
        at = put_decimal(out, at, value, powers)
        kind = _DECIMAL if at >= 0 else _NONE
    elif 0xA0 <= b <= 0xBF or b == 0xD9:
        length = b - 0xA0 if b != 0xD9 else byte(data, p + 1)
        p += 1 if b != 0xD9 else 2
        at = _put_string(data, p, length, out, at)
        whole = first_bytes(word(data, p), length) if length <= 8 else _u(0)
        p += length
        kind = _TEXT if at >= 0 else _NONE
    elif b == 0xC0:
        put_word(out, at, _NULL)
        kind, p, at = _OTHER, p + 1, at + 4
    elif b == 0xC3:
        put_word(out, at, _TRUE)
        kind, p, at = _OTHER, p + 1, at + 4
    elif b == 0xC2:
        put_word(out, at, _FALSE)
        kind, p, at = _OTHER, p + 1, at + 5
    return kind, p, at, whole, value


@compiled
def _time(data: Any, p: Any, out: Any, at: Any, minute_text: Any, last_minute: Any) -> Any:
    """Write the timestamp extension at p; return its end (−1: none), the place after it, its time, the minute held."""
    b = byte(data, p)
    seconds, nanos, end = np.int64(0), np.int64(0), np.int64(-1)
    if b == 0xD7 and byte(data, p + 1) == 0xFF:
        both = reversed_bytes(word(data, p + 2))
        seconds, nanos, end = np.int64(both & _u(0x3FFFFFFFF)), np.int64(both >> _u(34)), p + 10
    elif b == 0xD6 and byte(data, p + 1) == 0xFF:
        seconds, end = np.int64(_big(data, p + 2, 4)), p + 6
    elif b == 0xC7 and byte(data, p + 1) == 12 and byte(data, p + 2) == 0xFF:
        nanos, seconds, end = np.int64(_big(data, p + 3, 4)), np.int64(_big(data, p + 7, 8)), p + 15
    if end < 0 or nanos > 999_999_999 or not 0 <= seconds < 4_102_444_800:  # up to 2100
        return np.int64(-1), at, np.int64(0), last_minute
    put_byte(out, at, _u(34))
    at, last_minute = put_time(out, at + 1, seconds, nanos, minute_text, last_minute)
    put_byte(out, at, _u(34))
    return end, at + 1, seconds * 1_000_000_000 + nanos, last_minute


@compiled
def _message(data: Any, p: Any, limit: Any, out: Any, powers: Any, minute_text: Any, last_minute: Any) -> Any:
    """Write the members of the map at p to `out`.

    Return the end (−1: unusual), whether it is a quote, the end of what was written, symbol, time, bounds of the time's
    text in `out`, both words of the identity, and the minute held.
    """
    b = byte(data, p)
    members, at, found = b & 0x0F, np.int64(1), 0
    is_usual, is_quote, is_trade = 0x80 <= b <= 0x8F, False, False
    symbol, at_ns, time_start, time_end = _u(0), np.int64(0), np.int64(0), np.int64(0)
    venue, other_venue, identifier = _u(0), _u(0), _u(0)
    a, asked, c, d = 0.0, 0.0, 0.0, 0.0
    put_byte(out, 0, _u(123))
    p += 1
    while members > 0 and is_usual:
        members -= 1
        is_usual = False
        count = byte(data, p) - 0xA0
        text = word(data, p + 1)
        if count < 1 or count > 7 or bytes_before(stops(text)) < count:
            break
        key = first_bytes(text, count)
        p += 1 + count
        if key == _KIND:
            said = _u(0)
            if byte(data, p) == 0xA1:
                said = _u(byte(data, p + 1))
            is_trade, is_quote = said == _IS_TRADE, said == _IS_QUOTE
            mark = 4096
            if found & mark or not (is_trade or is_quote):
                break
            found |= mark
            p += 2
            is_usual = True
            continue
        if at > 1:
            put_byte(out, at, _u(44))
            at += 1
        put_byte(out, at, _u(34))
        put_word(out, at + 1, key)
        put_word(out, at + 1 + count, _u(0x3A22))
        at += 3 + count
        mark = 0
        head = byte(data, p)
        if key == _T:
            time_start = at + 1
            p, at, at_ns, last_minute = _time(data, p, out, at, minute_text, last_minute)
            if p < 0:
                break
            time_end, mark = at - 1, 2
        elif 0x90 <= head <= 0x9F:
            values, is_known = head & 0x0F, True
            put_byte(out, at, _u(91))
            at += 1
            p += 1
            while values > 0 and is_known:
                values -= 1
                kind, p, at, whole, value = _scalar(data, p, out, at, powers)
                is_known = kind != _NONE and p <= limit
                if values > 0 and is_known:
                    put_byte(out, at, _u(44))
                    at += 1
            if not is_known:
                break
            put_byte(out, at, _u(93))
            at += 1
            if key == _S or key == _P or key == _SIZE or key == _I or key == _X:
                break
        else:
            kind, p, at, whole, value = _scalar(data, p, out, at, powers)
            is_number = kind == _INTEGER or kind == _DECIMAL
            if kind == _NONE:
                break
            if key == _S or key == _X or key == _BX or key == _AX:
                if kind != _TEXT or whole == _u(0):
                    break
                if key == _S:
                    symbol, mark = whole, 1
                elif key == _X or key == _BX:
                    venue, mark = whole, 32 if key == _X else 1024
                else:
                    other_venue, mark = whole, 2048
            elif key == _I:
                if kind != _INTEGER:
                    break
                identifier, mark = whole, 16
            elif key == _P or key == _BP or key == _SIZE or key == _BS or key == _AP or key == _AS:
                if not is_number:
                    break
                if key == _P or key == _BP:
                    a, mark = value, 4 if key == _P else 64
                elif key == _SIZE or key == _BS:
                    asked, mark = value, 8 if key == _SIZE else 128
                elif key == _AP:
                    c, mark = value, 256
                else:
                    d, mark = value, 512
        if found & mark or p > limit or at > _SCRATCH:
            break
        found |= mark
        is_usual = True
    first, second = _u(0), _u(0)
    found &= ~4096
    if is_quote:
        is_usual = is_usual and found & _QUOTE_NEEDS == _QUOTE_NEEDS and not found & ~(_QUOTE_NEEDS | 1024 | 2048)
        first, second = quote_words(symbol, _u(at_ns), venue, other_venue, a, asked, c, d)
    else:
        is_usual = is_usual and is_trade and found == _TRADE_NEEDS and a > 0.0
        first, second = trade_words(symbol, venue, identifier)
    if is_usual:
        put_byte(out, at, _u(125))
    return (
        p if is_usual else np.int64(-1),
        is_quote,
        at + 1,
        symbol,
        at_ns,
        time_start,
        time_end,
        first,
        second,
        last_minute,
    )


@njit(cache=True, error_model="numpy")
def scan(data: Any, p: Any, limit: Any, remaining: Any, context: Any, now: Any) -> Any:
    """Take up to `remaining` messages from p on; return how it ended, where, and how many are left."""
    powers, scratch, minute_text = powers_of(context), scratch_of(context), minute_of(context)
    last_minute = np.int64(-1)
    while remaining > 0:
        if p >= limit:
            return UNUSUAL, p, remaining
        end, is_quote, size, symbol, at_ns, time_start, time_end, first, second, last_minute = _message(
            data, p, limit, scratch, powers, minute_text, last_minute
        )
        if end < 0 or end > limit:
            return UNUSUAL, p, remaining
        if not has_room(context, size):
            return FULL, p, remaining
        stamp, payload = (scratch, time_start, time_end), (scratch, np.int64(1), size)
        envelope(context, is_quote, symbol, at_ns, first, second, now, stamp, payload)
        p = end
        remaining -= 1
    return DONE, p, remaining


@njit(cache=True)
def value_end(data: Any, p: Any, limit: Any) -> Any:
    """Return the end of the msgpack value at p, −1 when it is none or does not end before `limit`."""
    open_values: Any = 1
    while open_values > 0:
        if p >= limit:
            return np.int64(-1)
        open_values -= 1
        b = byte(data, p)
        size: Any = np.int64(1)
        if 0x80 <= b <= 0x8F:
            open_values += 2 * (b & 0x0F)
        elif 0x90 <= b <= 0x9F:
            open_values += b & 0x0F
        elif 0xA0 <= b <= 0xBF:
            size += b & 0x1F
        elif 0xC4 <= b <= 0xC9 or 0xD9 <= b <= 0xDB:  # bin, ext, str with a length of 1, 2 or 4 bytes
            width = 1 << ((b - 0xC4) % 3 if b <= 0xC9 else b - 0xD9)
            size += width + np.int64(_big(data, p + 1, width)) + (1 if 0xC7 <= b <= 0xC9 else 0)
        elif b == 0xCA or b == 0xCE or b == 0xD2:
            size += 4
        elif b == 0xCB or b == 0xCF or b == 0xD3:
            size += 8
        elif b == 0xCC or b == 0xD0:
            size += 1
        elif b == 0xCD or b == 0xD1:
            size += 2
        elif 0xD4 <= b <= 0xD8:  # ext of 1 to 16 bytes
            size += 1 + (1 << (b - 0xD4))
        elif b == 0xDC or b == 0xDD:
            open_values += np.int64(_big(data, p + 1, 2 if b == 0xDC else 4))
            size += 2 if b == 0xDC else 4
        elif b == 0xDE or b == 0xDF:
            open_values += 2 * np.int64(_big(data, p + 1, 2 if b == 0xDE else 4))
            size += 2 if b == 0xDE else 4
        elif b == 0xC1:
            return np.int64(-1)
        p += size
    return p if p <= limit else np.int64(-1)
