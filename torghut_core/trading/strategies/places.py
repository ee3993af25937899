"""Where in a catalogue something stands: as a path of keys, and as line and column of the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torghut_core.errors import InputError


@dataclass(frozen=True)
class Place:
    """A path of keys and list positions, written `strategies[0].parameters.speed`."""

    keys: tuple[str | int, ...] = ()

    def __truediv__(self, key: str | int) -> Place:
        return Place((*self.keys, key))

    def __str__(self) -> str:
        text = "".join(f"[{key}]" if isinstance(key, int) else f".{shown(key)}" for key in self.keys)
        return text.removeprefix(".")

    def refused(self, rule: str, value: object = None, *, is_key: bool = False, offset: int = 0) -> MisstatedError:
        """Return the error that names this place, the value (None: none is told) and the rule it breaks."""
        told = "" if value is None else f"={shown(repr(value))}"
        return MisstatedError(self, f"{self}{told}: {rule}", is_key=is_key, offset=offset)


class MisstatedError(InputError):
    """A value of a catalogue breaks its rule; `place` says where, `is_key` that the key itself is meant."""

    def __init__(self, place: Place, sentence: str, *, is_key: bool = False, offset: int = 0) -> None:
        super().__init__(sentence)
        self.place = place
        self.is_key = is_key
        self.offset = offset
        """Characters into the value at which the fault stands."""


def shown(key: object) -> str:
    """Return what may be repeated of a text that somebody else wrote: 64 printable characters at most."""
    return "".join(character for character in str(key)[:64] if character.isprintable())


def position(text: str, error: MisstatedError) -> tuple[int, int] | None:
    """Return line and column, from 1, at which the YAML in `text` holds what `error` speaks of; None when it does not.

    Of a key that is missing it is the place of the mapping that lacks it.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except (YAMLError, ValueError, RecursionError):
        return None
    for depth, key in enumerate(error.place.keys):
        found = _child(node, key, is_key=error.is_key and depth + 1 == len(error.place.keys))
        if found is None:
            break
        node = found
    else:
        return _mark(node, error.offset)
    return _mark(node, 0)


def _child(node: Any, key: str | int, *, is_key: bool) -> Any:
    from ruamel.yaml.nodes import MappingNode, SequenceNode

    if isinstance(key, int):
        is_item = isinstance(node, SequenceNode) and key < len(node.value)
        return node.value[key] if is_item else None
    if isinstance(node, MappingNode):
        for name, value in node.value:
            if getattr(name, "value", None) == key:
                return name if is_key else value
    return None


def _mark(node: Any, offset: int) -> tuple[int, int] | None:
    if node is None:
        return None
    mark, style = node.start_mark, getattr(node, "style", None)
    is_one_line = mark.line == node.end_mark.line
    if offset and is_one_line and style in (None, "'", '"'):
        return mark.line + 1, mark.column + 1 + offset + (0 if style is None else 1)
    return mark.line + 1, mark.column + 1
