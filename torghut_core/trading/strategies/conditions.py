"""Conditions over a window of bars, each in two forms that agree: judged on one view, and as masks over all rows. Pure.

A null makes what it is compared in false. `possible` returns two masks, where a condition could hold and where it could
fail: what depends on the position could do both, everything else does one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from torghut_core.trading.model import Signal
from torghut_core.trading.strategies.columns import ATTRIBUTES
from torghut_core.trading.strategies.rule import MOST_BARS, View
from torghut_core.trading.strategies.sessions import (
    minute_of_day,
    minute_of_day_of,
    minutes_from_open,
    minutes_from_open_of,
    minutes_to_close,
    minutes_to_close_of,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from torghut_core.trading.strategies.rule import Columns, Mask

    Masks = tuple[Mask, Mask]

Order = Literal["<", "<=", ">", ">="]
SESSION_COLUMNS = ("minutes_from_open", "minutes_to_close")
POSITION_COLUMNS = ("average_price", "bars_held", "minutes_held")
"""Known of the judged bar alone, and only while something is held."""
KNOWN = (*ATTRIBUTES, *SESSION_COLUMNS, *POSITION_COLUMNS)


class Condition(Protocol):
    """A condition on the last bar of a view."""

    @property
    def lookback(self) -> int:
        """Bars it looks at, the judged one included."""

    @property
    def uses_position(self) -> bool: ...

    def holds(self, view: View) -> bool: ...

    def possible(self, columns: Columns) -> Masks: ...


@dataclass(frozen=True, kw_only=True)
class Operand:
    """`factor` × a column + `offset`; without a column the offset alone."""

    column: str | None = None
    factor: float = 1.0
    offset: float = 0.0

    @property
    def uses_position(self) -> bool:
        return self.column in POSITION_COLUMNS

    def at(self, view: View, index: int) -> float | None:
        """Return the value on the window's bar `index`, None when it is null."""
        if self.column is None:
            return self.offset
        raw = _held(self.column, view) if self.uses_position else _value(self.column, view.window[index])
        return None if raw is None else self.factor * raw + self.offset

    def over(self, columns: Columns) -> NDArray[np.float64]:
        """Return the value on every row, NaN where it is null."""
        import numpy as np

        ns = columns["event_ns"]
        if self.column is None:
            return np.full(len(ns), self.offset)
        if self.column == "minutes_from_open":
            raw = minutes_from_open_of(ns)  # type: ignore[arg-type]
        elif self.column == "minutes_to_close":
            raw = minutes_to_close_of(ns)  # type: ignore[arg-type]
        else:
            raw = columns[self.column]
        return self.factor * raw + self.offset


def _value(column: str, signal: Signal) -> float | None:
    if column == "minutes_from_open":
        return minutes_from_open(signal.event_ns)
    if column == "minutes_to_close":
        return minutes_to_close(signal.event_ns)
    value = getattr(signal, ATTRIBUTES[column])
    return None if value is None else float(value)


def _held(column: str, view: View) -> float | None:
    held = view.position
    if held is None:
        return None
    if column == "average_price":
        return float(held.average_price)
    if column == "bars_held":
        return float(held.bars)
    seconds = view.seconds_held
    assert seconds is not None
    return seconds / 60


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two operands in an order, on this bar or one of the `within` bars before it."""

    left: Operand
    order: Order
    right: Operand
    within: int = 0

    @property
    def lookback(self) -> int:
        # Bars since the entry are counted over what is seen.
        return MOST_BARS if "bars_held" in (self.left.column, self.right.column) else 1 + self.within

    @property
    def uses_position(self) -> bool:
        return self.left.uses_position or self.right.uses_position

    def holds(self, view: View) -> bool:
        last = len(view.window) - 1
        return any(self._at(view, index) for index in range(last, max(-1, last - 1 - self.within), -1))

    def _at(self, view: View, index: int) -> bool:
        left, right = self.left.at(view, index), self.right.at(view, index)
        if left is None or right is None:
            return False
        if self.order == "<":
            return left < right
        if self.order == "<=":
            return left <= right
        return left > right if self.order == ">" else left >= right

    def possible(self, columns: Columns) -> Masks:
        import numpy as np

        if self.uses_position:
            return _either(columns)
        left, right = self.left.over(columns), self.right.over(columns)
        compare = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}[self.order]
        return _exactly(_within(compare(left, right), self.within))


@dataclass(frozen=True, kw_only=True)
class Cross:
    """The left operand past the right one, and not yet on the bar before; here or `within` bars before."""

    left: Operand
    is_above: bool
    right: Operand
    within: int = 0

    @property
    def lookback(self) -> int:
        return 2 + self.within

    @property
    def uses_position(self) -> bool:
        return False

    def holds(self, view: View) -> bool:
        last = len(view.window) - 1
        return any(self._at(view, index) for index in range(last, max(0, last - 1 - self.within), -1))

    def _at(self, view: View, index: int) -> bool:
        was_left, was_right = self.left.at(view, index - 1), self.right.at(view, index - 1)
        left, right = self.left.at(view, index), self.right.at(view, index)
        if was_left is None or was_right is None or left is None or right is None:
            return False
        return was_left <= was_right and left > right if self.is_above else was_left >= was_right and left < right

    def possible(self, columns: Columns) -> Masks:
        import numpy as np

        left, right = self.left.over(columns), self.right.over(columns)
        if self.is_above:
            crossed = (left[:-1] <= right[:-1]) & (left[1:] > right[1:])
        else:
            crossed = (left[:-1] >= right[:-1]) & (left[1:] < right[1:])
        # The first row has no bar before it.
        return _exactly(_within(np.concatenate([np.zeros(min(1, len(left)), dtype=np.bool_), crossed]), self.within))


@dataclass(frozen=True, kw_only=True)
class TimeOfDay:
    """The bar's end in New York, minutes since midnight, in [start, end)."""

    start: float = 0.0
    end: float = 24 * 60.0
    lookback: int = 1
    uses_position: bool = False

    def holds(self, view: View) -> bool:
        return self.start <= minute_of_day(view.now_ns) < self.end

    def possible(self, columns: Columns) -> Masks:
        minutes = minute_of_day_of(columns["event_ns"])  # type: ignore[arg-type]
        return _exactly((minutes >= self.start) & (minutes < self.end))


@dataclass(frozen=True, kw_only=True)
class Holding:
    """The strategy holds something since `at_least` bars or more and under `below` bars; or it holds nothing."""

    is_held: bool
    at_least: int = 0
    below: int | None = None
    uses_position: bool = True

    @property
    def lookback(self) -> int:
        return 1 + max(self.at_least, self.below or 0)

    def holds(self, view: View) -> bool:
        held = view.position
        if held is None or not self.is_held:
            return (held is not None) == self.is_held
        return held.bars >= self.at_least and (self.below is None or held.bars < self.below)

    def possible(self, columns: Columns) -> Masks:
        return _either(columns)


@dataclass(frozen=True)
class _Several:
    """Conditions that are judged together; at least one."""

    parts: tuple[Condition, ...]

    @property
    def lookback(self) -> int:
        return max(part.lookback for part in self.parts)

    @property
    def uses_position(self) -> bool:
        return any(part.uses_position for part in self.parts)


class All(_Several):
    """Every one of them."""

    def holds(self, view: View) -> bool:
        return all(part.holds(view) for part in self.parts)

    def possible(self, columns: Columns) -> Masks:
        could, could_fail = self.parts[0].possible(columns)
        for part in self.parts[1:]:
            more, more_fail = part.possible(columns)
            could, could_fail = could & more, could_fail | more_fail
        return could, could_fail


class AnyOf(_Several):
    """One of them at least."""

    def holds(self, view: View) -> bool:
        return any(part.holds(view) for part in self.parts)

    def possible(self, columns: Columns) -> Masks:
        could, could_fail = self.parts[0].possible(columns)
        for part in self.parts[1:]:
            more, more_fail = part.possible(columns)
            could, could_fail = could | more, could_fail & more_fail
        return could, could_fail


@dataclass(frozen=True)
class Not:
    """The opposite; a condition that a null made false holds here."""

    part: Condition

    @property
    def lookback(self) -> int:
        return self.part.lookback

    @property
    def uses_position(self) -> bool:
        return self.part.uses_position

    def holds(self, view: View) -> bool:
        return not self.part.holds(view)

    def possible(self, columns: Columns) -> Masks:
        could, could_fail = self.part.possible(columns)
        return could_fail, could


def _exactly(mask: Mask) -> Masks:
    return mask, ~mask


def _either(columns: Columns) -> Masks:
    import numpy as np

    every = np.ones(len(columns["event_ns"]), dtype=np.bool_)
    return every, every


def _within(mask: Mask, bars: int) -> Mask:
    """Return where the mask was true on this row or one of the `bars` rows before it."""
    import numpy as np

    if bars == 0 or len(mask) == 0:
        return mask
    counts = np.concatenate([[0], np.cumsum(mask)])
    starts = np.maximum(np.arange(len(mask)) - bars, 0)
    found: Mask = counts[1:] > counts[starts]
    return found
