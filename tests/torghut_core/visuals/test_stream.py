"""Server-sent events: resumption, what was missed, who hears what, and who may listen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from torghut_core.visuals.stream import EventLog, Interest


async def _heard(listening: AsyncIterator[bytes], until: str) -> list[tuple[str, str]]:
    """Return id and name of the events up to the first one named `until`."""
    found: list[tuple[str, str]] = []
    async for chunk in listening:
        for block in chunk.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
            if "event" in fields:
                found.append((fields.get("id", ""), fields["event"]))
                if fields["event"] == until:
                    return found
    return found


def _listen(log: EventLog, last: str | None = None, **interest: Any) -> AsyncIterator[bytes]:
    return log.listen(Interest(**interest), last, beat=dict, stop=asyncio.Event(), seconds=0.01)


def _filled(count: int, kept: int = 100) -> EventLog:
    log = EventLog("abc", kept=kept)
    for number in range(1, count + 1):
        log.append(f"e{number}", {"n": number})
    return log


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (None, [("", "beat")]),
        ("abc-1", [("abc-2", "e2"), ("abc-3", "e3"), ("", "beat")]),
        ("abc-3", [("", "beat")]),
        ("abc-0", [("abc-1", "e1"), ("abc-2", "e2"), ("abc-3", "e3"), ("", "beat")]),
        ("abc-99", [("abc-3", "reset"), ("", "beat")]),
        ("dead-2", [("abc-3", "reset"), ("", "beat")]),
        ("nonsense", [("abc-3", "reset"), ("", "beat")]),
    ],
)
async def test_stream_when_resumed_then_what_was_missed_comes_or_a_reset(
    last: str | None, expected: list[tuple[str, str]]
) -> None:
    """Nothing twice and nothing left out in silence; another process's numbers mean nothing here."""
    assert await _heard(_listen(_filled(3), last), "beat") == expected


async def test_stream_when_more_was_missed_than_is_kept_then_reset() -> None:
    """A gap is said."""
    log = _filled(5, kept=3)
    assert await _heard(_listen(log, "abc-1"), "beat") == [("abc-5", "reset"), ("", "beat")]
    assert await _heard(_listen(log, "abc-2"), "e5") == [("abc-3", "e3"), ("abc-4", "e4"), ("abc-5", "e5")]


async def test_stream_when_events_are_large_then_fewer_are_kept() -> None:
    """Memory is bounded by size, not by number alone."""
    log = EventLog("abc", kept_bytes=250)
    for number in range(1, 6):
        log.append(f"e{number}", "x" * 98)
    assert [log.place_of(f"abc-{last}") for last in (2, 3)] == [None, 4]


async def test_stream_when_a_listener_is_slower_than_what_is_kept_then_reset_and_it_goes_on() -> None:
    """A slow reader costs itself its place, and nobody memory."""
    log = EventLog("abc", kept=2)
    listening = _listen(log)
    assert await _heard(listening, "beat") == [("", "beat")]
    for number in range(1, 6):
        log.append(f"e{number}", {})
    assert await _heard(listening, "reset") == [("abc-5", "reset")]
    log.append("e6", {})
    assert (await _heard(listening, "e6"))[-1] == ("abc-6", "e6")


async def test_stream_when_symbol_and_window_are_asked_for_then_only_they_come() -> None:
    """Bars of every symbol of the window, signals of one, and what concerns everyone."""
    log = EventLog("abc")
    for name, symbol, window in (
        ("bar", "A", "PT1S"),
        ("bar", "B", "PT1S"),
        ("bar", "A", "PT1M"),
        ("signal", "A", "PT1S"),
        ("signal", "B", "PT1S"),
        ("system", None, None),
    ):
        log.append(name, {}, symbol=symbol, window=window)
    heard = await _heard(_listen(log, "abc-0", symbol="A", window="PT1S"), "system")
    assert heard == [("abc-1", "bar"), ("abc-2", "bar"), ("abc-4", "signal"), ("abc-6", "system")]


async def test_stream_when_an_event_comes_then_a_waiting_listener_is_woken() -> None:
    """Not after the next beat: the beat here is an hour away."""
    log, stop = EventLog("abc"), asyncio.Event()
    listening = log.listen(Interest(), None, beat=dict, stop=stop, seconds=3600)
    assert await _heard(listening, "beat") == [("", "beat")]
    waiting = asyncio.ensure_future(_heard(listening, "bar"))
    await asyncio.sleep(0)
    log.append("bar", {})
    assert await asyncio.wait_for(waiting, 30) == [("abc-1", "bar")]
    assert log.listeners == 1
    stop.set()
    assert await _heard(listening, "end") == []
    assert log.listeners == 0
