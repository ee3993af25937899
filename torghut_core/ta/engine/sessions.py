"""Where a VWAP session begins: 04:00 and 09:30 New York, every day; and which instants are of a regular session."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from torghut_core.market_calendar import NEW_YORK, CalendarName, is_covered, new_york_date, trading_day

_STARTS = (time(4, 0), time(9, 30))
_NANOS = 1_000_000_000
_REGULAR = (time(9, 30), time(16, 0))


@lru_cache(maxsize=64)
def _starts_between(first: date, last: date) -> NDArray[np.int64]:
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    return np.array([int(datetime.combine(day, at, NEW_YORK).timestamp()) for day in days for at in _STARTS], np.int64)


def session_starts(window_starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return, per window start (epoch seconds), the latest session start at or before it (epoch seconds)."""
    if not len(window_starts):
        return np.empty(0)
    first = new_york_date(int(window_starts.min()) * _NANOS) - timedelta(days=1)
    last = new_york_date(int(window_starts.max()) * _NANOS)
    if (last - first).days > 400:  # a file that spans years: each day alone
        return np.array([session_starts(np.array([start]))[0] for start in window_starts.tolist()])
    starts = _starts_between(first, last)
    found: NDArray[np.float64] = starts[np.searchsorted(starts, window_starts, side="right") - 1].astype(np.float64)
    return found


def are_regular(at_ns: NDArray[np.int64], calendar: CalendarName) -> NDArray[np.bool_]:
    """Tell which instants are of their day's regular session, its end exclusive; always-open has no other.

    Years that the calendar does not cover have the usual hours every weekday.
    """
    if calendar == "always-open":
        return np.ones(len(at_ns), np.bool_)
    found = np.zeros(len(at_ns), np.bool_)
    days = {new_york_date(int(edge)) for edge in np.unique(at_ns // (3600 * _NANOS)) * 3600 * _NANOS}
    for day in days:
        opens, closes = _regular_hours(day)
        found |= (at_ns >= opens) & (at_ns < closes)
    return found


@lru_cache(maxsize=64)
def _regular_hours(day: date) -> tuple[int, int]:
    opens, closes = (int(datetime.combine(day, at, NEW_YORK).timestamp()) * _NANOS for at in _REGULAR)
    if not is_covered(opens):
        return (opens, closes) if day.weekday() < 5 else (0, 0)
    hours = trading_day(day)
    return (hours.regular_open_ns, hours.regular_close_ns) if hours is not None else (0, 0)
