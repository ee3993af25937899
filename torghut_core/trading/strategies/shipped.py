"""The rules in Python that ship with the program."""

from __future__ import annotations

from torghut_core.trading.strategies import macd_rsi, opening_range
from torghut_core.trading.strategies.definition import PythonDefinition, definition_of
from torghut_core.trading.strategies.library import FixedLibrary, Library


def _definition(declared: object) -> PythonDefinition:
    found = definition_of(declared)
    assert found is not None
    return found


SHIPPED: Library = FixedLibrary([_definition(macd_rsi.propose), _definition(opening_range.propose)])
