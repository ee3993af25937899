"""Sessions of the US equity market in New York time.

Half-open intervals on a trading day: pre [04:00, 09:30), regular [09:30, 16:00), post [16:00, 20:00), closed otherwise.
On an early close the regular session ends at 13:00 and extended trading at 17:00, as the exchanges publish.
Closed weekdays and early closes: `market_calendar_table.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from torghut_core import market_calendar_table as table
from torghut_core.clock import NANOS_PER_SECOND, utc_datetime
from torghut_core.errors import ConfigurationError

NEW_YORK = ZoneInfo("America/New_York")
CalendarName = Literal["XNYS", "always-open"]
_REGULAR_CLOSE_MINUTES = 16 * 60
_EXTENDED_AFTER_EARLY_CLOSE_MINUTES = 4 * 60
_NIGHT_BEGINS_MINUTES = 20 * 60


class Session(StrEnum):
    """What the market is doing."""

    PRE = "pre"
    REGULAR = "regular"
    POST = "post"
    CLOSED = "closed"


@dataclass(frozen=True, kw_only=True)
class TradingDay:
    """The boundaries of one day's sessions, nanoseconds since the epoch."""

    pre_open_ns: int
    regular_open_ns: int
    regular_close_ns: int
    post_close_ns: int


@lru_cache(maxsize=4096)
def trading_day(day: date) -> TradingDay | None:
    """Return the sessions of a New York date, None when the exchange is closed all day.

    Raises ConfigurationError outside the years the table covers: an unknown day is not an open one.
    """
    text = day.isoformat()
    if not table.FIRST_DAY <= text <= table.LAST_DAY:
        raise ConfigurationError(
            f"market calendar: {text} is outside {table.FIRST_DAY} to {table.LAST_DAY}",
            hint="regenerate the table with scripts/generate_market_calendar.py",
        )
    if day.weekday() >= 5 or text in table.CLOSED_WEEKDAYS:
        return None
    early = table.EARLY_CLOSES.get(text)
    close = early if early is not None else _REGULAR_CLOSE_MINUTES
    return TradingDay(
        pre_open_ns=_new_york_ns(day, 4 * 60),
        regular_open_ns=_new_york_ns(day, 9 * 60 + 30),
        regular_close_ns=_new_york_ns(day, close),
        post_close_ns=_new_york_ns(day, close + _EXTENDED_AFTER_EARLY_CLOSE_MINUTES),
    )


_HOLIDAYS: tuple[tuple[str, tuple[int, ...], range, frozenset[int]], ...] = (
    ("New Year's Day", (1,), range(1, 3), frozenset(range(5))),
    ("Martin Luther King Jr. Day", (1,), range(15, 22), frozenset({0})),
    ("Presidents' Day", (2,), range(15, 22), frozenset({0})),
    ("Good Friday", (3, 4), range(1, 32), frozenset({4})),
    ("Memorial Day", (5,), range(25, 32), frozenset({0})),
    ("Juneteenth", (6,), range(18, 21), frozenset(range(5))),
    ("Independence Day", (7,), range(3, 6), frozenset(range(5))),
    ("Labor Day", (9,), range(1, 8), frozenset({0})),
    ("Thanksgiving Day", (11,), range(22, 29), frozenset({3})),
    ("Christmas Day", (12,), range(24, 27), frozenset(range(5))),
)
"""Name, months, days and weekdays (Monday 0) on which a closed weekday is that holiday, observed days with it."""


def day_name(day: date) -> str | None:
    """Return what sets a New York date apart: the weekend, a holiday's name, an early close; None for a usual day.

    Raises ConfigurationError outside the years the table covers.
    """
    if trading_day(day) is not None:
        early = table.EARLY_CLOSES.get(day.isoformat())
        return None if early is None else f"early close at {early // 60:02d}:{early % 60:02d}"
    if day.weekday() >= 5:
        return "weekend"
    for name, months, days, weekdays in _HOLIDAYS:
        if day.month in months and day.day in days and day.weekday() in weekdays:
            return name
    return "special closure"


def is_covered(ns: int) -> bool:
    """Tell whether an instant falls on a New York date that the table knows."""
    first, last = date.fromisoformat(table.FIRST_DAY), date.fromisoformat(table.LAST_DAY)
    return _new_york_ns(first, 0) <= ns < _new_york_ns(last + timedelta(days=1), 0)


def _new_york_ns(day: date, minutes: int) -> int:
    local = datetime.combine(day, time(minutes // 60, minutes % 60), NEW_YORK)
    return int(local.timestamp()) * NANOS_PER_SECOND


@lru_cache(maxsize=4096)
def _new_york_date(utc_minute: int) -> date:
    return datetime.fromtimestamp(utc_minute * 60, UTC).astimezone(NEW_YORK).date()


def new_york_date(ns: int) -> date:
    """Return the New York date of an instant."""
    return _new_york_date(ns // (60 * NANOS_PER_SECOND))


def _night_open_since(ns: int) -> int | None:
    """Return when the night before a trading day began (20:00 New York to 04:00), None when it is none of these."""
    date_now = new_york_date(ns)
    for day in (date_now, date_now + timedelta(days=1)):
        hours = trading_day(day)
        opened = _new_york_ns(day - timedelta(days=1), _NIGHT_BEGINS_MINUTES)
        if hours is not None and opened <= ns < hours.pre_open_ns:
            return opened
    return None


class MarketCalendar:
    """Answers which session an instant is in; `always-open` calls every instant regular."""

    def __init__(self, name: CalendarName = "XNYS") -> None:
        if name not in ("XNYS", "always-open"):
            raise ConfigurationError(f"TORGHUT_MARKET_CALENDAR={name!r}: must be one of XNYS, always-open")
        self.name = name

    @property
    def is_always_open(self) -> bool:
        return self.name == "always-open"

    def session(self, ns: int) -> Session:
        """Return the session at `ns` (nanoseconds since the epoch)."""
        if self.is_always_open:
            return Session.REGULAR
        day = trading_day(new_york_date(ns))
        if day is None or ns < day.pre_open_ns or ns >= day.post_close_ns:
            return Session.CLOSED
        if ns < day.regular_open_ns:
            return Session.PRE
        return Session.REGULAR if ns < day.regular_close_ns else Session.POST

    def day_name(self, ns: int) -> str | None:
        """Return what sets the New York date at `ns` apart, None for a usual day and an always-open calendar."""
        return None if self.is_always_open else day_name(new_york_date(ns))

    def is_feed_open(self, feed: str, ns: int) -> bool:
        """Tell whether `feed` should produce data: iex in regular hours, overnight 20:00–04:00, any other 04:00–20:00."""
        return self.feed_open_since(feed, ns) is not None

    def feed_open_since(self, feed: str, ns: int) -> int | None:
        """Return when the feed's current session opened (ns), 0 for an always-open calendar, None when it is closed."""
        if self.is_always_open:
            return 0
        if feed == "overnight":
            return _night_open_since(ns)
        day = trading_day(new_york_date(ns))
        if day is None:
            return None
        if feed == "iex":
            opened, closes = day.regular_open_ns, day.regular_close_ns
        else:
            opened, closes = day.pre_open_ns, day.post_close_ns
        return opened if opened <= ns < closes else None

    def next_regular(self, ns: int) -> tuple[int, int]:
        """Return open and close (ns) of the regular session that is running at `ns` or comes next."""
        day = new_york_date(ns)
        for _ in range(15):
            hours = trading_day(day)
            if hours is not None and ns < hours.regular_close_ns:
                return hours.regular_open_ns, hours.regular_close_ns
            day += timedelta(days=1)
        raise ConfigurationError(f"market calendar: no session within 15 days of {utc_datetime(ns).isoformat()}")
