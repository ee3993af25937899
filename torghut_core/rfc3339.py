"""RFC 3339 timestamps to and from integer nanoseconds, exact to the last digit.

`datetime` stops at microseconds; market data does not. Source of the format: RFC 3339 section 5.6.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

_PATTERN = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)
_NANOS = 1_000_000_000


def parse_ns(text: str) -> int:
    """Return nanoseconds since the Unix epoch of an RFC 3339 timestamp with a zone.

    Digits beyond the ninth of the fraction are cut. Raises ValueError, naming the text, when it is not one.
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:64]!r} is not an RFC 3339 timestamp with a zone, as 2026-01-02T03:04:05Z")
    year, month, day, hour, minute, second, fraction, sign, off_hours, off_minutes = match.groups()
    try:
        base = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"{text[:64]!r} is not a date and time: {error}") from error
    seconds = int(base.timestamp())
    if sign:
        offset = int(off_hours) * 3600 + int(off_minutes) * 60
        seconds -= offset if sign == "+" else -offset
    return seconds * _NANOS + (int(fraction.ljust(9, "0")) if fraction else 0)


def format_ns(ns: int) -> str:
    """Return nanoseconds since the epoch as RFC 3339 in UTC, with as many fraction digits (0, 3, 6, 9) as it needs."""
    seconds, rest = divmod(ns, _NANOS)
    text = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()  # strftime cuts a year's zeros
    if rest == 0:
        return f"{text}Z"
    if rest % 1_000_000 == 0:
        return f"{text}.{rest // 1_000_000:03d}Z"
    if rest % 1000 == 0:
        return f"{text}.{rest // 1000:06d}Z"
    return f"{text}.{rest:09d}Z"
