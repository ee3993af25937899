"""How long a feed may be silent, by its session; and when the feeds are open."""

from __future__ import annotations

import pytest

from torghut_core.backoff import FullJitter
from torghut_core.clock import ManualClock
from torghut_core.feeds import FEEDS
from torghut_core.ingest.protocol import Wire
from torghut_core.ingest.session import StreamSession
from torghut_core.ingest.silence import EXTENDED_SECONDS, Silence
from torghut_core.ingest.subscriptions import Subscriptions
from torghut_core.market_calendar import MarketCalendar
from torghut_core.rfc3339 import parse_ns


def _silence(feed: str, at: str) -> Silence:
    return Silence(FEEDS[feed], MarketCalendar(), ManualClock(parse_ns(at)), 30.0)


@pytest.mark.parametrize(
    ("feed", "at", "limit"),
    [
        ("iex", "2026-01-05T14:29:59Z", None),  # a minute before the open
        ("iex", "2026-01-05T14:30:10Z", None),  # it has not been open for as long as it may be silent
        ("iex", "2026-01-05T14:30:31Z", 30.0),
        ("iex", "2026-01-05T21:00:00Z", None),
        ("sip", "2026-01-05T09:10:00Z", None),
        ("sip", "2026-01-05T09:46:00Z", EXTENDED_SECONDS),
        ("sip", "2026-01-05T14:30:31Z", 30.0),
        ("sip", "2026-01-05T22:00:00Z", EXTENDED_SECONDS),
        ("sip", "2026-11-27T18:30:00Z", EXTENDED_SECONDS),  # a half day's afternoon
        ("delayed_sip", "2026-01-05T14:44:59Z", EXTENDED_SECONDS),
        ("delayed_sip", "2026-01-05T14:45:31Z", 30.0),  # a quarter of an hour later
        ("overnight", "2026-01-06T02:00:00Z", EXTENDED_SECONDS),
        ("overnight", "2026-01-05T14:30:31Z", None),
        ("overnight", "2026-01-10T02:00:00Z", None),  # Friday night
        ("sip", "2026-01-10T15:00:00Z", None),  # a Saturday
        ("sip", "2199-01-10T15:00:00Z", None),  # a clock that is far off
    ],
)
def test_limit_when_in_a_session_then_as_the_contract_says(feed: str, at: str, limit: float | None) -> None:
    """Half a minute in regular hours, 45 minutes outside them while open, none while closed."""
    assert _silence(feed, at).limit_seconds() == limit


def test_silence_when_something_came_then_counted_from_there() -> None:
    """A trade or quote of any symbol will do."""
    silence = _silence("iex", "2026-01-05T15:00:00Z")
    silence.counts_from = 100.0
    assert (silence.is_broken(129.0), silence.is_broken(130.0)) == (False, True)
    silence.hear(125.0)
    assert (silence.is_broken(154.0), silence.is_broken(155.0)) == (False, True)


@pytest.mark.parametrize(
    ("at", "since"),
    [
        ("2026-01-06T00:59:59Z", None),
        ("2026-01-06T01:00:00Z", "2026-01-06T01:00:00Z"),
        ("2026-01-06T08:59:59Z", "2026-01-06T01:00:00Z"),
        ("2026-01-06T09:00:00Z", None),
        ("2026-01-05T02:00:00Z", "2026-01-05T01:00:00Z"),  # Sunday night before a Monday
        ("2026-07-03T02:00:00Z", None),  # the night before a holiday
        ("2026-03-09T01:30:00Z", "2026-03-09T00:00:00Z"),  # the Sunday on which summer time began
    ],
)
def test_overnight_when_before_a_trading_day_then_open_from_twenty_to_four(at: str, since: str | None) -> None:
    """Its own hours, not the day's; a night belongs to the trading day that follows it."""
    opened = MarketCalendar().feed_open_since("overnight", parse_ns(at))
    assert opened == (parse_ns(since) if since else None)


def test_feeds_when_listed_then_each_has_its_address_and_delay() -> None:
    """The contract's four, and no other."""
    assert {name: (feed.path, feed.delay_seconds) for name, feed in FEEDS.items()} == {
        "iex": ("/v2/iex", 0),
        "sip": ("/v2/sip", 0),
        "delayed_sip": ("/v2/delayed_sip", 900),
        "overnight": ("/v1beta1/overnight", 0),
    }


def test_session_when_a_trade_ends_a_long_silence_then_it_is_told_although_no_connection_was_lost() -> None:
    """What a mute stretch cost has to be filled like any other gap; a short one is nothing."""
    now = [1000.0]
    silence = _silence("iex", "2026-01-05T15:00:00Z")
    silence.counts_from = 1000.0
    backoff = FullJitter(base=1, cap=1)
    session = StreamSession(
        url="ws://127.0.0.1:1", key_id="k", secret_key="s", wire=Wire("json"), subscriptions=Subscriptions(1),
        silence=silence, backoff=backoff, slow_backoff=backoff, take=lambda _frame: [], tell=lambda _name, _fields: None,
        monotonic=lambda: now[0],
    )  # fmt: skip
    assert [session.heard(at) for at in (1010.0, 1039.0, 1069.0, 1070.0)] == [False, False, True, False]
