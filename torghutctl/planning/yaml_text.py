"""How a scalar is written: in the style of the text it replaces, or of its neighbours."""

from __future__ import annotations

import json
import re

_PLAIN = re.compile(r"[A-Za-z0-9_./+@-](?:[A-Za-z0-9_./+@:-]*[A-Za-z0-9_./+@-])?")

_NOT_A_STRING = re.compile(r"true|false|yes|no|on|off|y|n|null|~|[-+.\d].*|", re.I)
"""Plain text that some YAML reader takes for a boolean, null, a number or a time."""


def render_like(source: str, old: str, wanted: str) -> str:
    """Return `wanted` in the style of `source`: double or single quotes, block scalar, or plain.

    A block scalar keeps its header, its indentation and its line ends; only its text changes.
    """
    if source[:1] in ("|", ">"):
        header, separator, body = source.partition("\n")
        if len(old.split()) == 1 and old.strip() in body:
            return header + separator + body.replace(old.strip(), wanted, 1)
        return quote_like('""', wanted)
    return quote_like(source, wanted)


def quote_like(source: str, wanted: str) -> str:
    """Return `wanted` quoted as `source` is; plain where that is safe and `source` is plain."""
    if source.startswith("'"):
        return "'" + wanted.replace("'", "''") + "'"
    if source.startswith('"') or _PLAIN.fullmatch(wanted) is None:
        return json.dumps(wanted, ensure_ascii=False)
    return wanted


def insert_like(neighbour: str, wanted: str) -> str:
    """Return a new string value quoted as its neighbour, and in double quotes where plain text would not stay a string."""
    if neighbour[:1] not in ("'", '"') and _NOT_A_STRING.fullmatch(wanted):
        return json.dumps(wanted)
    return quote_like(neighbour, wanted)


def block_lines(keys: list[str], value: str, column: int, step: int) -> list[str]:
    """Return the lines of nested block mappings `keys[0]: keys[1]: … value`, indented by `step` from `column` on."""
    lines = [" " * (column + step * depth) + f"{key}:" for depth, key in enumerate(keys)]
    lines[-1] += f" {value}"
    return lines


def flow_entry(entry: list[tuple[str, str]], *, quoted_keys: bool) -> str:
    """Return `{key: value, …}`, keys in double quotes when the neighbours' are, as JSON needs them."""
    shown = ((json.dumps(key) if quoted_keys else key, value) for key, value in entry)
    return "{" + ", ".join(f"{key}: {value}" for key, value in shown) + "}"
