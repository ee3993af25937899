"""RFC 3339 timestamps in UTC to nanoseconds, a column at a time.

A column is joined into one buffer and read digit by digit across all its rows: no Python per timestamp. Rows of unequal
length (fractions of zero to nine digits) are grouped by length first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from torghut_core.rfc3339 import parse_ns

INVALID = np.iinfo(np.int64).min
"""Stands for a timestamp that could not be read."""
LATEST_NS = 4_607_280_000 * 1_000_000_000
"""The year 2116: later ones are no market's, and sums of them would leave 64 bits."""

_ZERO = ord("0")
_SHORTEST, _LONGEST = len("2026-01-02T03:04:05Z"), len("2026-01-02T03:04:05.123456789Z")
_PUNCTUATION = ((4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":"))
_DAYS_BEFORE_MONTH = np.array([0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334], np.int64)
_DAYS_IN_MONTH = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)


def parse_column(texts: Sequence[str]) -> NDArray[np.int64]:
    """Return nanoseconds since the epoch per timestamp, `INVALID` where one cannot be read."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    if len(texts) and (lengths == lengths[0]).all():
        return _parse_equal(texts, int(lengths[0]))
    out = np.full(len(texts), INVALID, np.int64)
    for length in np.unique(lengths).tolist():
        where = np.flatnonzero(lengths == length)
        out[where] = _parse_equal([texts[i] for i in where.tolist()], length)
    return out


def _parse_equal(texts: Sequence[str], length: int) -> NDArray[np.int64]:
    count = len(texts)
    if not _SHORTEST <= length <= _LONGEST or length == _SHORTEST + 1:
        return _parse_slowly(texts)
    buffer = "".join(texts).encode("utf-8", "surrogatepass")
    if len(buffer) != count * length:
        return _parse_slowly(texts)
    rows = np.frombuffer(buffer, np.uint8).reshape(count, length)
    plain = rows[:, -1] == ord("Z")
    for position, mark in _PUNCTUATION:
        plain &= rows[:, position] == ord(mark)
    if length > _SHORTEST:
        plain &= rows[:, 19] == ord(".")
    digits = rows.astype(np.int64) - _ZERO
    numeric = [i for i in range(length - 1) if i not in (4, 7, 10, 13, 16, 19)]
    plain &= ((digits[:, numeric] >= 0) & (digits[:, numeric] <= 9)).all(axis=1)

    def number(start: int, end: int) -> NDArray[np.int64]:
        value = digits[:, start].copy()
        for position in range(start + 1, end):
            value = value * 10 + digits[:, position]
        return value

    year, month, day = number(0, 4), number(5, 7), number(8, 10)
    hour, minute, second = number(11, 13), number(14, 16), number(17, 19)
    plain &= (year >= 1970) & (year < 2116) & (month >= 1) & (month <= 12) & (day >= 1)
    safe_month = np.where(plain, month, 1)
    is_leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    plain &= (day <= _DAYS_IN_MONTH[safe_month] - ((safe_month == 2) & ~is_leap)) & (hour < 24) & (minute < 60)
    plain &= second < 60
    before = year - 1
    days = 365 * (year - 1970) + before // 4 - before // 100 + before // 400 - 477
    days += _DAYS_BEFORE_MONTH[safe_month] + (is_leap & (safe_month > 2)) + day - 1
    ns = (days * 86_400 + hour * 3600 + minute * 60 + second) * 1_000_000_000
    if length > _SHORTEST:
        ns += number(20, length - 1) * 10 ** (30 - length)
    if not plain.all():
        odd = np.flatnonzero(~plain)
        ns[odd] = _parse_slowly([texts[i] for i in odd.tolist()])
    return ns


def _parse_slowly(texts: Sequence[str]) -> NDArray[np.int64]:
    """Read what is valid but unusual (another zone, lower case), and find out what is not valid at all."""
    out = np.full(len(texts), INVALID, np.int64)
    for index, text in enumerate(texts):
        try:
            ns = parse_ns(text)
        except ValueError:
            continue
        if 0 <= ns < LATEST_NS:
            out[index] = ns
    return out
