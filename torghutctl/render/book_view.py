"""A runbook on a terminal: sentences wrapped, tables in columns, and what is to be pasted left as it is. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from torghutctl.render.terminal import literal

_FENCE = "```"
_NAME = 28
"""Characters up to which a table's column keeps to one line."""
_ITEM = re.compile(r"(\s*)([-*]|\d+\.) +")
_LINK = re.compile(r"\[([^\]]+)\]\((?:[^)]*/)?([\w-]+)\.md\)")


def book(text: str) -> list[RenderableType]:
    """Return the parts of a runbook's markdown; a link to another one names it as the command does."""
    return [part for block in _blocks(text) for part in _drawn(block)]


def _blocks(text: str) -> Iterator[list[str]]:
    """Yield code blocks, tables, items, paragraphs and the empty lines between, as their lines."""
    block: list[str] = []
    is_code = False
    for line in text.splitlines():
        is_fence = line.strip().startswith(_FENCE)
        begins = is_fence or not line.strip() or line.startswith("#") or _ITEM.match(line) is not None
        is_other = bool(block) and line.startswith("|") != block[-1].startswith("|")
        if block and not is_code and (begins or is_other or not block[-1].strip() or block[-1].startswith("#")):
            yield block
            block = []
        block.append(line)
        if is_fence and is_code:
            yield block
            block = []
        is_code = is_code != is_fence
    if block:
        yield block


def _drawn(block: list[str]) -> Iterator[RenderableType]:
    first = block[0]
    if first.strip().startswith(_FENCE):
        yield from (literal(line) for line in block[1:-1])
    elif first.startswith("#"):
        yield Text(first.lstrip("# "), style="bold")
    elif first.startswith("|"):
        yield _table([[_plain(cell.strip()) for cell in line.strip("| ").split(" | ")] for line in block])
    else:
        found = _ITEM.match(first)
        sign = found.group().rstrip() if found else ""
        indent = len(found.group()) if found else len(first) - len(first.lstrip())
        words = " ".join(line.strip() for line in [first[len(sign) :], *block[1:]])
        yield from _hanging(sign, indent, _plain(words))


def _hanging(sign: str, indent: int, words: str) -> Iterator[RenderableType]:
    if not sign:
        yield Padding(Text(words), (0, 0, 0, indent))
        return
    made = Table.grid(padding=0)
    made.add_column(width=indent, no_wrap=True)
    made.add_column(overflow="fold")
    made.add_row(Text(sign), Text(words))
    yield made


def _table(rows: list[list[str]]) -> Table:
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold", show_header=True)
    for index, heading in enumerate(rows[0]):
        longest = max(len(row[index]) for row in rows if index < len(row))
        made.add_column(heading, overflow="fold", no_wrap=longest <= _NAME)
    for is_rule, body in groupby(rows[1:], key=lambda row: set("".join(row)) <= set("|-: ")):
        if not is_rule:
            for row in body:
                made.add_row(*map(Text, row))
                made.add_row()
    return made


def _plain(words: str) -> str:
    return _LINK.sub(
        lambda found: f"{found[1]} (runbook)" if found[1] == found[2] else f"{found[1]} (runbook {found[2]})", words
    )
