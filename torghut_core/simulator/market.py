"""The market's loop: takes messages when the clock says they are due, and publishes them to every client.

A client that reads slowly holds the market back: nothing is dropped, and the market then lags its clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from torghut_core.clock import NANOS_PER_SECOND
from torghut_core.exchange.messages import Message
from torghut_core.simulator.book import Book
from torghut_core.simulator.clock import MarketClock
from torghut_core.simulator.distortion import Distortion
from torghut_core.simulator.following import Following
from torghut_core.simulator.stock_stream import StockSession

_BATCH = 2000
_LONGEST_SLEEP_SECONDS = 0.02
_SHORTEST_SLEEP_SECONDS = 0.002


class Source(Protocol):
    """Where the market's messages come from."""

    symbols: set[str]
    first_ns: int
    left_out: int

    @property
    def next_at_ns(self) -> int | None:
        """When the next message is due; None when there is none any more."""

    def take(self, until_ns: int, limit: int) -> list[Message]:
        """Return up to `limit` messages due by `until_ns`."""


class Market:
    """Moves messages from the source through the book and the broker to the clients."""

    def __init__(
        self, *, source: Source, book: Book, broker: Following, clock: MarketClock, distortion: Distortion
    ) -> None:
        self._source = source
        self._book = book
        self._broker = broker
        self._clock = clock
        self._distortion = distortion
        self.sessions: list[StockSession] = []
        self.messages_published = 0
        self.messages_sent = 0
        """Sums of all clients: one message sent to two of them counts twice."""
        self.position_ns = clock.now_ns()
        """Up to when everything was published; behind the clock while clients hold the market back."""
        self.is_finished = False
        """Whether the recording has ended and all of it, its last bars too, was published."""

    @property
    def lines_left_out(self) -> int:
        """Return how many lines of a recording are not sent: its bars, and what lies before the start."""
        return self._source.left_out

    def prefill(self, until_ns: int) -> None:
        """Let the market's past up to `until_ns` happen unpublished, so that there is a history to ask for."""
        while messages := self._source.take(until_ns - 1, _BATCH):
            self._apply(messages, until_ns - 1)
        self._book.advance(until_ns)
        self.position_ns = until_ns

    def _apply(self, messages: Sequence[Message], now_ns: int) -> list[Message]:
        book, bars = self._book, self._book.bars
        applied: list[Message] = []
        for message in messages:
            if message.at_ns >= bars.next_mark_ns:
                applied += book.advance(message.at_ns)
            book.apply(message)
            applied.append(message)
        self._broker.take(messages, now_ns)
        return applied

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            if self._clock.is_held:
                # What is due at this very instant waits too: its first subscriber may be about to come.
                await asyncio.sleep(_SHORTEST_SLEEP_SECONDS)
                continue
            now_ns = self._clock.now_ns()
            messages = self._source.take(now_ns, _BATCH)
            is_behind = len(messages) == _BATCH
            self.position_ns = messages[-1].at_ns if is_behind else now_ns
            applied = self._apply(messages, self.position_ns)
            if not is_behind:
                applied += self._book.advance(now_ns)
            await self.publish(applied)
            if self._source.next_at_ns is None:
                await self._finish()
                return
            # The loop yields in any case; it sleeps when there is nothing due.
            await asyncio.sleep(0 if is_behind else self._pause(now_ns))

    async def _finish(self) -> None:
        """Publish, at their time, the bars still open and what is held back."""
        while self._book.bars.has_open or self._distortion.holds_messages:
            now_ns = self._clock.now_ns()
            self.position_ns = now_ns
            await self.publish(self._book.advance(now_ns))
            await asyncio.sleep(_LONGEST_SLEEP_SECONDS)
        self.is_finished = True

    def _pause(self, now_ns: int) -> float:
        next_ns = self._source.next_at_ns
        if next_ns is None:
            return 0
        seconds = (next_ns - now_ns) / NANOS_PER_SECOND / self._clock.speed
        return min(max(seconds, _SHORTEST_SLEEP_SECONDS), _LONGEST_SLEEP_SECONDS)

    async def publish(self, messages: Sequence[Message]) -> None:
        """Send messages to every client that asked for them, and wait for the slow ones."""
        messages = self._distortion.apply(messages, self.position_ns)
        if not messages:
            return
        self.messages_published += len(messages)
        broken_frames = self._distortion.take_broken_frames()
        for session in tuple(self.sessions):
            for frame in broken_frames:
                session.publish_broken(frame)
            self.messages_sent += session.publish(messages)
        for session in tuple(self.sessions):
            await session.drain()
