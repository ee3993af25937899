"""Keeps to the broker's limit of requests: a minute's worth, with a part that only orders and cancellations may use."""

from __future__ import annotations

import asyncio
from collections import deque

from torghut_core.clock import Clock

_WINDOW_SECONDS = 60.0
_RESERVED_SHARE = 0.2


class Pacing:
    """Counts requests of the last minute. Questions wait for room; what is urgent takes from the reserve too."""

    def __init__(self, clock: Clock, *, per_minute: int) -> None:
        self._clock = clock
        self._limit = per_minute
        self._reserve = max(1, round(per_minute * _RESERVED_SHARE))
        self._sent: deque[float] = deque()
        self._blocked_until = 0.0

    def delay(self, *, is_urgent: bool) -> float:
        """Return the seconds until a request may be sent; 0 takes the place."""
        now = self._clock.monotonic()
        while self._sent and now - self._sent[0] >= _WINDOW_SECONDS:
            self._sent.popleft()
        room = self._limit if is_urgent else self._limit - self._reserve
        if now < self._blocked_until and not is_urgent:
            return self._blocked_until - now
        if len(self._sent) < room:
            self._sent.append(now)
            return 0.0
        return self._sent[len(self._sent) - room] + _WINDOW_SECONDS - now

    async def wait(self, *, is_urgent: bool) -> None:
        """Wait until a request may be sent."""
        while (delay := self.delay(is_urgent=is_urgent)) > 0:  # noqa: ASYNC110  time is what is waited for
            await asyncio.sleep(min(delay, 1.0))

    def refused(self, seconds: float) -> None:
        """Ask no question for so long: the broker said that it were too many."""
        self._blocked_until = max(self._blocked_until, self._clock.monotonic() + seconds)
