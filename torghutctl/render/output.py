"""One way out for every report: table, markdown, JSON or YAML on standard output, redacted."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TextIO

from torghutctl.render.redaction import redact, redact_text
from torghutctl.render.streams import emit, is_unicode


class Format(StrEnum):
    """How a report is written."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"
    YAML = "yaml"


TextView = Callable[[Mapping[str, Any]], str]
"""Renders a report as plain text or markdown."""


def write(
    report: Mapping[str, Any],
    output: Format | None,
    *,
    table: TextView,
    markdown: TextView | None = None,
) -> bool:
    """Write `report` to standard output, as a table where no format is asked for; tell whether its reader is still there.

    Raises OutputError.
    """
    return emit(render(report, output or Format.TABLE, table=table, markdown=markdown))


def render(report: Mapping[str, Any], output: Format, *, table: TextView, markdown: TextView | None = None) -> str:
    """Return the report as text that ends in a newline."""
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
    return redact_text(view(safe)).rstrip("\n") + "\n"


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


def columns(rows: Sequence[tuple[str, ...]], *, gap: int = 2) -> str:
    """Return rows as left-aligned columns, plain text, no trailing blanks."""
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    return "\n".join((" " * gap).join(cell.ljust(widths[i]) for i, cell in enumerate(row)).rstrip() for row in rows)
