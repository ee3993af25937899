"""The market's clock: it sets the time, and shares it with other processes through a clock file."""

from __future__ import annotations

import time
from pathlib import Path

from torghut_core.clock import FileClock
from torghut_core.errors import InputError

_HELD_SPEED = 1e-9
"""A shared clock cannot stand still; at this speed it moves a nanosecond a second."""
MAX_SPEED = 100_000.0


def check_speed(speed: float) -> float:
    """Return `speed` (simulated seconds a real second). Raises InputError unless it is above 0 and at most 100000."""
    if not 0 < speed <= MAX_SPEED:
        raise InputError(f"speed={speed:g}: must be above 0 and at most {MAX_SPEED:g}")
    return speed


class MarketClock:
    """A wall clock that starts at `origin_ns` and runs at `speed`; its speed can change, its time never turns back.

    With `path`, each change is written there for `torghut_core.clock.FileClock` to follow.
    """

    is_simulated = True

    def __init__(self, *, origin_ns: int, speed: float, path: Path | None = None, is_held: bool = False) -> None:
        self._speed = check_speed(speed)
        self._path = path
        self._is_held = is_held
        self._latest_ns = origin_ns
        self._set_origin(origin_ns)

    def _set_origin(self, origin_ns: int) -> None:
        self._origin_ns = origin_ns
        self._started_unix_ns = time.time_ns()
        if self._path is not None:
            FileClock.write(self._path, origin_ns=origin_ns, speed=_HELD_SPEED if self._is_held else self._speed)

    @property
    def speed(self) -> float:
        """Simulated seconds per real second, also while the clock is held."""
        return self._speed

    @property
    def is_held(self) -> bool:
        """Whether time stands still until `release`."""
        return self._is_held

    def now_ns(self) -> int:
        if not self._is_held:
            passed = int((time.time_ns() - self._started_unix_ns) * self._speed)
            self._latest_ns = max(self._latest_ns, self._origin_ns + passed)
        return self._latest_ns

    def monotonic(self) -> float:
        return time.monotonic()

    def change_speed(self, speed: float) -> None:
        """Go on from now at another speed."""
        now_ns = self.now_ns()
        self._speed = check_speed(speed)
        self._set_origin(now_ns)

    def hold(self) -> None:
        """Let time stand still."""
        now_ns = self.now_ns()
        self._is_held = True
        self._set_origin(now_ns)

    def release(self) -> None:
        """Let a held clock run."""
        if self._is_held:
            now_ns = self._latest_ns
            self._is_held = False
            self._set_origin(now_ns)
