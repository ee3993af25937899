"""The emergency stop: entries rest while signals are older than they may be in an open market. Pure.

Freshness reasons clear by themselves after some healthy cycles. A closed market is no reason, and clears none.
"""

from __future__ import annotations

from dataclasses import dataclass

LAG = "signal_lag_exceeded"


@dataclass
class EmergencyStop:
    """Counts cycles; `reasons` are what holds now."""

    lag_limit_seconds: float
    recovery_cycles: int
    reasons: tuple[str, ...] = ()
    _healthy: int = 0

    def observe(self, *, lag_seconds: float | None, is_open: bool) -> None:
        """Take the age of the newest signal of this cycle, None when none was ever seen."""
        if not is_open or lag_seconds is None:
            return
        if lag_seconds > self.lag_limit_seconds:
            self.reasons, self._healthy = (LAG,), 0
            return
        self._healthy += 1
        if self._healthy >= self.recovery_cycles:
            self.reasons = ()
