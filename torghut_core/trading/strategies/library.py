"""The rules that a catalogue may name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from torghut_core.trading.strategies.declaration import CONDITIONS
from torghut_core.trading.strategies.declared import declared_rule
from torghut_core.trading.strategies.definition import Definition
from torghut_core.trading.strategies.judgement import raised
from torghut_core.trading.strategies.places import MisstatedError, Place
from torghut_core.trading.strategies.rule import Rule, RuleFault


class Library(Protocol):
    """Definitions by name."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def get(self, name: str) -> Definition | None:
        """Return the definition of that name; None when there is none that can be used."""

    def trouble(self, name: str) -> str | None:
        """Return why a name that is known cannot be used, as the end of a sentence; None when nothing is known of it."""

    def forget(self) -> None:
        """Look at what may have changed outside anew when it is asked for next."""


class FixedLibrary:
    """Definitions that are in this process."""

    def __init__(self, definitions: Iterable[Definition]) -> None:
        self._definitions: Mapping[str, Definition] = {each.name: each for each in definitions}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._definitions))

    def get(self, name: str) -> Definition | None:
        """Return the definition of that name."""
        return self._definitions.get(name)

    def trouble(self, _name: str) -> str | None:
        """Nothing is known of a name that is not here."""
        return None

    def forget(self) -> None:
        """What is in this process does not change."""


class Stated(Protocol):
    """A strategy of the catalogue, as its file or PostgreSQL has it."""

    @property
    def name(self) -> str: ...
    @property
    def rule(self) -> str: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...


def load_rule(stated: Stated, library: Library) -> Rule:
    """Return the rule that a strategy names, with its parameters. Raises RuleFault with one sentence."""
    try:
        if stated.rule == CONDITIONS:
            return declared_rule(stated.parameters)
        definition = library.get(stated.rule)
        if definition is None:
            why = library.trouble(stated.rule) or "no such rule is known here"
            raise RuleFault("unloadable", f"{stated.name}: rule {stated.rule!r}: {why}; nothing is traded")
        place = Place(("parameters",))
        values = definition.read(stated.parameters, place)
        return definition.build(values)
    except RuleFault:
        raise
    except MisstatedError as error:
        raise RuleFault("unloadable", f"{stated.name}: {error}; nothing is traded") from error
    except Exception as error:
        raise RuleFault("unloadable", f"{stated.name}: raised {raised(error)} when built; nothing is traded") from error


def load_rules(strategies: Iterable[Stated], library: Library) -> tuple[dict[str, Rule], dict[str, RuleFault]]:
    """Return the rules of the strategies by the strategies' names, and beside them those that could not be loaded."""
    rules: dict[str, Rule] = {}
    faults: dict[str, RuleFault] = {}
    for stated in strategies:
        try:
            rules[stated.name] = load_rule(stated, library)
        except RuleFault as fault:
            faults[stated.name] = fault
    return rules, faults
