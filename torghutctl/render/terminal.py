"""Drawing with rich, to text: wrapped and coloured for a terminal, whole lines and no colour for everything else."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_BLANKS = re.compile(r"\s+((?:\x1b\[[0-9;]*m)*)$")
"""Blanks at a line's end, before what ends its colour."""
_UNBOUNDED = 100_000
"""Columns of what is no terminal: a log keeps one line per thing."""
_GAP = 2
_NARROWEST = 20
"""Characters below which no column is worth wrapping."""


def literal(text: str, style: str = "") -> Text:
    """Return a line that is never wrapped nor cut, so that it can be pasted."""
    return Text(text, style=style, no_wrap=True, overflow="ignore")


def grid(rows: Sequence[Sequence[str]], width: int | None) -> list[RenderableType]:
    """Return rows as left-aligned columns.

    On a terminal of `width` columns that is too narrow the widest column wraps between its words; where it has no room
    for that, each row's last cell goes below it. No name is broken as long as anything else helps.
    """
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows), default=0))]
    excess = sum(widths) + _GAP * (len(widths) - 1) - (width or _UNBOUNDED)
    if excess <= 0 or len(widths) < 2:
        return [_table(rows, widths)]
    if excess <= len(widths) - 1:
        return [_table(rows, widths, gap=1)]
    widest = widths.index(max(widths))
    longest_word = max(len(word) for row in rows if widest < len(row) for word in [*row[widest].split(), ""])
    room = widths[widest] - excess
    if room >= max(_NARROWEST, longest_word):
        return [_table(rows, [*widths[:widest], room, *widths[widest + 1 :]])]
    parts: list[RenderableType] = []
    for row in rows:
        head, below = (row[:-1], row[-1]) if len(row) == len(widths) else (row, "")
        parts.append(_table([head], widths[:-1]))
        if below:
            parts.append(Padding(Text(below), (0, 0, 0, 4)))
    return parts


def _table(rows: Sequence[Sequence[str]], widths: Sequence[int], gap: int = _GAP) -> Table:
    made = Table.grid(padding=(0, gap, 0, 0))
    for size in widths:
        made.add_column(width=size, overflow="fold")
    for row in rows:
        made.add_row(*map(Text, row))
    return made


def drawn(parts: Iterable[RenderableType], *, width: int | None, is_coloured: bool) -> str:
    """Return the parts below each other; a literal line keeps its blanks, nothing else ends in any."""
    console = Console(
        file=io.StringIO(),
        width=width or _UNBOUNDED,
        force_terminal=is_coloured,
        color_system="standard" if is_coloured else None,
        no_color=not is_coloured,
        markup=False,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )
    text = ""
    for part in parts:
        is_literal = isinstance(part, Text) and part.overflow == "ignore"
        with console.capture() as capture:
            console.print(part, crop=not is_literal, soft_wrap=is_literal)
        drawn_part = capture.get()
        text += drawn_part if is_literal else "".join(_trimmed(line) for line in drawn_part.splitlines())
    return text.rstrip("\n")


def _trimmed(line: str) -> str:
    return _BLANKS.sub(r"\1", line) + "\n"
