"""Alpaca messages to envelope records: duplicates out, sequence numbers on, one bad message never costs another."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from torghut_core.envelope import Channel, Envelope, encode
from torghut_core.rfc3339 import format_ns, parse_ns

_IDENTITY = {
    "trades": ("S", "i", "x", "t", "p", "s"),
    "quotes": ("S", "t", "bx", "bp", "bs", "ax", "ap", "as"),
    "bars": ("S", "t", "o", "h", "l", "c", "v", "n", "vw"),
    "updatedBars": ("S", "t", "o", "h", "l", "c", "v", "n", "vw"),
    "status": ("S", "t", "sc", "rc"),
}
"""What makes two messages of a channel the same. A correction differs in content, so it is kept."""


class Dedup:
    """Remembers what was seen for `ttl_seconds`, at most `max_entries` of it; a repeat does not renew."""

    def __init__(self, ttl_seconds: float, max_entries: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ttl = ttl_seconds
        self._max = max_entries
        self._monotonic = monotonic
        self._seen: OrderedDict[Any, float] = OrderedDict()

    def is_repeat(self, key: Any) -> bool:
        """Tell whether `key` was seen within the time to live, and remember it."""
        now = self._monotonic()
        seen_at = self._seen.get(key)
        if seen_at is not None:
            if now - seen_at < self._ttl:
                return True
            del self._seen[key]
        self._seen[key] = now
        while len(self._seen) > self._max or now - next(iter(self._seen.values())) >= self._ttl:
            self._seen.popitem(last=False)
        return False

    def __len__(self) -> int:
        return len(self._seen)


class Sequences:
    """Numbers that rise strictly per symbol and channel, across restarts too.

    They count on from the start in microseconds; `floor` is one more than the highest number the topics hold, so that a
    clock set back between two starts cannot make them fall.
    """

    def __init__(self, started_us: int, floor: int = 0) -> None:
        self._start = max(started_us, floor)
        self._last: dict[tuple[str, str], int] = {}

    def next(self, channel: str, symbol: str) -> int:
        key = (channel, symbol)
        number = self._last.get(key, self._start - 1) + 1
        self._last[key] = number
        return number


@dataclass
class Converter:
    """Turns decoded messages into keyed records."""

    feed: str
    topics: Mapping[str, str]
    """Channel to topic."""
    dedup: Dedup
    sequences: Sequences
    dropped: dict[str, int] = field(default_factory=dict)
    repeats: dict[str, int] = field(default_factory=dict)

    def convert(
        self, data: Mapping[str, list[dict[str, Any]]], ingest_ns: int
    ) -> dict[str, tuple[list[bytes], list[bytes]]]:
        """Return topic → keys, values for a frame's messages, order kept."""
        ingest_ts = format_ns(ingest_ns)
        records: dict[str, tuple[list[bytes], list[bytes]]] = {}
        for channel, messages in data.items():
            columns = records.setdefault(self.topics[channel], ([], []))
            identity = _IDENTITY[channel]
            for message in messages:
                symbol, at = message.get("S"), message.get("t")
                if not isinstance(symbol, str) or not 0 < len(symbol) <= 32:
                    self._drop("bad_symbol")
                    continue
                event_ts = _rfc3339(at)
                if event_ts is None:
                    self._drop("bad_time")
                    continue
                try:
                    if self.dedup.is_repeat((channel, *[message.get(name) for name in identity])):
                        self.repeats[channel] = self.repeats.get(channel, 0) + 1
                        continue
                except TypeError:  # a field that identifies is a list or an object
                    self._drop("bad_field")
                    continue
                del message["T"]
                columns[0].append(symbol.encode())
                columns[1].append(
                    encode(
                        Envelope(
                            ingest_ts=ingest_ts,
                            event_ts=event_ts,
                            feed=self.feed,
                            channel=cast("Channel", channel),
                            symbol=symbol,
                            seq=self.sequences.next(channel, symbol),
                            is_final=channel != "updatedBars",
                            source="ws",
                            window=None,
                            payload=message,
                        )
                    )
                )
        return {topic: columns for topic, columns in records.items() if columns[0]}

    def _drop(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1


def _rfc3339(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    if 20 <= len(value) <= 30 and value[-1] == "Z" and value[10] == "T":
        return value  # the shape Alpaca sends; the TA reads it digit by digit and counts what is wrong in it
    try:
        return format_ns(parse_ns(value))
    except ValueError:
        return None
