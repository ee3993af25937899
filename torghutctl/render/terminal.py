"""Drawing with rich, to text: wrapped and coloured for a terminal, whole lines and no colour for everything else."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.text import Text

_BLANKS = re.compile(r"\s+((?:\x1b\[[0-9;]*m)*)$")
"""Blanks at a line's end, before what ends its colour."""
_UNBOUNDED = 100_000
"""Columns of what is no terminal: a log keeps one line per thing."""


def literal(text: str, style: str = "") -> Text:
    """Return a line that is never wrapped nor cut, so that it can be pasted."""
    return Text(text, style=style, no_wrap=True, overflow="ignore")


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
