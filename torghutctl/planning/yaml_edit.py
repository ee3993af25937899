"""Surgical edits: change or insert one scalar, leave every other byte as it is, and prove it.

ruamel.yaml finds the place; the bytes are replaced there. Each edit is parsed again and refused unless the file then
says exactly what it said before, but for the planned addresses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torghutctl.planning.yaml_document import (
    Address,
    Leaf,
    UneditableError,
    YamlFile,
    is_mapping,
    is_null,
    is_scalar,
    is_sequence,
    parse,
    show,
    walk_nodes,
)
from torghutctl.planning.yaml_text import block_lines, flow_entry, insert_like, quote_like, render_like


@dataclass(frozen=True)
class _Splice:
    """Characters `start` to `end` of a file are to be `text`."""

    start: int
    end: int
    text: str


_PROPERTIES = re.compile(r"(?:[&!][^\s,\[\]{}]*[ \t\r\n]+)+")
_ALIAS = re.compile(r"[ \t]*:[ \t]+(\*[^\s,\[\]{}]+)")


def set_scalar(file: YamlFile, address: Address, wanted: str, *, is_text: bool) -> YamlFile:
    """Return the file with the scalar at `address` saying `wanted`, inserted in its neighbours' style when missing.

    `is_text` says that an inserted value must stay a string (an environment variable, an annotation), so it is quoted
    unless its neighbours show otherwise. A value already as wanted gives the same file back. Raises UneditableError.
    """
    node = file.node(address)
    if node is None or (is_null(node) and not _source(file, node)):
        return _insert(file, address, wanted, is_text=is_text)
    if not is_scalar(node):
        raise UneditableError(file.path, f"{show(address)} is not a single value")
    if str(node.value).strip() == wanted and not is_null(node):
        return file
    start, end = _span(file, address, node)
    source = file.text[start:end]
    if source.startswith("*"):
        # The alias gives way to a text of its own, quoted as what it stood for.
        written = _source(file, node)
        shown = quote_like(_PROPERTIES.sub("", written, count=1) if node.style in ("'", '"') else source, wanted)
    else:
        shown = render_like(source, str(node.value), wanted)
    return _verified(file, _Splice(start, end, shown), {address: wanted})


def insert_named_item(file: YamlFile, sibling: Address, name: str, value: str) -> YamlFile:
    """Return the file with `{name, value}` put after the list item at `sibling`, written as that item is.

    Raises UneditableError when the item is not such a mapping.
    """
    item = file.node(sibling)
    sequence = file.node(sibling[:-1])
    position = sibling[-1]
    if not is_mapping(item) or not is_sequence(sequence) or not isinstance(position, int):
        raise UneditableError(file.path, f"{show(sibling)} is not an entry with a name and a value")
    written = {str(key.value): _source(file, node) for key, node in item.value if is_scalar(node)}
    entry = [
        ("name", quote_like(written.get("name", ""), name)),
        ("value", insert_like(written.get("value") or '""', value)),
    ]
    newline = file.newline
    if item.flow_style:
        at = int(item.end_mark.index)
        keys = [_source(file, key) for key, _ in item.value]
        text = flow_entry(entry, quoted_keys=bool(keys) and keys[0].startswith('"'))
        if sequence.flow_style:
            gap = newline + " " * int(item.start_mark.column) if _starts_line(file.text, item) else " "
            text = f",{gap}{text}"
        else:
            text = f"{newline}{_line_prefix(file.text, int(item.start_mark.index))}{text}"
            at = _line_end(file.text, at)
    else:
        at = _line_end(file.text, _last_end(item))
        prefix = _line_prefix(file.text, int(item.start_mark.index))
        indent = " " * len(prefix)
        text = newline + prefix + f"{newline}{indent}".join(f"{key}: {shown}" for key, shown in entry)
    expected = _shifted(file.leaves, sibling[:-1], position + 1)
    return _verified_against(
        file,
        _Splice(at, at, text),
        expected,
        {(*sibling[:-1], position + 1, "name"): name, (*sibling[:-1], position + 1, "value"): value},
    )


def _insert(file: YamlFile, address: Address, wanted: str, *, is_text: bool) -> YamlFile:
    depth = len(address) - 1
    while depth > 1 and not is_mapping(file.node(address[:depth])):
        node = file.node(address[:depth])
        if node is not None and not is_null(node):
            raise UneditableError(file.path, f"{show(address[:depth])} is not a mapping")
        depth -= 1
    parent = file.node(address[:depth])
    missing = [str(step) for step in address[depth:]]
    if not is_mapping(parent) or any(isinstance(step, int) for step in address[depth:]):
        raise UneditableError(file.path, f"{show(address)} has no place to be put")
    existing = next((key for key, _ in parent.value if key.value == missing[0]), None)
    like = _neighbour_style(file, parent)
    value = insert_like(like if len(missing) == 1 else "", wanted) if is_text else wanted
    end: int | None = None
    if existing is not None:
        node = next(node for key, node in parent.value if key is existing)
        at, end = int(node.start_mark.index), int(node.end_mark.index)
        if _source(file, node):
            # An explicit null (`~`, `null`) gives way to a mapping in its place.
            text = flow_entry(_nested(missing[1:], value), quoted_keys=False)
        else:
            end = None
            at, text = _fill_empty(file, parent, existing, missing, value)
    elif parent.flow_style:
        at, text = _flow_position(file, parent, missing, value)
    else:
        at, text = _block_position(file, parent, missing, value)
    return _verified(
        file,
        _Splice(at, at if end is None else end, text),
        {address: wanted},
        dropped=address[: depth + 1] if existing is not None else None,
    )


def _fill_empty(file: YamlFile, parent: Any, key: Any, missing: list[str], value: str) -> tuple[int, str]:
    colon = file.text.index(":", int(key.end_mark.index)) + 1
    if len(missing) == 1:
        return colon, f" {value}"
    if parent.flow_style:
        return colon, f" {flow_entry(_nested(missing[1:], value), quoted_keys=False)}"
    step = _indent_step(file)
    lines = block_lines(missing[1:], value, int(key.start_mark.column) + step, step)
    return _line_end(file.text, colon), "".join(file.newline + line for line in lines)


def _flow_position(file: YamlFile, parent: Any, missing: list[str], value: str) -> tuple[int, str]:
    quoted = bool(parent.value) and _source(file, parent.value[0][0]).startswith('"')
    inner = flow_entry(_nested(missing, value), quoted_keys=quoted)[1:-1]
    if not parent.value:
        return int(parent.end_mark.index) - 1, inner
    key, last = parent.value[-1]
    at = max(int(last.end_mark.index), int(key.end_mark.index))
    gap = file.newline + " " * int(key.start_mark.column) if _starts_line(file.text, key) else " "
    return at, f",{gap}{inner}"


def _block_position(file: YamlFile, parent: Any, missing: list[str], value: str) -> tuple[int, str]:
    newline = file.newline
    if not parent.value:
        raise UneditableError(file.path, "an empty mapping has no place for a key")
    column = int(parent.value[0][0].start_mark.column)
    lines = block_lines(missing, value, column, _indent_step(file))
    for key, node in reversed(parent.value):
        starts_inline = int(node.start_mark.line) == int(key.start_mark.line)
        if is_scalar(node) and node.style not in ("|", ">") and starts_inline:
            at = _line_end(file.text, max(int(node.end_mark.index), int(key.end_mark.index)))
            return at, "".join(newline + line for line in lines)
    first = int(parent.value[0][0].start_mark.index)
    return first, newline.join(lines).lstrip(" ") + newline + " " * column


def _indent_step(file: YamlFile) -> int:
    """Return by how much the file's first nested block mapping is indented; 2 where there is none."""
    for document, root in enumerate(file.documents):
        for _, node in walk_nodes(root, (document,)):
            if not is_mapping(node) or node.flow_style:
                continue
            for key, value in node.value:
                if is_mapping(value) and not value.flow_style and value.value:
                    step = int(value.value[0][0].start_mark.column) - int(key.start_mark.column)
                    if step > 0:
                        return step
    return 2


def _nested(keys: list[str], value: str) -> list[tuple[str, str]]:
    for key in reversed(keys[1:]):
        value = "{" + f"{key}: {value}" + "}"
    return [(keys[0], value)]


def _neighbour_style(file: YamlFile, parent: Any) -> str:
    for _, node in reversed(parent.value):
        source = _source(file, node) if is_scalar(node) and node.style not in ("|", ">") else ""
        if source:
            return source
    return ""


def _span(file: YamlFile, address: Address, node: Any) -> tuple[int, int]:
    """Return where the value's own characters stand, without its anchor and tag; an alias' place where it is used."""
    parent = file.node(address[:-1])
    if is_mapping(parent):
        key = next(key for key, value in parent.value if key.value == address[-1])
        alias = _ALIAS.match(file.text, int(key.end_mark.index))
        if alias is not None:
            return alias.span(1)
    start, end = int(node.start_mark.index), int(node.end_mark.index)
    properties = _PROPERTIES.match(file.text, start, end)
    return (properties.end() if properties else start), end


def _verified(
    file: YamlFile, splice: _Splice, planned: Mapping[Address, str], *, dropped: Address | None = None
) -> YamlFile:
    expected = dict(file.leaves)
    for address in planned:
        for length in range(1, len(address)):
            expected_empty = expected.get(address[:length])
            if expected_empty is not None and expected_empty.value == "":
                del expected[address[:length]]
    if dropped is not None:
        expected.pop(dropped, None)
    return _verified_against(file, splice, expected, planned)


def _verified_against(
    file: YamlFile, splice: _Splice, expected: dict[Address, Leaf], planned: Mapping[Address, str]
) -> YamlFile:
    edited = parse(file.path, (file.text[: splice.start] + splice.text + file.text[splice.end :]).encode())
    actual = dict(edited.leaves)
    for address, wanted in planned.items():
        leaf = actual.pop(address, None)
        expected.pop(address, None)
        if leaf is None or leaf.value.strip() != wanted:
            raise UneditableError(file.path, f"{show(address)} cannot be set in place")
    if actual != expected:
        other = next(iter(sorted(map(show, dict(actual.items() ^ expected.items())))), "something else")
        raise UneditableError(
            file.path,
            f"an edit would change {other} too, through an anchor or a merge key",
            hint="write the value out where it belongs, by a reviewed change",
        )
    return edited


def _shifted(leaves: Mapping[Address, Leaf], sequence: Address, start: int) -> dict[Address, Leaf]:
    """Return the leaves with the items of `sequence` from `start` on moved one place down."""
    moved: dict[Address, Leaf] = {}
    depth = len(sequence)
    for address, leaf in leaves.items():
        step = address[depth] if len(address) > depth and address[:depth] == sequence else None
        if isinstance(step, int) and step >= start:
            moved[(*sequence, step + 1, *address[depth + 1 :])] = leaf
        else:
            moved[address] = leaf
    return moved


def _source(file: YamlFile, node: Any) -> str:
    return file.text[int(node.start_mark.index) : int(node.end_mark.index)]


def _last_end(node: Any) -> int:
    while not is_scalar(node) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return int(node.end_mark.index)


def _line_end(text: str, index: int) -> int:
    if index > 0 and text[index - 1] == "\n":
        index -= 1
    end = text.find("\n", index)
    end = len(text) if end < 0 else end
    return end - 1 if end > index and text[end - 1] == "\r" else end


def _line_prefix(text: str, index: int) -> str:
    return text[text.rfind("\n", 0, index) + 1 : index].lstrip("\ufeff")


def _starts_line(text: str, node: Any) -> bool:
    return not _line_prefix(text, int(node.start_mark.index)).strip()
