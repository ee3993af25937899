"""JSON text written by compiled code: numbers, times, and the envelope around a message."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from torghut_core.byte_words import compiled, copy, double, put_byte, put_word, word

_TEN = np.uint64(10)
_ZERO = np.uint64(48)
_LARGEST_EXACT = 1e15
_MOST_DECIMALS = 9


@compiled
def put_integer(out: Any, at: Any, value: Any) -> Any:
    """Write a number that is not negative, and return the place after it."""
    count, rest = 1, value
    while rest >= _TEN:
        rest //= _TEN
        count += 1
    return put_digits(out, at, value, count)


@compiled
def put_digits(out: Any, at: Any, value: Any, count: Any) -> Any:
    """Write exactly `count` digits, and return the place after them."""
    place = at + count
    while place > at:
        place -= 1
        put_byte(out, place, _ZERO + value % _TEN)
        value //= _TEN
    return at + count


@compiled
def put_decimal(out: Any, at: Any, value: Any, powers: Any) -> Any:
    """Write the shortest decimal that reads back as `value` and return the place after it, −1 when it is none of ours.

    Ours are numbers from 0 to 10^15 with at most nine decimals: an integer over a power of ten, both exact, of which
    the quotient rounds as a parser must.
    """
    if not 0.0 <= value < _LARGEST_EXACT:  # NaN too
        return -1
    decimals = 0
    while True:
        power = double(powers, 8 * decimals)
        shifted = value * power + 0.5
        if shifted >= _LARGEST_EXACT or decimals > _MOST_DECIMALS:
            return -1
        whole = np.int64(shifted)
        if whole / power == value:
            break
        decimals += 1
    if decimals == 0:
        return put_integer(out, at, np.uint64(whole))
    divisor = np.int64(power)
    at = put_integer(out, at, np.uint64(whole // divisor))
    put_byte(out, at, np.uint64(46))
    return put_digits(out, at + 1, np.uint64(whole % divisor), decimals)


@njit(cache=True)
def _put_minute(out: Any, at: Any, minute: Any) -> None:
    """Write `YYYY-MM-DDTHH:MM:` of minutes since 1970. Source: H. Hinnant, chrono-compatible low-level date algorithms."""
    days, of_day = minute // 1440, minute % 1440
    z = days + 719468
    era = z // 146097
    doe = z - era * 146097
    yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    day = doy - (153 * mp + 2) // 5 + 1
    month = mp + 3 if mp < 10 else mp - 9
    year = yoe + era * 400 + (1 if month <= 2 else 0)
    put_digits(out, at, np.uint64(year), 4)
    put_byte(out, at + 4, np.uint64(45))
    put_digits(out, at + 5, np.uint64(month), 2)
    put_byte(out, at + 7, np.uint64(45))
    put_digits(out, at + 8, np.uint64(day), 2)
    put_byte(out, at + 10, np.uint64(84))
    put_digits(out, at + 11, np.uint64(of_day // 60), 2)
    put_byte(out, at + 13, np.uint64(58))
    put_digits(out, at + 14, np.uint64(of_day % 60), 2)
    put_byte(out, at + 16, np.uint64(58))


@compiled
def put_time(out: Any, at: Any, seconds: Any, nanos: Any, minute_text: Any, last_minute: Any) -> Any:
    """Write an RFC 3339 time with 0, 3, 6 or 9 decimals; return the place after it, and the minute `minute_text` holds."""
    minute = seconds // 60
    if minute != last_minute:
        _put_minute(minute_text, 0, minute)
        last_minute = minute
    at = copy(out, at, minute_text, 0, 17)
    at = put_digits(out, at, np.uint64(seconds % 60), 2)
    if nanos != 0:
        put_byte(out, at, np.uint64(46))
        if nanos % 1_000_000 == 0:
            at = put_digits(out, at + 1, np.uint64(nanos // 1_000_000), 3)
        elif nanos % 1000 == 0:
            at = put_digits(out, at + 1, np.uint64(nanos // 1000), 6)
        else:
            at = put_digits(out, at + 1, np.uint64(nanos), 9)
    put_byte(out, at, np.uint64(90))
    return at + 1, last_minute


class Frame(NamedTuple):
    """The parts of an envelope that are the same for every message of a frame, in one text."""

    text: NDArray[np.uint8]
    ends: NDArray[np.int64]
    """Where each part ends: head, middle of a trade, middle of a quote, tail before the payload, end."""


_HEAD, _TRADE, _QUOTE, _TAIL, _END = range(5)
INGEST_AT = len('{"ingest_ts":"')


def envelope_parts(feed: str) -> Frame:
    """Return the parts for a feed; `ingest_ts` has 27 characters of room at `INGEST_AT`."""
    parts = [
        f'{{"ingest_ts":"{" " * 27}","event_ts":"',
        f'","feed":"{feed}","channel":"trades","symbol":"',
        f'","feed":"{feed}","channel":"quotes","symbol":"',
        ',"is_final":true,"source":"ws","window":null,"payload":',
        ',"version":1}',
    ]
    text = "".join(parts).encode()
    return Frame(np.frombuffer(text + bytes(64), np.uint8).copy(), np.cumsum([len(part) for part in parts]))


@compiled
def _bound(ends: Any, part: Any) -> Any:
    return np.int64(word(ends, 8 * part))


@compiled
def put_head(out: Any, at: Any, text: Any, ends: Any) -> Any:
    """Write what stands before the event's time."""
    return copy(out, at, text, 0, _bound(ends, _HEAD))


@compiled
def put_middle(out: Any, at: Any, text: Any, ends: Any, is_quote: Any, symbol: Any, length: Any, seq: Any) -> Any:
    """Write what stands between the event's time and the payload."""
    if is_quote:
        at = copy(out, at, text, _bound(ends, _TRADE), _bound(ends, _QUOTE))
    else:
        at = copy(out, at, text, _bound(ends, _HEAD), _bound(ends, _TRADE))
    put_word(out, at, symbol)
    at += length
    put_word(out, at, np.uint64(0x3A22716573222C22))  # ","seq":
    at = put_integer(out, at + 8, np.uint64(seq))
    return copy(out, at, text, _bound(ends, _QUOTE), _bound(ends, _TAIL))


@compiled
def put_end(out: Any, at: Any, text: Any, ends: Any) -> Any:
    """Write what stands behind the payload."""
    return copy(out, at, text, _bound(ends, _TAIL), _bound(ends, _END))
