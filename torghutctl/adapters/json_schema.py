"""JSON Schema through `jsonschema`, as far as OpenAPI v3 schemas of Kubernetes are it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def violations(schema: Mapping[str, Any], value: Any, *, at: str) -> list[str]:
    """Return each violation as `place: rule`, places beginning with `at`, in the order of places."""
    from jsonschema import Draft202012Validator

    found = sorted(Draft202012Validator(dict(schema)).iter_errors(value), key=lambda error: list(map(str, error.path)))
    return [f"{_place(at, error.absolute_path)}: {_rule(error)}" for error in found]


def _place(at: str, path: Any) -> str:
    return at + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def _rule(error: Any) -> str:
    limit = error.validator_value
    match error.validator:
        case "type":
            return f"must be of type {limit}, is {type(error.instance).__name__}"
        case "enum":
            return f"{error.instance!r}: must be one of {', '.join(map(str, limit))}"
        case "required":
            return f"needs {', '.join(key for key in limit if key not in error.instance)}"
        case "additionalProperties":
            extra = sorted(set(error.instance) - set(error.schema.get("properties", {})))
            return f"unknown field {', '.join(extra)}"
        case _:
            return f"breaks {error.validator} {limit}"
