"""Waiting between attempts: exponential, capped, jittered, without a last attempt."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """Delays of base·2^(attempt−1) seconds up to `cap`, each spread by ±`jitter` of itself.

    The spread applies after the cap, so delays at the cap spread to both sides.
    """

    base: float
    cap: float
    jitter: float = 0.2

    def delay(self, attempt: int, rng: random.Random | None = None) -> float:
        """Return seconds to wait after failed attempt number `attempt` (from 1; lower counts as 1)."""
        planned = min(self.cap, self.base * 2.0 ** min(max(attempt, 1) - 1, 60))
        uniform = rng.uniform if rng is not None else random.uniform
        return planned * (1.0 + uniform(-self.jitter, self.jitter))


@dataclass(frozen=True, kw_only=True)
class FullJitter:
    """Delays drawn evenly from `least` to `least` + min(`cap`, base·2^(attempt−1)) seconds.

    Many that failed together do not come back together. Source: M. Brooker, Exponential Backoff And Jitter.
    """

    base: float
    cap: float
    least: float = 0.0

    def delay(self, attempt: int, rng: random.Random | None = None) -> float:
        """Return seconds to wait after failed attempt number `attempt` (from 1; lower counts as 1)."""
        span = min(self.cap, self.base * 2.0 ** min(max(attempt, 1) - 1, 60))
        return self.least + (rng.uniform if rng is not None else random.uniform)(0.0, span)
