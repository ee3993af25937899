"""Where an instant lies in its New York day: of one, and of many at once. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from torghut_core.clock import NANOS_PER_SECOND, utc_datetime
from torghut_core.errors import ConfigurationError
from torghut_core.market_calendar import NEW_YORK, new_york_date, trading_day

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NANOS_PER_MINUTE = 60 * NANOS_PER_SECOND
_NANOS_PER_HOUR = 60 * NANOS_PER_MINUTE


@lru_cache(maxsize=4096)
def _hour(utc_hour: int) -> tuple[int, int | None, int | None]:
    """Return New York's offset from UTC (ns), and open and close of its day; both change on full hours alone."""
    start_ns = utc_hour * _NANOS_PER_HOUR
    offset = utc_datetime(start_ns).astimezone(NEW_YORK).utcoffset()
    assert offset is not None
    offset_ns = round(offset.total_seconds()) * NANOS_PER_SECOND
    try:
        day = trading_day(new_york_date(start_ns))
    except ConfigurationError:
        # A day that the calendar does not know has no session.
        day = None
    return offset_ns, None if day is None else day.regular_open_ns, None if day is None else day.regular_close_ns


def minutes_from_open(ns: int) -> float | None:
    """Return the minutes since the regular open of the New York day, negative before it; None on a closed day."""
    opened = _hour(ns // _NANOS_PER_HOUR)[1]
    return None if opened is None else (ns - opened) / NANOS_PER_MINUTE


def minutes_to_close(ns: int) -> float | None:
    """Return the minutes until the regular close of the New York day, negative after it; None on a closed day."""
    close = _hour(ns // _NANOS_PER_HOUR)[2]
    return None if close is None else (close - ns) / NANOS_PER_MINUTE


def minute_of_day(ns: int) -> float:
    """Return the minutes since midnight in New York."""
    local = ns + _hour(ns // _NANOS_PER_HOUR)[0]
    return local % (24 * _NANOS_PER_HOUR) / NANOS_PER_MINUTE


def minutes_from_open_of(ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return `minutes_from_open` of each, NaN on a closed day."""
    return _from(ns, 1, 1)


def minutes_to_close_of(ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return `minutes_to_close` of each, NaN on a closed day."""
    return _from(ns, 2, -1)


def minute_of_day_of(ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return `minute_of_day` of each."""
    import numpy as np

    hours, places = np.unique(ns // _NANOS_PER_HOUR, return_inverse=True)
    offsets = np.array([_hour(int(hour))[0] for hour in hours], dtype=np.int64)
    local = ns + offsets[places]
    return (local % (24 * _NANOS_PER_HOUR)).astype(np.float64) / NANOS_PER_MINUTE


def _from(ns: NDArray[np.int64], field: int, sign: int) -> NDArray[np.float64]:
    import numpy as np

    hours, places = np.unique(ns // _NANOS_PER_HOUR, return_inverse=True)
    marks = [_hour(int(hour))[field] for hour in hours]
    known = np.array([mark is not None for mark in marks], dtype=np.bool_)[places]
    at = np.array([mark or 0 for mark in marks], dtype=np.int64)[places]
    minutes = (sign * (ns - at)).astype(np.float64) / NANOS_PER_MINUTE
    return np.where(known, minutes, np.nan)
