"""What a rule can be told: numbers, words and switches with type, bounds, unit and default."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torghut_core.trading.strategies.places import Place

Value = bool | int | float | str
_KINDS: Mapping[str, str] = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text of 1 to 200 printable characters",
}


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter of a rule. Bounds are inclusive, and for numbers alone; `choices` are for text."""

    name: str
    type: type[bool] | type[int] | type[float] | type[str]
    default: Value
    at_least: float | None = None
    at_most: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    help: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for a declaration that contradicts itself."""
        if not self.name.isidentifier():
            raise ValueError(f"parameter {self.name!r}: the name must be a Python identifier")
        if self.type.__name__ not in _KINDS:
            raise ValueError(f"parameter {self.name}: the type must be one of {', '.join(_KINDS)}")
        broken = self.broken_rule(self.default)
        if broken is not None:
            raise ValueError(f"parameter {self.name}: its own default {self.default!r} {broken}")

    def broken_rule(self, value: object) -> str | None:
        """Return the rule that `value` breaks; None when it may be used."""
        rule = f"must be {self.rule}"
        if self.type is bool:
            return None if isinstance(value, bool) else rule
        if self.type is str:
            is_text = isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()
            return None if is_text and (not self.choices or value in self.choices) else rule
        if isinstance(value, bool) or not isinstance(value, int if self.type is int else (int, float)):
            return rule
        # Compared first: a whole number may be too long for a float.
        if not -1e18 <= value <= 1e18 or not math.isfinite(value):
            return rule
        is_high_enough = self.at_least is None or value >= self.at_least
        is_low_enough = self.at_most is None or value <= self.at_most
        return None if is_high_enough and is_low_enough else rule

    @property
    def rule(self) -> str:
        """Say what it takes, as `a whole number from 0 to 500 (bars)`."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        bounds = ""
        if self.at_least is not None and self.at_most is not None:
            bounds = f" from {self.at_least:g} to {self.at_most:g}"
        elif self.at_least is not None:
            bounds = f" not below {self.at_least:g}"
        elif self.at_most is not None:
            bounds = f" not above {self.at_most:g}"
        return f"{_KINDS[self.type.__name__]}{bounds}{f' ({self.unit})' if self.unit else ''}"


def read(parameters: Sequence[Parameter], given: Mapping[str, object], place: Place, *, rule: str) -> dict[str, Value]:
    """Return a value for each parameter, given or default. Raises MisstatedError naming key, value and rule."""
    known = {parameter.name: parameter for parameter in parameters}
    values: dict[str, Value] = {parameter.name: parameter.default for parameter in parameters}
    for key, value in given.items():
        parameter = known.get(key)
        if parameter is None:
            takes = ", ".join(sorted(known)) or "no parameters"
            raise (place / str(key)).refused(f"unknown parameter; {rule} takes {takes}", is_key=True)
        broken = parameter.broken_rule(value)
        if broken is not None:
            raise (place / key).refused(broken, value)
        assert isinstance(value, bool | int | float | str)
        values[key] = float(value) if parameter.type is float else value
    return values
