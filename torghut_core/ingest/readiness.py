"""Whether data flows, why not, and why not lately: root cause first, Kafka before what starves for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torghut_core.clock import Clock
from torghut_core.ingest.protocol import ErrorClass
from torghut_core.rfc3339 import format_ns

_KEPT = 20
Problem = tuple[ErrorClass, str] | None


@dataclass
class _Episode:
    error_class: ErrorClass
    detail: str
    since: str
    until: str | None = None

    def shown(self) -> dict[str, Any]:
        return {
            "error_class": self.error_class.value,
            "detail": self.detail,
            "since": self.since,
            "until": self.until,
        }


class Readiness:
    """Judges the gates each time it is asked, and remembers what was wrong when."""

    def __init__(
        self,
        *,
        clock: Clock,
        kafka: Callable[[], Problem],
        alpaca: Callable[[], Problem],
        trade_updates: Callable[[], Problem],
        limitation: Callable[[], Problem],
        facts: Callable[[], dict[str, Any]],
    ) -> None:
        self._clock = clock
        self._gates = {"kafka": kafka, "alpaca_ws": alpaca, "trade_updates": trade_updates}
        self._limitation = limitation
        self._facts = facts
        self._recent: deque[_Episode] = deque(maxlen=_KEPT)
        self.errors: dict[str, int] = {}
        """Times that each class came up."""

    def judge(self) -> tuple[bool, dict[str, Any]]:
        """Return whether it is ready, and the body of `/readyz`.

        `error_class` may name what leaves it ready: symbols for which there is no subscription.
        """
        problems = {name: ask() for name, ask in self._gates.items()}
        found = next((problem for problem in problems.values() if problem is not None), None)
        ready = found is None
        shown = found if found is not None else self._limitation()
        self._note(shown)
        return ready, {
            "status": "ready" if ready else "not_ready",
            "ready": ready,
            "error_class": shown[0].value if shown is not None else None,
            "detail": shown[1] if shown is not None else None,
            "gates": {name: problems[name] is None for name in ("alpaca_ws", "kafka", "trade_updates")},
            **self._facts(),
            "recent": [episode.shown() for episode in self._recent],
        }

    def _note(self, problem: Problem) -> None:
        last = self._recent[-1] if self._recent and self._recent[-1].until is None else None
        if last is not None and problem is not None and last.error_class is problem[0]:
            return  # the first words are the cause, those after it what followed
        now = format_ns(self._clock.now_ns() // 1_000_000 * 1_000_000)
        if last is not None:
            last.until = now
        if problem is not None:
            self._recent.append(_Episode(problem[0], problem[1], now))
            self.errors[problem[0].value] = self.errors.get(problem[0].value, 0) + 1
