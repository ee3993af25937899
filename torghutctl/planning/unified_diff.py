"""Unified diffs that `git apply` turns into the same bytes, CRLF and a missing final newline included."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable

_MAX_CONTEXT = 3


def unified_diff(path: str, before: bytes, after: bytes, *, is_showable: Callable[[str], bool] = lambda _: True) -> str:
    """Return the diff of one file, empty when nothing changed. Both contents must be UTF-8.

    The context is three lines, less where `is_showable` rejects what stands in them (a diff is shown to people), and
    one line at least, which `git apply` needs.
    """
    if before == after:
        return ""
    old, new = _lines(before), _lines(after)
    text = ""
    for context in range(_MAX_CONTEXT, 0, -1):
        text = _header(path) + "".join(_body(old, new, context))
        if is_showable(text):
            break
    return text


def _lines(data: bytes) -> list[str]:
    """Return lines with their ends; only a line feed ends a line, as in git."""
    text = data.decode("utf-8")
    parts = text.split("\n")
    lines = [part + "\n" for part in parts[:-1]]
    return [*lines, parts[-1]] if parts[-1] else lines


def _header(path: str) -> str:
    old, new = _name(f"a/{path}"), _name(f"b/{path}")
    tab = "\t" if " " in path and not old.startswith('"') else ""
    return f"diff --git {old} {new}\n--- {old}{tab}\n+++ {new}{tab}\n"


def _name(path: str) -> str:
    is_plain = path.isascii() and path.isprintable() and '"' not in path and "\\" not in path
    if is_plain:
        return path
    octal = "".join(chr(b) if 32 <= b < 127 else f"\\{b:03o}" for b in path.replace("\\", "\\\\").encode())
    return '"' + octal.replace('"', '\\"') + '"' if path.isprintable() else json.dumps(path)


def _body(old: list[str], new: list[str], context: int) -> list[str]:
    out: list[str] = []
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(context):
        first, last = group[0], group[-1]
        out.append(f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@\n")
        for kind, i1, i2, j1, j2 in group:
            if kind == "equal":
                out.extend(_line(" ", line) for line in old[i1:i2])
                continue
            out.extend(_line("-", line) for line in old[i1:i2])
            out.extend(_line("+", line) for line in new[j1:j2])
    return out


def _range(start: int, stop: int) -> str:
    length = stop - start
    return f"{start + 1 if length else start},{length}"


def _line(mark: str, line: str) -> str:
    return mark + line if line.endswith("\n") else f"{mark}{line}\n\\ No newline at end of file\n"
