"""A rule as its author declares it in Python: a pure function or a class, with its name, version and parameters."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from torghut_core.trading.model import Proposal
from torghut_core.trading.strategies.parameters import Parameter, Value, read
from torghut_core.trading.strategies.places import Place
from torghut_core.trading.strategies.rule import MOST_BARS, Rule, View

if TYPE_CHECKING:
    from torghut_core.trading.strategies.rule import Columns, Mask

_MARK = "__torghut_strategy__"
_NAME_LENGTH = 64
_Declared = TypeVar("_Declared", bound=Callable[..., Any])


class Definition(Protocol):
    """A rule that the catalogue may name."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def parameters(self) -> tuple[Parameter, ...]: ...
    @property
    def timeframes(self) -> tuple[str, ...]:
        """Those it works on; empty: any."""

    def read(self, given: Mapping[str, object], place: Place) -> dict[str, Value]:
        """Return all parameters. Raises MisstatedError naming key, value and rule."""

    def verify(self, values: Mapping[str, Value], place: Place) -> None:
        """Raise MisstatedError when no rule can be built with them, though each keeps to its own rule."""

    def build(self, values: Mapping[str, Value]) -> Rule:
        """Return the rule with these parameters. Raises RuleFault."""


@dataclass(frozen=True, kw_only=True)
class PythonDefinition:
    """A definition whose code is in this process."""

    name: str
    version: str
    declared: Callable[..., Any]
    """`function(view, **parameters)`, or a class that takes the parameters and has `propose(view)`."""
    lookback: int | Callable[..., int]
    parameters: tuple[Parameter, ...] = ()
    timeframes: tuple[str, ...] = ()
    uses_position: bool = True
    check: Callable[..., str | None] | None = None
    candidates: Callable[..., Mask] | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a declaration that cannot be used."""
        if not 0 < len(self.name) <= _NAME_LENGTH or not self.name.isprintable():
            raise ValueError(f"strategy name {self.name[:80]!r}: must be text of 1 to {_NAME_LENGTH} characters")
        if not 0 < len(self.version) <= _NAME_LENGTH or not self.version.isprintable():
            raise ValueError(f"strategy {self.name}: version must be text of 1 to {_NAME_LENGTH} characters")
        names = [parameter.name for parameter in self.parameters]
        if len(set(names)) < len(names):
            raise ValueError(f"strategy {self.name}: two parameters have one name")

    def read(self, given: Mapping[str, object], place: Place) -> dict[str, Value]:
        """Return all parameters. Raises MisstatedError naming key, value and rule."""
        return read(self.parameters, given, place, rule=self.name)

    def verify(self, values: Mapping[str, Value], place: Place) -> None:
        """Raise MisstatedError with the rule that the parameters break together."""
        broken = None if self.check is None else self.check(**values)
        if broken is not None:
            raise place.refused(broken)

    def build(self, values: Mapping[str, Value]) -> PythonRule:
        """Return the rule with these parameters.

        Raises MisstatedError for what they break together, ValueError for a lookback, and whatever the author's code does.
        """
        self.verify(values, Place(("parameters",)))
        lookback = self.lookback if isinstance(self.lookback, int) else self.lookback(**values)
        if isinstance(lookback, bool) or not isinstance(lookback, int) or not 1 <= lookback <= MOST_BARS:
            raise ValueError(f"strategy {self.name}: lookback must be a whole number from 1 to {MOST_BARS} bars")
        is_class = isinstance(self.declared, type)
        return PythonRule(
            definition=self,
            values=dict(values),
            lookback=lookback,
            digest=digest_of(values, source_of(self.declared)),
            ask=self.declared(**values).propose if is_class else self.declared,
            is_bound=is_class,
        )


@dataclass(frozen=True, kw_only=True)
class PythonRule:
    """A rule whose code runs in this process."""

    definition: PythonDefinition
    values: Mapping[str, Value]
    lookback: int
    digest: str
    ask: Callable[..., Any]
    is_bound: bool
    """Whether the parameters are already in `ask`."""

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def version(self) -> str:
        return self.definition.version

    @property
    def uses_position(self) -> bool:
        return self.definition.uses_position

    def propose(self, view: View) -> Sequence[Proposal]:
        """Return whatever the author's code says; `judgement.ask` is what checks it."""
        answer: Any = self.ask(view) if self.is_bound else self.ask(view, **self.values)
        if answer is None:
            return ()
        return (answer,) if isinstance(answer, Proposal) else answer

    def candidates(self, columns: Columns) -> Mask | None:
        """Return the rows that the author's own mask leaves, every row where there is none."""
        declared = self.definition.candidates
        return None if declared is None else declared(columns, **self.values)


def strategy(
    *,
    name: str,
    version: str,
    lookback: int | Callable[..., int],
    parameters: Sequence[Parameter] = (),
    timeframes: Sequence[str] = (),
    uses_position: bool = True,
    check: Callable[..., str | None] | None = None,
    candidates: Callable[..., Mask] | None = None,
) -> Callable[[_Declared], _Declared]:
    """Declare a function `propose(view, **parameters)`, or a class with `propose(view)`, as a strategy.

    `lookback` is the number of bars it needs, the judged one included, or a function of the parameters; `timeframes` are
    those it works on (all when empty); `check(**parameters)` returns the rule that they break together, None when none.
    The declared thing stays what it is, and can be called in a test. Raises ValueError for a declaration that cannot be
    used.
    """

    def declare(declared: _Declared) -> _Declared:
        definition = PythonDefinition(
            name=name,
            version=version,
            declared=declared,
            lookback=lookback,
            parameters=tuple(parameters),
            timeframes=tuple(timeframes),
            uses_position=uses_position,
            check=check,
            candidates=candidates,
        )
        setattr(declared, _MARK, definition)
        return declared

    return declare


def definition_of(declared: object) -> PythonDefinition | None:
    """Return the definition of a function or class that `strategy` was put on; None for anything else."""
    found = vars(declared).get(_MARK) if hasattr(declared, "__dict__") else None
    return found if isinstance(found, PythonDefinition) else None


def digest_of(values: Mapping[str, Any], source: bytes) -> str:
    """Return the SHA-256 of parameters and source, as hex."""
    told = json.dumps(values, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    return hashlib.sha256(len(told).to_bytes(8, "big") + told + source).hexdigest()


def source_of(declared: Callable[..., Any]) -> bytes:
    """Return the source that a strategy comes from: its file, or every Python file of its package, by path."""
    module = sys.modules.get(declared.__module__)
    file = getattr(module, "__file__", None)
    if module is None or file is None:
        return b""
    path = Path(file)
    if path.name != "__init__.py":
        return path.read_bytes()
    found = sorted(path.parent.rglob("*.py"))
    return b"".join(each.relative_to(path.parent).as_posix().encode() + b"\0" + each.read_bytes() for each in found)
