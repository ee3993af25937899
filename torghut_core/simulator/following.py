"""How the market reaches the broker: at once, or at the pace of the client that trades by the rows it has read.

A row is read some real time after its second, and on a fast clock that is minutes of the market: what an order met there
would depend on speed and load. A client that says what market time its requests are of (`X-Torghut-Market-Time`,
nanoseconds) has the broker follow it: the broker sees the market up to that instant and no further, so that the same rows
have the same orders meet the same quotes at any speed. Who says no time is answered as of the same instant.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from torghut_core.clock import NANOS_PER_SECOND, Clock
from torghut_core.exchange.broker import Broker
from torghut_core.exchange.messages import Message
from torghut_core.exchange.orders import invalid
from torghut_core.exchange.prices import Board

HEADER = "x-torghut-market-time"
_LONGEST_LAG_NS = 4 * 3600 * NANOS_PER_SECOND
"""A client that has gone away holds the broker back for no more of the market than this."""


class BrokerClock:
    """The market's clock, or the instant up to which the broker has seen the market."""

    is_simulated = True

    def __init__(self, market: Clock) -> None:
        self._market = market
        self.at_ns: int | None = None

    def now_ns(self) -> int:
        return self._market.now_ns() if self.at_ns is None else self.at_ns

    def monotonic(self) -> float:
        return self._market.monotonic()


class Following:
    """Hands the market's messages to the broker and its board of prices."""

    def __init__(self, *, broker: Broker, board: Board, clock: BrokerClock) -> None:
        self._broker = broker
        self._board = board
        self._clock = clock
        self._waiting: deque[Message] = deque()

    @property
    def is_following(self) -> bool:
        """Whether a client sets the broker's pace."""
        return self._clock.at_ns is not None

    def take(self, messages: Iterable[Message], now_ns: int) -> None:
        """Take what the market has published up to `now_ns`."""
        if not self.is_following:
            for message in messages:
                self._see(message)
            self._broker.end_day(now_ns)
            return
        self._waiting.extend(messages)
        if now_ns - self._clock.now_ns() > _LONGEST_LAG_NS:
            self.follow(now_ns - _LONGEST_LAG_NS)

    def follow(self, at_ns: int) -> None:
        """Let the broker see the market up to an instant; one that is past already shows it nothing new."""
        if self._clock.at_ns is None:
            self._broker.admit()
        at_ns = max(at_ns, self._clock.at_ns or 0)
        while self._waiting and self._waiting[0].at_ns <= at_ns:
            message = self._waiting.popleft()
            self._clock.at_ns = max(message.at_ns, self._clock.at_ns or 0)
            self._see(message)
        self._clock.at_ns = at_ns
        self._broker.end_day(at_ns)

    def _see(self, message: Message) -> None:
        self._broker.end_day(message.at_ns)
        self._board.apply(message)
        self._broker.observe(message)


def time_said(headers: dict[str, str]) -> int | None:
    """Return the market time that a request is of, None when it says none. Raises ApiError 422."""
    text = headers.get(HEADER)
    if text is None:
        return None
    if not text.isdigit() or len(text) > 19:
        raise invalid(f"{HEADER}: must be nanoseconds since the epoch")
    return int(text)
