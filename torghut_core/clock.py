"""Where the time comes from: the machine, or a simulated day.

Every part takes a `Clock`, so that sessions, ages and limits mean what they meant on a recorded day.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from torghut_core.errors import ConfigurationError

NANOS_PER_SECOND = 1_000_000_000


class Clock(Protocol):
    """A source of wall-clock and monotonic time."""

    def now_ns(self) -> int:
        """Return the wall clock in nanoseconds since the Unix epoch, UTC."""

    def monotonic(self) -> float:
        """Return seconds of the machine's monotonic clock, never simulated: silence and back-off are real time."""

    @property
    def is_simulated(self) -> bool:
        """Tell whether the wall clock is a recorded or accelerated one."""


def utc_datetime(ns: int) -> datetime:
    """Return nanoseconds since the epoch as an aware datetime; what is below a microsecond is cut."""
    seconds, rest = divmod(ns, NANOS_PER_SECOND)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)


@dataclass(frozen=True)
class SystemClock:
    """The machine's own clocks."""

    is_simulated: bool = False

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()


class FileClock:
    """A simulated wall clock that processes share through a file, so that one of them can change its speed.

    The file is JSON `{"origin_ns", "started_unix_ns", "speed"}`: at machine time `started_unix_ns` it was `origin_ns`,
    and `speed` simulated seconds pass per real second. It is looked at again at most every 50 ms. Monotonic time stays
    the machine's own.
    """

    is_simulated = True
    _RELOAD_SECONDS = 0.05

    def __init__(self, path: Path) -> None:
        self._path = path
        self._looked_at = -1.0
        self._modified_ns = -1
        self._state = (0, 0, 1.0)
        self.now_ns()

    @staticmethod
    def write(path: Path, *, origin_ns: int, speed: float) -> None:
        """Set the shared clock to `origin_ns` now, running at `speed` (above zero), in one atomic step."""
        if speed <= 0:
            raise ValueError(f"speed={speed}: must be above 0")
        state = {"origin_ns": origin_ns, "started_unix_ns": time.time_ns(), "speed": speed}
        scratch = path.with_name(f"{path.name}.{os.getpid()}.new")
        scratch.write_text(json.dumps(state))
        scratch.replace(path)

    @property
    def speed(self) -> float:
        return self._state[2]

    def now_ns(self) -> int:
        if time.monotonic() - self._looked_at >= self._RELOAD_SECONDS:
            self._looked_at = time.monotonic()
            modified_ns = self._path.stat().st_mtime_ns
            if modified_ns != self._modified_ns:
                state = json.loads(self._path.read_text())
                self._state = (int(state["origin_ns"]), int(state["started_unix_ns"]), float(state["speed"]))
                self._modified_ns = modified_ns
        origin_ns, started_unix_ns, speed = self._state
        return origin_ns + int((time.time_ns() - started_unix_ns) * speed)

    def monotonic(self) -> float:
        return time.monotonic()


def open_clock(address: str) -> Clock:
    """Return the clock at `address` (`TORGHUT_CLOCK`): `system`, or `file:PATH` for a simulated one.

    Raises ConfigurationError when it is neither, or the file cannot be read.
    """
    if address == "system":
        return SystemClock()
    kind, _, path = address.partition(":")
    if kind != "file" or not path:
        raise ConfigurationError(f"TORGHUT_CLOCK={address!r}: must be system or file:PATH")
    try:
        return FileClock(Path(path))
    except (OSError, ValueError, KeyError) as error:
        raise ConfigurationError(f"TORGHUT_CLOCK={address!r}: not a readable clock file: {error}") from error


class StepClock:
    """A clock that stands between steps, and moves only to a later instant, when told; both its times are of the steps.

    Recorded data are judged by it: what is to be done is a function of the rows alone, however fast they come. With
    `base` it follows another clock, at a distance.
    """

    is_simulated = True

    def __init__(self, now_ns: int, *, base: Clock | None = None) -> None:
        self._now_ns = now_ns
        self.base = base

    @property
    def speed(self) -> float:
        """Simulated seconds of the followed clock per real second."""
        return float(getattr(self.base, "speed", 1.0))

    def now_ns(self) -> int:
        return self._now_ns

    def monotonic(self) -> float:
        return self._now_ns / NANOS_PER_SECOND

    def move_to(self, now_ns: int) -> None:
        """Move to an instant; one that is past already changes nothing."""
        self._now_ns = max(self._now_ns, now_ns)


class ManualClock:
    """A clock that moves only when told, for tests and pure planning."""

    is_simulated = True

    def __init__(self, now_ns: int = 0, monotonic: float = 0.0) -> None:
        self._now_ns = now_ns
        self._monotonic = monotonic

    def now_ns(self) -> int:
        return self._now_ns

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by `seconds`."""
        self._now_ns += int(seconds * NANOS_PER_SECOND)
        self._monotonic += seconds
