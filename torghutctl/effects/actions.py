"""Carries out a plan's actions one after the other, with a journal that survives being killed.

A step begins only when the one before it is on record as done. One that was begun and not recorded is done again: every
statement is safe to repeat. What is on record as done is never repeated.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torghutctl.errors import StalePlanError, UnverifiedError, UpstreamError


class Ran(Protocol):
    """What a command gave back."""

    @property
    def status(self) -> int: ...

    @property
    def output(self) -> str: ...

    @property
    def errors(self) -> str: ...


Run = Callable[[str, str, str], Ran]
"""(namespace, pod, command line) → result."""
Annotate = Callable[[str, str, str, str | None], None]
"""(namespace, KafkaTopic, annotation, value; None removes it)."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One action to carry out; the fields are those of the plan's action."""

    target: str
    statement: str
    same_objects_as: str | None = None
    harmless_failure: str | None = None


@dataclass(frozen=True, kw_only=True)
class Hands:
    """What steps are carried out with."""

    run: Run
    annotate: Annotate


class Journal:
    """Which steps of one plan are done: JSON lines, each on disk before the next step begins."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def done(self) -> int:
        """Return how many steps are done, from the first on."""
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return 0
        count = 0
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                break  # a line cut by a kill was never promised
            if record.get("done") == count:
                count += 1
        return count

    def record(self, index: int) -> None:
        """Put step `index` on record as done."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            text = self.path.read_bytes()
            start = b"" if not text or text.endswith(b"\n") else b"\n"
            os.write(descriptor, start + json.dumps({"done": index}).encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the journal against another process. Raises StalePlanError when one has it."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise StalePlanError("another process carries out this plan", hint="wait for it") from error
        finally:
            os.close(descriptor)


def carry_out(steps: Sequence[Step], hands: Hands, journal: Journal, note: Callable[[int, Step, str], None]) -> int:
    """Carry out what is left of `steps`; `note` is told before and after each. Return how many were done now.

    Raises UpstreamError when a command fails, UnverifiedError when a comparison does not hold; nothing after it is done.
    """
    with journal.held():
        first = journal.done()
        for index in range(first, len(steps)):
            note(index, steps[index], "begin")
            _do(steps[index], hands)
            journal.record(index)
            note(index, steps[index], "done")
        return len(steps) - first


def _do(step: Step, hands: Hands) -> None:
    kind, _, place = step.target.partition(" ")
    namespace, _, name = place.partition("/")
    if kind == "KafkaTopic":
        key, separator, value = step.statement.removeprefix("annotate ").rstrip("-").partition("=")
        hands.annotate(namespace, name, key, value if separator else None)
        return
    if step.same_objects_as is None:
        result = hands.run(namespace, name, step.statement)
        said = result.output + result.errors
        if result.status != 0 and not (step.harmless_failure and step.harmless_failure in said):
            raise UpstreamError(
                f"{step.target}: {step.statement!r} ended with status {result.status}",
                hint="mend the cause, then repeat the command: what is done is not done again",
            )
        return
    sizes = [_objects(hands.run(namespace, name, listing)) for listing in (step.statement, step.same_objects_as)]
    if sizes[0] != sizes[1]:
        raise UnverifiedError(
            f"the copy has {sizes[1][0]} objects, {sizes[1][1]} bytes; the original {sizes[0][0]} and {sizes[0][1]}",
            hint="nothing was deleted; find out what still writes there",
        )


def _objects(listing: Ran) -> tuple[int, int]:
    """Return count and bytes of an object listing, one JSON object per line."""
    if listing.status != 0:
        raise UpstreamError(f"listing objects ended with status {listing.status}", hint="nothing was deleted")
    count = size = 0
    for line in filter(None, map(str.strip, listing.output.splitlines())):
        try:
            entry = json.loads(line)
            size += int(entry["size"])
        except (ValueError, KeyError, TypeError) as error:
            raise UnverifiedError("the object listing cannot be understood", hint="nothing was deleted") from error
        count += 1
    return count, size
