"""The circuit before the AI review: closed, open after too many errors, half open for one call that finds out."""

from __future__ import annotations

from collections import deque
from typing import Any

from torghut_core.clock import Clock, utc_datetime
from torghut_core.trading.encoding import format_datetime


class Circuit:
    """Opens after too many errors within a window; after the cooldown lets one call through to find out."""

    def __init__(self, *, max_errors: int, window_seconds: float, cooldown_seconds: float, clock: Clock) -> None:
        self._max_errors = max_errors
        self._window = window_seconds
        self._cooldown = cooldown_seconds
        self._clock = clock
        self._errors: deque[float] = deque()
        self._open_until: float | None = None
        self._is_probing = False

    def allows(self) -> bool:
        """Tell whether a call may be made; taking a yes after the cooldown makes this call the only probe."""
        if self._open_until is None:
            return True
        if self._clock.monotonic() < self._open_until or self._is_probing:
            return False
        self._is_probing = True
        return True

    def succeeded(self) -> None:
        """Close the circuit and forget the errors."""
        self._errors.clear()
        self._open_until = None
        self._is_probing = False

    def failed(self) -> None:
        """Count an error; a failed probe opens the circuit again at once."""
        now = self._clock.monotonic()
        self._errors.append(now)
        while self._errors and now - self._errors[0] > self._window:
            self._errors.popleft()
        if self._is_probing or len(self._errors) >= self._max_errors:
            self._open_until = now + self._cooldown
        self._is_probing = False

    def released(self) -> None:
        """End a probe that was never made: the next call may be it."""
        self._is_probing = False

    def as_json(self) -> dict[str, Any]:
        """Return the status payload `llm.circuit`."""
        now = self._clock.monotonic()
        is_open = self._open_until is not None and now < self._open_until
        until = utc_datetime(self._clock.now_ns() + int((self._open_until - now) * 1e9)) if self._open_until else None
        return {
            "open": is_open,
            "state": "open" if is_open else ("half_open" if self._open_until is not None else "closed"),
            "open_until": format_datetime(until) if is_open and until is not None else None,
            "max_errors": self._max_errors,
            "window_seconds": self._window,
            "cooldown_seconds": self._cooldown,
            "recent_error_count": sum(1 for at in self._errors if now - at <= self._window),
        }
