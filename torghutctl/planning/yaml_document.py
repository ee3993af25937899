"""A YAML file as bytes, text and node graph: where each scalar stands, and what the file says.

Reading only. An `Address` is the document's index followed by mapping keys and list indices. The whole content is
comparable as `leaves`, so that an edit can prove what it changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torghutctl.errors import RefusedError
from torghutctl.planning.opaque import why_opaque

Address = tuple[str | int, ...]
"""`(document, key or index, …)`: `(0, "spec", "job", "state")`."""

_BOM = "\ufeff"
_TAB_INDENT = re.compile(r"^ *\t", re.M)
_MAX_LEAVES = 200_000
_MAX_DEPTH = 150


class UneditableError(RefusedError):
    """A file cannot be edited safely; `path` names it and the message says why."""

    def __init__(self, path: str, why: str, *, hint: str = "edit it by hand, or mend the file first") -> None:
        super().__init__(f"{path}: {why}", hint=hint)
        self.path = path
        self.why = why


@dataclass(frozen=True)
class Leaf:
    """A scalar (or an empty collection) as YAML understands it."""

    tag: str
    value: str


@dataclass(frozen=True)
class YamlFile:
    """One parsed file. `text` is the decoded file with its byte order mark, if any, at index 0."""

    path: str
    text: str
    documents: tuple[Any, ...]

    @property
    def data(self) -> bytes:
        return self.text.encode("utf-8")

    @property
    def newline(self) -> str:
        """The line end in use: of the first line."""
        end = self.text.find("\n")
        return "\r\n" if end > 0 and self.text[end - 1] == "\r" else "\n"

    @cached_property
    def leaves(self) -> Mapping[Address, Leaf]:
        """Every scalar by its address, aliases followed. Raises UneditableError when there is no end to them."""
        found: dict[Address, Leaf] = {}
        for index, root in enumerate(self.documents):
            for address, leaf in _walk(root, (index,), 0):
                found[address] = leaf
                if len(found) > _MAX_LEAVES:
                    raise UneditableError(self.path, "its aliases expand without a sensible end")
        return found

    def node(self, address: Address) -> Any:
        """Return the node at `address`, or None. Raises UneditableError at a key that stands there twice."""
        current: Any = self.documents[int(address[0])]
        for step in address[1:]:
            current = self._child(current, step, address)
            if current is None:
                return None
        return current

    def value(self, address: Address) -> str | None:
        """Return the text of the scalar at `address`, None when there is none (or it is null or a collection)."""
        node = self.node(address)
        if node is None or not is_scalar(node) or is_null(node):
            return None
        return str(node.value)

    def find(self, kind: str, name: str | None = None) -> list[int]:
        """Return the indices of the documents of this kind, and of this `metadata.name` when one is given."""
        return [
            index
            for index, _ in enumerate(self.documents)
            if self.value((index, "kind")) == kind and name in (None, self.value((index, "metadata", "name")))
        ]

    def _child(self, node: Any, step: str | int, address: Address) -> Any:
        if is_mapping(node) and isinstance(step, str):
            matches = [value for key, value in node.value if is_scalar(key) and key.value == step]
            if len(matches) > 1:
                raise UneditableError(self.path, f"key {step!r} stands twice in {show(address)}")
            return matches[0] if matches else None
        if is_sequence(node) and isinstance(step, int) and step < len(node.value):
            return node.value[step]
        return None


def parse(path: str, data: bytes) -> YamlFile:
    """Return the parsed file. Raises UneditableError when it is not UTF-8 YAML."""
    from ruamel.yaml.error import YAMLError

    opaque = why_opaque(data)
    if opaque is not None:
        raise UneditableError(path, opaque)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UneditableError(path, f"is not UTF-8 text (byte {error.start})") from error
    try:
        documents = _compose(text)
    except (YAMLError, ValueError, RecursionError) as error:
        if "\t" not in text or _TAB_INDENT.search(text):
            where = getattr(getattr(error, "problem_mark", None), "line", None)
            at = f" (line {where + 1})" if where is not None else ""
            raise UneditableError(path, f"is not YAML{at}") from error
        documents = _compose_with_tabs(path, text)
    return YamlFile(path=path, text=text, documents=documents)


def _compose(text: str) -> tuple[Any, ...]:
    from ruamel.yaml import YAML

    reader = YAML(typ="rt", pure=True)
    reader.allow_duplicate_keys = True
    return tuple(reader.compose_all(text))


def _compose_with_tabs(path: str, text: str) -> tuple[Any, ...]:
    """Compose a file that separates by tabs, which YAML allows and this reader does not: a blank is as wide."""
    from ruamel.yaml.error import YAMLError

    try:
        return _compose(text.replace("\t", " "))
    except (YAMLError, ValueError, RecursionError) as error:
        raise UneditableError(path, "is not YAML, or uses tabs where they cannot be read") from error


def show(address: Address) -> str:
    """Return an address as a reader would write it: `spec.template.spec.containers[0].env[3].value`."""
    text = ""
    for step in address[1:]:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text or "the document"


def is_mapping(node: Any) -> bool:
    return type(node).__name__ == "MappingNode"


def is_sequence(node: Any) -> bool:
    return type(node).__name__ == "SequenceNode"


def is_scalar(node: Any) -> bool:
    return type(node).__name__ == "ScalarNode"


def is_null(node: Any) -> bool:
    return bool(is_scalar(node) and str(node.tag).endswith(":null"))


def walk_nodes(node: Any, address: Address) -> Iterator[tuple[Address, Any]]:
    """Yield every node below and including `node` with its address, depth first."""
    yield address, node
    if len(address) > _MAX_DEPTH:
        return
    if is_mapping(node):
        for key, value in node.value:
            if is_scalar(key):
                yield from walk_nodes(value, (*address, str(key.value)))
    elif is_sequence(node):
        for index, value in enumerate(node.value):
            yield from walk_nodes(value, (*address, index))


def _walk(node: Any, address: Address, depth: int) -> Iterator[tuple[Address, Leaf]]:
    if depth > _MAX_DEPTH:
        raise UneditableError("YAML", "is nested too deeply, or refers to itself")
    if is_scalar(node):
        yield address, Leaf(str(node.tag), str(node.value))
    elif not node.value:
        yield address, Leaf(str(node.tag), "")
    elif is_mapping(node):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name = str(key.value)
            seen[name] = seen.get(name, 0) + 1
            step = name if seen[name] == 1 else f"{name} (again {seen[name]})"
            yield from _walk(value, (*address, step), depth + 1)
    else:
        for index, value in enumerate(node.value):
            yield from _walk(value, (*address, index), depth + 1)
