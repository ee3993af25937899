"""How long a feed may be silent: universe-wide, trades and quotes together, by session.

In regular hours half a minute without any is a fault. Outside them gaps of half an hour are real, so 45 minutes are.
While the feed is closed silence is normal.
"""

from __future__ import annotations

from dataclasses import dataclass

from torghut_core.clock import NANOS_PER_SECOND, Clock
from torghut_core.feeds import Feed
from torghut_core.market_calendar import MarketCalendar, Session, is_covered

EXTENDED_SECONDS = 45 * 60.0


@dataclass
class Silence:
    """Tells whether the feed has been silent for too long; times are monotonic seconds."""

    feed: Feed
    calendar: MarketCalendar
    clock: Clock
    regular_seconds: float
    heard_at: float = 0.0
    """When the last trade or quote came; 0 before the first."""
    counts_from: float = 0.0
    """Silence before this is not the feed's: nothing was subscribed."""

    def hear(self, now: float) -> None:
        """Note a trade or quote."""
        self.heard_at = now

    def limit_seconds(self) -> float | None:
        """Return how long the feed may be silent now, None while it is closed. Never longer than it has been open."""
        at_ns = self.clock.now_ns() - self.feed.delay_seconds * NANOS_PER_SECOND
        if not self.calendar.is_always_open and not is_covered(at_ns):
            return None
        opened_ns = self.calendar.feed_open_since(self.feed.name, at_ns)
        if opened_ns is None:
            return None
        is_regular = self.feed.name != "overnight" and self.calendar.session(at_ns) is Session.REGULAR
        if self.calendar.is_always_open:
            return self.regular_seconds
        if is_regular:
            opened_ns = self.calendar.next_regular(at_ns)[0]
        limit = self.regular_seconds if is_regular else EXTENDED_SECONDS
        return None if (at_ns - opened_ns) / NANOS_PER_SECOND < limit else limit

    @property
    def is_regular(self) -> bool:
        """Tell whether data should come every moment: an acknowledgement alone proves nothing then."""
        return self.limit_seconds() == self.regular_seconds

    def seconds(self, now: float) -> float:
        """Return for how long nothing came that should have."""
        return now - max(self.heard_at, self.counts_from)

    def is_broken(self, now: float) -> bool:
        """Tell whether it has been silent for longer than it may."""
        limit = self.limit_seconds()
        return limit is not None and self.seconds(now) >= limit
