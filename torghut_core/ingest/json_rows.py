"""Trades and quotes of a JSON frame to envelopes, in one compiled pass: the message's text becomes the payload.

A message is taken here when it begins with its type, as Alpaca writes it, and consists of plain scalars and lists of
them, each key once; every other is left to the caller, who reads it with a full parser.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from torghut_core.byte_words import byte, bytes_before, compiled, first_bytes, stops, word
from torghut_core.ingest.rows import DONE, FULL, UNUSUAL, envelope, has_room, powers_of
from torghut_core.ingest.seen import quote_words, trade_words
from torghut_core.json_scalars import blank, number, pack, skip, string, time

_u = np.uint64


def _word(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(text.encode(), "little"))


_IS_TRADE, _IS_QUOTE = _word('{"T":"t"'), _word('{"T":"q"')
_AFTER_TYPE = 8
_TYPE, _S, _T, _P, _SIZE, _I, _X = (_word(name) for name in ("T", "S", "t", "p", "s", "i", "x"))
_BX, _BP, _BS, _AX, _AP, _AS = (_word(name) for name in ("bx", "bp", "bs", "ax", "ap", "as"))
_MARK, _COMMA, _COLON, _CLOSE, _CLOSE_LIST, _ZERO = 34, 44, 58, 125, 93, 48
_HAS_SYMBOL, _HAS_TIME, _TRADE_NEEDS, _QUOTE_NEEDS = 1, 2, 1 + 2 + 4 + 8 + 16 + 32, 1 + 2 + 64 + 128 + 256 + 512


@compiled
def _identifier(data: Any, p: Any) -> Any:
    """Return the integer of up to 19 digits at p and its end, −1 when it is none."""
    value, start = _u(0), p
    while _ZERO <= byte(data, p) <= _ZERO + 9:
        value = value * _u(10) + _u(byte(data, p) - _ZERO)
        p += 1
    following = byte(data, p)
    is_whole = following == _COMMA or following == _CLOSE or following == 32
    return value, p if 0 < p - start <= 19 and is_whole else -1


@compiled
def _message(data: Any, p: Any, is_quote: Any, powers: Any, last: Any) -> Any:
    """Read the members from p on.

    Return the end (−1: unusual), symbol, time, bounds of the time's text, both words of the identity, and `last`.
    """
    found, symbol, at_ns = 0, _u(0), np.int64(0)
    time_start, time_end, venue, other_venue, identifier = np.int64(0), np.int64(0), _u(0), _u(0), _u(0)
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    end = np.int64(-1)
    while True:
        if byte(data, p) != _MARK:
            break
        text = word(data, p + 1)
        count = bytes_before(stops(text))
        if count == 8 or byte(data, p + 1 + count) != _MARK:
            break
        key = first_bytes(text, count)
        p = blank(data, p + 2 + count)
        if byte(data, p) != _COLON:
            break
        p = blank(data, p + 1)
        mark = 0
        if key == _S or key == _X or key == _BX or key == _AX:
            close = string(data, p + 1)
            if byte(data, p) != _MARK or close < 0 or close - p > 9 or close == p + 1:
                break
            said = pack(data, p + 1, close)
            p = close + 1
            if key == _S:
                symbol, mark = said, _HAS_SYMBOL
            elif key == _X or key == _BX:
                venue, mark = said, 32 if key == _X else 1024
            else:
                other_venue, mark = said, 2048
        elif key == _T:
            if byte(data, p) != _MARK:
                break
            time_start = p + 1
            at_ns, time_end, last = time(data, time_start, powers, last)
            if time_end < 0:
                break
            p, mark = time_end + 1, _HAS_TIME
        elif key == _I and not is_quote:
            identifier, p = _identifier(data, p)
            if p < 0:
                break
            mark = 16
        elif key == _P or key == _BP or key == _SIZE or key == _BS or key == _AP or key == _AS:
            is_number, value, p = number(data, p, powers)
            if not is_number:
                break
            if key == _P or key == _BP:
                a, mark = value, 4 if key == _P else 64
            elif key == _SIZE or key == _BS:
                b, mark = value, 8 if key == _SIZE else 128
            elif key == _AP:
                c, mark = value, 256
            else:
                d, mark = value, 512
        else:
            if key == _TYPE:  # said again
                break
            p = skip(data, p)
            if p < 0:
                break
        if found & mark:
            break
        found |= mark
        p = blank(data, p)
        if byte(data, p) == _COMMA:
            p = blank(data, p + 1)
        elif byte(data, p) == _CLOSE:
            end = p + 1
            break
        else:
            break
    first, second = _u(0), _u(0)
    if is_quote:
        if (
            found & _QUOTE_NEEDS != _QUOTE_NEEDS
            or found & ~(_QUOTE_NEEDS | 1024 | 2048)
            or not (a >= 0.0 and b >= 0.0 and c >= 0.0 and d >= 0.0)
        ):
            end = np.int64(-1)
        first, second = quote_words(symbol, _u(at_ns), venue, other_venue, a, b, c, d)
    else:
        if found != _TRADE_NEEDS or not (a > 0.0 and b >= 0.0):
            end = np.int64(-1)
        first, second = trade_words(symbol, venue, identifier)
    return end, symbol, at_ns, time_start, time_end, first, second, last


@njit(cache=True, error_model="numpy")
def scan(data: Any, p: Any, limit: Any, context: Any, now: Any) -> Any:
    """Take messages from p on, after the opening bracket; return how it ended, where, and how many were taken."""
    powers = powers_of(context)
    last = (_u(0), _u(0), np.int64(-1))
    taken = 0
    while True:
        p = blank(data, p)
        kind = word(data, p)
        is_quote = kind == _IS_QUOTE
        if not (is_quote or kind == _IS_TRADE) or byte(data, p + _AFTER_TYPE) != _COMMA:
            return UNUSUAL, p, taken
        payload = p + _AFTER_TYPE + 1
        end, symbol, at_ns, time_start, time_end, first, second, last = _message(
            data, blank(data, payload), is_quote, powers, last
        )
        if end < 0 or end > limit:
            return UNUSUAL, p, taken
        following = blank(data, end)
        separator = byte(data, following)
        if separator != _COMMA and separator != _CLOSE_LIST:
            return UNUSUAL, p, taken
        if not has_room(context, end - p):
            return FULL, p, taken
        envelope(
            context, is_quote, symbol, at_ns, first, second, now, (data, time_start, time_end), (data, payload, end)
        )
        taken += 1
        p = following + 1
        if separator == _CLOSE_LIST:
            return DONE, p, taken


@njit(cache=True)
def value_end(data: Any, p: Any, limit: Any) -> Any:
    """Return the end of the JSON value at p, `limit` when it does not end before."""
    depth, is_text = 0, False
    while p < limit:
        c = byte(data, p)
        if is_text:
            if c == 92:
                p += 1
            elif c == _MARK:
                is_text = False
        elif c == _MARK:
            is_text = True
        elif c == 91 or c == 123:
            depth += 1
        elif c == _CLOSE_LIST or c == _CLOSE:
            if depth == 0:
                return p
            depth -= 1
        elif c == _COMMA and depth == 0:
            return p
        p += 1
    return limit
