"""Reads many sources at once, each with a deadline of its own; a source that hangs costs its deadline and no more."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torghutctl.snapshot.http import ReadError
from torghutctl.snapshot.kept import MisusedFieldError
from torghutctl.snapshot.model import Failure, Reading

_SLACK_SECONDS = 0.5
"""What a thread may take beyond its deadline (name resolution knows none) before it is given up."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One source to read. `read` gets the seconds it may take and raises ReadError; `then` names what follows from it."""

    source: str
    read: Callable[[float], Any]
    then: Callable[[Reading], Iterable[Task]] | None = None
    may_be_absent: bool = False
    """Whether a failure is an ordinary state that nobody needs to be told of."""


def collect(
    tasks: Sequence[Task],
    *,
    deadline_s: float,
    monotonic: Callable[[], float],
    tell: Callable[[str], None] = lambda _: None,
    threads: int = 64,
) -> dict[str, Reading]:
    """Return every task's reading, and those of the tasks that follow, by source name."""
    results: queue.SimpleQueue[tuple[Task, Reading]] = queue.SimpleQueue()
    waiting = list(reversed(tasks))
    running: dict[str, tuple[Task, float]] = {}
    readings: dict[str, Reading] = {}

    def work(task: Task) -> None:
        try:
            results.put((task, Reading(source=task.source, value=task.read(deadline_s))))
        except ReadError as error:
            results.put((task, Reading(source=task.source, failure=error.failure, detail=error.detail)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            what = str(error) if isinstance(error, MisusedFieldError) else type(error).__name__
            detail = f"the answer has an unexpected shape ({what})"
            results.put((task, Reading(source=task.source, failure=Failure.UNPARSABLE, detail=detail)))

    def settle(task: Task, reading: Reading) -> None:
        readings[task.source] = reading
        if not reading.is_ok and not task.may_be_absent:
            tell(f"{task.source}: {reading.failure} ({reading.detail})")
        for follower in task.then(reading) if task.then else ():
            if follower.source not in readings and follower.source not in running:
                waiting.append(follower)

    while waiting or running:
        while waiting and len(running) < threads:
            task = waiting.pop()
            running[task.source] = (task, monotonic() + deadline_s + _SLACK_SECONDS)
            threading.Thread(target=work, args=(task,), name=f"read:{task.source}", daemon=True).start()
        given_up = min(ends for _, ends in running.values())
        try:
            task, reading = results.get(timeout=max(0.001, given_up - monotonic()))
        except queue.Empty:
            for source in [name for name, (_, ends) in running.items() if ends <= monotonic()]:
                late, _ = running.pop(source)
                settle(
                    late, Reading(source=source, failure=Failure.TIMEOUT, detail=f"no answer within {deadline_s:g} s")
                )
            continue
        if running.pop(task.source, None) is not None:
            settle(task, reading)
    return dict(sorted(readings.items()))
