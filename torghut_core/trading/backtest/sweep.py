"""Parameters tried over a grid, and windows in which they are chosen on one stretch and judged on the next. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from torghut_core.errors import InputError
from torghut_core.trading.backtest.recording import Recording
from torghut_core.trading.strategies.catalogue import Entry
from torghut_core.trading.strategies.library import Library
from torghut_core.trading.strategies.places import MisstatedError, Place

_AXIS = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<values>.+)")
_RANGE = re.compile(r"(?P<first>-?[0-9.]+)\.\.(?P<last>-?[0-9.]+)(?::(?P<step>[0-9.]+))?")
_MOST = 10_000

Number = int | float
Choice = tuple[tuple[str, Number], ...]
"""One point of the grid: parameters and their values."""


@dataclass(frozen=True)
class Axis:
    """A parameter and the values it takes."""

    name: str
    values: tuple[Number, ...]


def read_axis(text: str) -> Axis:
    """Return `name=first..last:step`, or `name=a,b,c`. Raises InputError naming option, value and rule.

    >>> read_axis("oversold=20..40:10").values
    (20, 30, 40)
    """
    found = _AXIS.fullmatch(text.replace(" ", ""))
    rule = "must be NAME=FIRST..LAST:STEP, as oversold=20..40:5, or NAME=A,B,C"
    if found is None:
        raise InputError(f"--sweep {text[:80]!r}: {rule}")
    span = _RANGE.fullmatch(found["values"])
    try:
        if span is None:
            return Axis(found["name"], tuple(_number(each) for each in found["values"].split(",")))
        first, last, step = _number(span["first"]), _number(span["last"]), _number(span["step"] or "1")
    except ValueError as error:
        raise InputError(f"--sweep {text[:80]!r}: {rule}") from error
    if step <= 0 or last < first or (last - first) / step > _MOST:
        raise InputError(f"--sweep {text[:80]!r}: LAST must be at or above FIRST, STEP above 0, at most {_MOST} values")
    count = int((last - first) / step + 1e-9) + 1
    return Axis(found["name"], tuple(_number(f"{first + step * at:.10g}") for at in range(count)))


def _number(text: str) -> Number:
    return int(text) if re.fullmatch(r"-?[0-9]+", text) else float(text)


def choices(axes: Sequence[Axis]) -> list[Choice]:
    """Return every point of the grid, the last axis fastest. Raises InputError for too many, or a name given twice."""
    names = [axis.name for axis in axes]
    if len(set(names)) < len(names):
        raise InputError("--sweep: a parameter is given twice")
    found = [tuple(zip(names, values, strict=True)) for values in product(*(axis.values for axis in axes))]
    if len(found) > _MOST:
        raise InputError(f"--sweep: {len(found)} combinations are more than {_MOST}")
    return found


def with_choice(entries: Sequence[Entry], choice: Choice, library: Library) -> list[Entry]:
    """Return the catalogue with the choice's values in every enabled strategy that has the parameter.

    Raises InputError when no strategy has one of them, or one does not take a value.
    """
    placed: set[str] = set()
    found: list[Entry] = []
    for entry in entries:
        definition = library.get(entry.rule) if entry.enabled else None
        known = {} if definition is None else {parameter.name for parameter in definition.parameters}
        own: Mapping[str, Number] = {name: value for name, value in choice if name in known}
        placed |= set(own)
        parameters = {**entry.parameters, **own}
        if own and definition is not None:
            try:
                definition.read(parameters, Place(("parameters",)))
            except MisstatedError as error:
                raise InputError(f"--sweep: {entry.name}: {error}") from error
        found.append(replace(entry, parameters=parameters))
    missing = [name for name, _ in choice if name not in placed]
    if missing:
        raise InputError(f"--sweep: no enabled strategy has a parameter {', '.join(missing)}")
    return found


@dataclass(frozen=True)
class Fold:
    """A stretch to choose on, and the one after it to judge on; nanoseconds, the ends not included."""

    chosen_from: int
    judged_from: int
    judged_to: int


def folds(recording: Recording, count: int, *, from_ns: int, to_ns: int) -> Iterator[Fold]:
    """Yield `count` folds of as many rows each. Raises InputError when there are too few rows for them."""
    instants = np.unique(np.concatenate([series.event_ns for series in recording.series]))
    instants = instants[(instants >= from_ns) & (instants < to_ns)]
    if len(instants) < 2 * (count + 1):
        raise InputError(f"--walk-forward {count}: {len(instants)} instants are too few for so many windows")
    bounds = [int(instants[len(instants) * at // (count + 1)]) for at in range(count + 1)] + [int(instants[-1]) + 1]
    for at in range(count):
        yield Fold(bounds[at], bounds[at + 1], bounds[at + 2])
