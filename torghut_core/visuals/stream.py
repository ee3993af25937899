"""Server-sent events: one numbered log that every listener reads at its own pace, and resumes by `Last-Event-ID`."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import orjson

_KEPT = 20_000
_KEPT_BYTES = 32 * 1024 * 1024
"""Events kept for those who come back, by number and size; who missed more is told to read everything again."""
_BEAT_SECONDS = 2.0
_ID = re.compile(r"([0-9a-f]{1,32})-([0-9]{1,18})")


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened. `symbol` and `window` are what a listener may ask for alone; None concerns everyone."""

    number: int
    name: str
    data: bytes
    symbol: str | None
    window: str | None


@dataclass(frozen=True, kw_only=True)
class Interest:
    """What a listener wants: signals of one symbol, rows of one window, or all of them."""

    symbol: str | None = None
    window: str | None = None

    def covers(self, event: Event) -> bool:
        """Return whether an event is for this listener. Bars come of every symbol: the list of symbols shows them."""
        if self.window is not None and event.window not in (None, self.window):
            return False
        return self.symbol is None or event.name != "signal" or event.symbol == self.symbol


class EventLog:
    """The newest events of this process. Written and read in one event loop."""

    def __init__(self, epoch: str, *, kept: int = _KEPT, kept_bytes: int = _KEPT_BYTES) -> None:
        """`epoch` (hexadecimal) tells this process's numbers from another's."""
        self._epoch = epoch
        self._events: deque[Event] = deque()
        self._kept = kept
        self._bytes_left = kept_bytes
        self._next = 1
        self._changed = asyncio.Event()
        self.listeners = 0

    def append(self, name: str, body: Any, *, symbol: str | None = None, window: str | None = None) -> None:
        """Add an event and wake who listens."""
        made = Event(number=self._next, name=name, data=orjson.dumps(body), symbol=symbol, window=window)
        self._events.append(made)
        self._bytes_left -= len(made.data)
        while len(self._events) > self._kept or (self._bytes_left < 0 and self._events):
            self._bytes_left += len(self._events.popleft().data)
        self._next += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def place_of(self, last_event_id: str | None) -> int | None:
        """Return the number to go on from, None when what was missed is no longer kept or was another process's."""
        if last_event_id is None:
            return self._next
        found = _ID.fullmatch(last_event_id.strip())
        if found is None or found[1] != self._epoch:
            return None
        following = int(found[2]) + 1
        return following if self._oldest <= following <= self._next else None

    @property
    def _oldest(self) -> int:
        return self._events[0].number if self._events else self._next

    async def listen(
        self,
        interest: Interest,
        last_event_id: str | None,
        *,
        beat: Callable[[], Any],
        stop: asyncio.Event,
        seconds: float = _BEAT_SECONDS,
    ) -> AsyncIterator[bytes]:
        """Yield the events after `last_event_id` as they come, and a `beat` event every `seconds`.

        A listener that missed some, or is too slow, gets `reset`: read everything again. Ends when `stop` is set.
        """
        at = self.place_of(last_event_id)
        self.listeners += 1
        try:
            yield b"retry: 1000\n\n"
            while not stop.is_set():
                changed = self._changed
                if at is None or at < self._oldest:
                    at = self._next
                    yield self._framed("reset", b"{}", at - 1)
                found = self._after(at)
                at = self._next
                wanted = [
                    self._framed(event.name, event.data, event.number) for event in found if interest.covers(event)
                ]
                if wanted:
                    yield b"".join(wanted)
                else:
                    yield b"event: beat\ndata: " + orjson.dumps(beat()) + b"\n\n"
                await _either(changed, stop, seconds)
        finally:
            self.listeners -= 1

    def _after(self, at: int) -> list[Event]:
        missing = self._next - at
        if missing <= 0:
            return []
        return list(self._events)[-missing:]

    def _framed(self, name: str, data: bytes, number: int) -> bytes:
        return f"id: {self._epoch}-{number}\nevent: {name}\ndata: ".encode() + data + b"\n\n"


async def _either(changed: asyncio.Event, stop: asyncio.Event, seconds: float) -> None:
    waiting = [asyncio.ensure_future(changed.wait()), asyncio.ensure_future(stop.wait())]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()
