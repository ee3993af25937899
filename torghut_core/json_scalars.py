"""JSON's scalars out of bytes, in compiled code that makes no Python objects: strings, numbers, timestamps, lists.

What is read is what producers usually write: plain ASCII strings without escapes, decimal numbers of up to 15 digits
(an integer over a power of ten, both exact, so that one division rounds as a parser must), timestamps in UTC. Anything
else is unusual and left to the caller. Places are an address and an offset; a newline ends every text, and 40 bytes
beyond it can be read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from torghut_core.byte_words import (
    byte,
    bytes_before,
    compiled,
    decimal,
    digits_end,
    double,
    first_bytes,
    non_digits,
    string_end,
    word,
)

POWERS = 10.0 ** np.arange(16)
"""What callers pass the address of, as compiled code has no globals that it can point to."""

_BEFORE_MONTH = np.array([0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334])
_IN_MONTH = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_QUOTE_MARK, _COMMA, _MINUS, _DOT, _COLON = 34, 44, 45, 46, 58
_OPEN_LIST, _CLOSE_LIST, _ZERO, _NINE, _EXPONENT = 91, 93, 48, 57, 101
_BYTES = 8


@compiled
def power(powers: Any, exponent: Any) -> Any:
    """Return a power of ten."""
    return double(powers, 8 * exponent)


@compiled
def blank(data: Any, p: int) -> int:
    while byte(data, p) == 32:
        p += 1
    return p


@compiled
def string(data: Any, p: int) -> int:
    """Return the place of the closing mark of the string whose first character is at p, −1 when it is unusual."""
    end = string_end(data, p)
    return end if byte(data, end) == _QUOTE_MARK else -1


@compiled
def pack(data: Any, start: int, end: int) -> Any:
    return first_bytes(word(data, start), end - start)


@compiled
def number_end(data: Any, p: int) -> Any:
    """Return the end of the number at p, −1 when it is none or has an exponent."""
    if byte(data, p) == _MINUS:
        p += 1
    end = digits_end(data, p)
    if end == p or (end > p + 1 and byte(data, p) == _ZERO):
        return -1
    if byte(data, end) == _DOT:
        p = end + 1
        end = digits_end(data, p)
        if end == p:
            return -1
    return end if byte(data, end) | 32 != _EXPONENT else -1


@njit(cache=True, nogil=True, error_model="numpy")
def long_number(data: Any, p: int, powers: Any) -> Any:
    """Do as `number` for what does not fit two words."""
    end = number_end(data, p)
    if end < 0:
        return False, 0.0, p
    is_negative = byte(data, p) == _MINUS
    if is_negative:
        p += 1
    mantissa: Any = 0
    fraction = 0
    is_fraction = 0
    digits = 0
    while p < end:
        if byte(data, p) == _DOT:
            is_fraction = 1
        else:
            mantissa = mantissa * 10 + (byte(data, p) - _ZERO)
            fraction += is_fraction
            digits += 1
            if digits > 15:
                return False, 0.0, p
        p += 1
    value = mantissa / power(powers, fraction)
    return True, -value if is_negative else value, p


@compiled
def number(data: Any, p: int, powers: Any) -> Any:
    """Return whether there is a number of at most 15 digits at p, its value, and its end."""
    text = word(data, p)
    count = bytes_before(non_digits(text))
    if count == 0 or count == _BYTES or (count > 1 and byte(data, p) == _ZERO):
        return long_number(data, p, powers)
    mantissa, fraction, end = decimal(text, count), 0, p + count
    if byte(data, end) == _DOT:
        text = word(data, end + 1)
        fraction = bytes_before(non_digits(text))
        if fraction == 0 or fraction == _BYTES:
            return long_number(data, p, powers)
        mantissa = mantissa * np.int64(power(powers, fraction)) + decimal(text, fraction)
        end += 1 + fraction
    if byte(data, end) | 32 == _EXPONENT:
        return False, 0.0, p
    return True, mantissa / power(powers, fraction), end


@compiled
def two(data: Any, p: int) -> Any:
    a = byte(data, p) - _ZERO
    b = byte(data, p + 1) - _ZERO
    if a < 0 or a > 9 or b < 0 or b > 9:
        return -1
    return a * 10 + b


@njit(cache=True, nogil=True, error_model="numpy")
def minute(data: Any, p: int) -> Any:
    """Return the minutes since 1970 of the date, hour and minute at p (16 characters), −1 when they are unusual."""
    century, year, month, day = two(data, p), two(data, p + 2), two(data, p + 5), two(data, p + 8)
    hour, minute = two(data, p + 11), two(data, p + 14)
    if (
        byte(data, p + 4) != _MINUS
        or byte(data, p + 7) != _MINUS
        or byte(data, p + 10) != 84
        or byte(data, p + 13) != _COLON
    ):
        return -1
    if year < 0 or month < 1 or month > 12 or day < 1 or hour < 0 or hour > 23 or minute < 0 or minute > 59:
        return -1
    year += century * 100
    if year < 1970 or year > 2115:
        return -1
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if day > _IN_MONTH[month] + (1 if is_leap and month == 2 else 0):
        return -1
    before = year - 1
    days = 365 * (year - 1970) + before // 4 - before // 100 + before // 400 - 477
    days += _BEFORE_MONTH[month] + (1 if is_leap and month > 2 else 0) + day - 1
    return (days * 24 + hour) * 60 + minute


@compiled
def time(data: Any, p: int, powers: Any, last: Any) -> Any:
    """Return nanoseconds of the UTC timestamp at p, the place of its closing mark, −1 when it is unusual, and `last`.

    `last` is the sixteen characters up to the minute that were read before, and what they mean: most repeat.
    """
    first, second = word(data, p), word(data, p + 8)
    if first != last[0] or second != last[1]:
        last = (first, second, np.int64(minute(data, p)))
    seconds = two(data, p + 17)
    if last[2] < 0 or byte(data, p + 16) != _COLON or seconds < 0 or seconds > 59:
        return np.int64(0), -1, last
    p += 19
    nanos = np.int64(0)
    if byte(data, p) == _DOT:
        text = word(data, p + 1)
        count = bytes_before(non_digits(text))
        if count == 0:
            return np.int64(0), -1, last
        nanos = decimal(text, count)
        p += 1 + count
        if count == _BYTES and _ZERO <= byte(data, p) <= _NINE:
            nanos = nanos * 10 + (byte(data, p) - _ZERO)
            count += 1
            p += 1
        nanos *= np.int64(power(powers, 9 - count))
    if byte(data, p) != 90 or byte(data, p + 1) != _QUOTE_MARK:
        return np.int64(0), -1, last
    return (last[2] * 60 + seconds) * 1_000_000_000 + nanos, p + 1, last


@compiled
def scalar(data: Any, p: int) -> Any:
    """Return the end of the string, number or literal at p, −1 when it is something else."""
    c = byte(data, p)
    if c == _QUOTE_MARK:
        end = string(data, p + 1)
        return end + 1 if end >= 0 else -1
    if c == _MINUS or _ZERO <= c <= _NINE:
        return number_end(data, p)
    if c == 110 and byte(data, p + 1) == 117 and byte(data, p + 2) == 108 and byte(data, p + 3) == 108:  # null
        return p + 4
    if c == 116 and byte(data, p + 1) == 114 and byte(data, p + 2) == 117 and byte(data, p + 3) == 101:  # true
        return p + 4
    if (
        c == 102
        and byte(data, p + 1) == 97
        and byte(data, p + 2) == 108
        and byte(data, p + 3) == 115
        and byte(data, p + 4) == 101
    ):  # false
        return p + 5
    return -1


@compiled
def skip(data: Any, p: int) -> Any:
    """Return the end of the scalar or list of scalars at p, −1 when it is something else."""
    if byte(data, p) != _OPEN_LIST:
        return scalar(data, p)
    p = blank(data, p + 1)
    if byte(data, p) == _CLOSE_LIST:
        return p + 1
    while True:
        p = scalar(data, p)
        if p < 0:
            return -1
        p = blank(data, p)
        if byte(data, p) == _CLOSE_LIST:
            return p + 1
        if byte(data, p) != _COMMA:
            return -1
        p = blank(data, p + 1)
