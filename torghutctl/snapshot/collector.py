"""Reads many sources at once, each with a deadline of its own; a source that hangs costs its deadline and no more.

What follows from a source (a pod's log from the list of pods) begins the moment that source has answered, whatever else
is still under way: a chain of n dependent sources costs the sum of the n, never n times the slowest. Members of a family
(`freshness/latest/…`) share a lane of limited width, so that hundreds of symbols of a service that hangs hold back
nothing else; a member's deadline counts from when it could first be asked, so the whole lane ends with it.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torghutctl.snapshot import sources
from torghutctl.snapshot.http import ReadError
from torghutctl.snapshot.kept import MisusedFieldError
from torghutctl.snapshot.model import Failure, Reading

_SLACK_SECONDS = 0.5
"""What a thread may take beyond its deadline (name resolution knows none) before it is given up."""
_NAMED = 6
LANE_WIDTH = 64
"""Members of one family that are asked at the same time."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One source to read. `read` gets the seconds it may take and raises ReadError; `then` names what follows from it."""

    source: str
    read: Callable[[float], Any]
    then: Callable[[Reading], Iterable[Task]] | None = None
    may_be_absent: bool = False
    """Whether a failure is an ordinary state that nobody needs to be told of."""


def collect(
    tasks: Iterable[Task],
    *,
    deadline_s: float,
    monotonic: Callable[[], float],
    tell: Callable[[str], None] = lambda _: None,
    width: int = LANE_WIDTH,
) -> dict[str, Reading]:
    """Return every task's reading, and those of the tasks that follow, by source name."""
    collection = _Collection(deadline_s=deadline_s, monotonic=monotonic, width=width)
    collection.add(tasks)
    while collection.is_under_way():
        collection.wait()
    lines = collection.failures()
    if len(lines) > 1 or any(reading.is_ok for reading in collection.readings.values()):
        for line in lines:  # one cause for all of them is the report's own first sentence
            tell(line)
    return dict(sorted(collection.readings.items()))


@dataclass(frozen=True, kw_only=True)
class _Turn:
    """A task that waits or runs, its family, and when its deadline passes."""

    task: Task
    lane: str
    ends: float


class _Collection:
    def __init__(self, *, deadline_s: float, monotonic: Callable[[], float], width: int) -> None:
        self.readings: dict[str, Reading] = {}
        self._deadline_s, self._monotonic, self._width = deadline_s, monotonic, width
        self._failed: dict[str, list[str]] = {}
        self._known: set[str] = set()
        self._waiting: deque[_Turn] = deque()
        self._running: dict[str, _Turn] = {}
        self._in_lane: Counter[str] = Counter()
        self._results: queue.SimpleQueue[tuple[Task, Reading]] = queue.SimpleQueue()

    def add(self, tasks: Iterable[Task]) -> None:
        """Take tasks on, each source once; they are asked by the next `is_under_way`."""
        ends = self._monotonic() + self._deadline_s
        for task in tasks:
            if task.source not in self._known:
                self._known.add(task.source)
                self._waiting.append(_Turn(task=task, lane=sources.describe(task.source).name, ends=ends))

    def is_under_way(self) -> bool:
        """Ask what can be asked now, and tell whether anything is still out."""
        held: list[_Turn] = []
        while self._waiting:
            turn = self._waiting.popleft()
            left = turn.ends - self._monotonic()
            if left <= 0:
                self._settle(turn.task, self._late(turn.task))
            elif self._in_lane[turn.lane] >= self._width:
                held.append(turn)
            else:
                self._in_lane[turn.lane] += 1
                self._running[turn.task.source] = turn
                name = f"read:{turn.task.source}"
                threading.Thread(target=self._work, args=(turn.task, left), name=name, daemon=True).start()
        self._waiting.extend(held)
        return bool(self._running)

    def wait(self) -> None:
        """Wait for one answer, or until a source that hangs is given up."""
        given_up = min(turn.ends for turn in self._running.values()) + _SLACK_SECONDS
        try:
            task, reading = self._results.get(timeout=max(0.001, given_up - self._monotonic()))
        except queue.Empty:
            now = self._monotonic()
            for turn in [turn for turn in self._running.values() if turn.ends + _SLACK_SECONDS <= now]:
                self._end(turn.task, self._late(turn.task))
        else:
            self._end(task, reading)

    def failures(self) -> list[str]:
        """Return a line for each kind of failure, with the sources it happened to."""
        failed = {how: [name for name in names if not self._is_replaced(name)] for how, names in self._failed.items()}
        return [
            f"not read, {how}: {', '.join(sorted(names)[:_NAMED])}"
            + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
            for how, names in sorted(failed.items())
            if names
        ]

    def _is_replaced(self, name: str) -> bool:
        """Tell whether a source is absent because another thing stands in its place."""
        other = sources.describe(name).replaced_by
        is_absent = self.readings[name].failure is Failure.ABSENT
        return is_absent and other is not None and other in self.readings and self.readings[other].is_ok

    def _work(self, task: Task, seconds: float) -> None:
        try:
            reading = Reading(source=task.source, value=task.read(seconds))
        except ReadError as error:
            reading = Reading(source=task.source, failure=error.failure, detail=error.detail)
            if error.failure is Failure.TIMEOUT:
                reading = self._late(task)
        except Exception as error:  # noqa: BLE001  in a thread it would reach nobody, and cost the whole deadline
            what = str(error) if isinstance(error, MisusedFieldError) else type(error).__name__
            detail = f"the answer has an unexpected shape ({what})"
            reading = Reading(source=task.source, failure=Failure.UNPARSABLE, detail=detail)
        self._results.put((task, reading))

    def _late(self, task: Task) -> Reading:
        return Reading(source=task.source, failure=Failure.TIMEOUT, detail=f"no answer within {self._deadline_s:g} s")

    def _end(self, task: Task, reading: Reading) -> None:
        turn = self._running.pop(task.source, None)
        if turn is not None:  # else it was given up before, and its late answer counts no more
            self._in_lane[turn.lane] -= 1
            self._settle(task, reading)

    def _settle(self, task: Task, reading: Reading) -> None:
        self.readings[task.source] = reading
        if not reading.is_ok and not task.may_be_absent:
            self._failed.setdefault(f"{reading.failure} ({reading.detail})", []).append(task.source)
        self.add(task.then(reading) if task.then else ())
