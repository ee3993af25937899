"""The Common Expression Language through `common-expression-language`: one expression over named values."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any


class CelError(Exception):
    """An expression does not compile, or has no value for these inputs."""


def evaluate(expression: str, values: Mapping[str, Any]) -> Any:
    """Return the expression's value. Raises CelError; nothing of it can reach files or the network."""
    program = _compiled(expression)
    try:
        return program.execute(dict(values))
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise CelError(f"{expression}: {error}") from error


@lru_cache(maxsize=256)
def _compiled(expression: str) -> Any:
    import cel

    try:
        return cel.compile(expression)
    except (ValueError, TypeError) as error:
        raise CelError(f"{expression}: {error}") from error
