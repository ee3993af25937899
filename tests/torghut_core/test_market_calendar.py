"""The market calendar against the exchange's published one, and its sessions at their boundaries."""

from __future__ import annotations

import warnings
from datetime import date, timedelta

import pytest

from torghut_core import market_calendar_table as table
from torghut_core.errors import ConfigurationError
from torghut_core.market_calendar import MarketCalendar, Session, day_name, is_covered, trading_day
from torghut_core.rfc3339 import parse_ns


@pytest.mark.slow
def test_table_when_compared_with_exchange_calendars_then_every_day_agrees() -> None:
    """Every date from 2013 to 2035: open or closed, and both ends of the regular session."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import exchange_calendars

        calendar = exchange_calendars.get_calendar("XNYS", start="2013-01-01", end="2035-12-31")
    expected = {
        day.date(): (calendar.session_open(day).value, calendar.session_close(day).value) for day in calendar.sessions
    }
    day, actual = date(2013, 1, 1), {}
    while day <= date(2035, 12, 31):
        hours = trading_day(day)
        if hours is not None:
            actual[day] = (hours.regular_open_ns, hours.regular_close_ns)
        day += timedelta(days=1)
    assert actual == expected


@pytest.mark.parametrize(
    ("at", "session"),
    [
        ("2026-11-23T08:59:59.999999999Z", Session.CLOSED),
        ("2026-11-23T09:00:00Z", Session.PRE),
        ("2026-11-23T14:29:59Z", Session.PRE),
        ("2026-11-23T14:30:00Z", Session.REGULAR),
        ("2026-11-23T20:59:59Z", Session.REGULAR),
        ("2026-11-23T21:00:00Z", Session.POST),
        ("2026-11-24T00:59:59Z", Session.POST),
        ("2026-11-24T01:00:00Z", Session.CLOSED),
        ("2026-07-08T13:30:00Z", Session.REGULAR),  # daylight saving time
        ("2026-11-26T16:00:00Z", Session.CLOSED),  # Thanksgiving
        ("2026-11-27T17:59:59Z", Session.REGULAR),  # half day
        ("2026-11-27T18:00:00Z", Session.POST),
        ("2026-11-27T22:00:00Z", Session.CLOSED),
        ("2026-11-28T16:00:00Z", Session.CLOSED),  # Saturday
    ],
)
def test_session_when_at_boundary_then_named(at: str, session: Session) -> None:
    """Sessions are half-open intervals in New York time."""
    assert MarketCalendar().session(parse_ns(at)) == session


def test_feed_when_iex_in_pre_market_then_closed_but_sip_open() -> None:
    """Staleness of iex counts in regular hours only; sip has the whole extended day."""
    at = parse_ns("2026-11-23T10:00:00Z")
    assert MarketCalendar().feed_open_since("iex", at) is None
    assert MarketCalendar().feed_open_since("sip", at) == parse_ns("2026-11-23T09:00:00Z")


def test_calendar_when_year_is_not_covered_then_refused() -> None:
    """A day outside the table is unknown, not open."""
    with pytest.raises(ConfigurationError, match="2036-01-02 is outside"):
        MarketCalendar().session(parse_ns("2036-01-02T15:00:00Z"))


def test_always_open_when_on_sunday_night_then_regular() -> None:
    """The demo's calendar."""
    assert MarketCalendar("always-open").session(parse_ns("2026-11-22T03:00:00Z")) is Session.REGULAR


@pytest.mark.parametrize(
    ("time", "is_known"),
    [
        ("2013-01-01T05:00:00Z", True),
        ("2013-01-01T04:59:59Z", False),
        ("2036-01-01T04:59:59Z", True),
        ("2036-01-01T05:00:00Z", False),
        ("0001-01-01T00:00:00Z", False),
        ("9999-12-31T23:59:59Z", False),
    ],
)
def test_is_covered_when_at_the_edges_of_the_table_then_new_york_dates_count(time: str, is_known: bool) -> None:
    """Every instant has an answer, also those of which no date in New York exists."""
    assert is_covered(parse_ns(time)) is is_known


def test_day_name_when_closed_then_every_holiday_has_its_name_and_mourning_is_a_special_closure() -> None:
    """Each closed weekday of the table; a year's ten holidays by their names; early closes with their hour."""
    closed = [date.fromisoformat(text) for text in table.CLOSED_WEEKDAYS]
    unnamed = sorted(day.isoformat() for day in closed if day_name(day) == "special closure")
    assert unnamed == ["2018-12-05", "2025-01-09"]
    named = {name: day.isoformat() for day in sorted(closed) if day.year == 2026 and (name := day_name(day))}
    assert named == {
        "New Year's Day": "2026-01-01",
        "Martin Luther King Jr. Day": "2026-01-19",
        "Presidents' Day": "2026-02-16",
        "Good Friday": "2026-04-03",
        "Memorial Day": "2026-05-25",
        "Juneteenth": "2026-06-19",
        "Independence Day": "2026-07-03",
        "Labor Day": "2026-09-07",
        "Thanksgiving Day": "2026-11-26",
        "Christmas Day": "2026-12-25",
    }
    shown = [day_name(date(2026, 11, day)) for day in (25, 26, 27, 28)]
    assert shown == [None, "Thanksgiving Day", "early close at 13:00", "weekend"]
