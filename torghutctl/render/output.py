"""One way out for every report: table, markdown, JSON or YAML on standard output, redacted."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

from torghutctl.render.redaction import redact, redact_text
from torghutctl.render.streams import emit, is_unicode

if TYPE_CHECKING:
    from rich.console import RenderableType


class Format(StrEnum):
    """How a report is written."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"
    YAML = "yaml"


@dataclass(frozen=True)
class Columns:
    """Rows to be drawn as left-aligned columns, as wide as they are shown."""

    rows: Sequence[tuple[str, ...]]


def columns(rows: Sequence[tuple[str, ...]]) -> Columns:
    """Return rows as columns."""
    return Columns(rows)


View: TypeAlias = "str | Columns | Sequence[Columns | RenderableType]"
"""What a report looks like: a text as it stands, or parts below each other, drawn as wide as the terminal is."""
TableView = Callable[[Mapping[str, Any]], View]
"""Renders a report for people, on a terminal or off it."""
TextView = Callable[[Mapping[str, Any]], str]
"""Renders a report as markdown."""


def write(
    report: Mapping[str, Any],
    output: Format | None,
    *,
    table: TableView,
    markdown: TextView | None = None,
) -> bool:
    """Write `report` to standard output, as a table where no format is asked for; tell whether its reader is still there.

    Raises OutputError.
    """
    return emit(render(report, output or Format.TABLE, table=table, markdown=markdown, on=screen(os.environ)))


def render(
    report: Mapping[str, Any],
    output: Format,
    *,
    table: TableView,
    markdown: TextView | None = None,
    on: Screen | None = None,
) -> str:
    """Return the report as text that ends in a newline; `on` is where it is shown, no terminal without."""
    safe = redact(report)
    if output is Format.JSON:
        return json.dumps(safe, indent=2, ensure_ascii=not is_unicode()) + "\n"
    if output is Format.YAML:
        from ruamel.yaml import YAML

        yaml = YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        yaml.allow_unicode = is_unicode()
        yaml.width = 4096  # a command in a report stays on one line
        yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
        buffer = io.StringIO()
        yaml.dump(safe, buffer)
        return buffer.getvalue()
    view = markdown if output is Format.MARKDOWN and markdown is not None else table
    return redact_text(as_text(view(safe), on or Screen())).rstrip("\n") + "\n"


def as_text(view: View, on: Screen) -> str:
    """Return a view as it is shown there; whole lines where that is no terminal."""
    if isinstance(view, str):
        return view
    from torghutctl.render.terminal import drawn, grid

    parts = [view] if isinstance(view, Columns) else view
    shown = (grid(part.rows, on.width) if isinstance(part, Columns) else [part] for part in parts)
    return drawn(chain.from_iterable(shown), width=on.width, is_coloured=on.is_coloured)


@dataclass(frozen=True, kw_only=True)
class Screen:
    """What standard output can show: its width, None where it is no terminal, and colour."""

    width: int | None = None
    is_coloured: bool = False


def screen(environment: Mapping[str, str], stream: TextIO | None = None) -> Screen:
    """Return what a stream (standard output) can show. NO_COLOR, a dumb terminal and what is no terminal get no colour."""
    stream = stream or sys.stdout
    if stream is None or not stream.isatty():
        return Screen()
    is_plain = bool(environment.get("NO_COLOR")) or environment.get("TERM", "dumb") == "dumb"
    return Screen(width=shutil.get_terminal_size().columns, is_coloured=not is_plain)
