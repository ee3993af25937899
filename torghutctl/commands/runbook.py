"""`torghutctl runbook`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from torghutctl.assets import folder
from torghutctl.commands import suggestions
from torghutctl.commands.option_group import one_of
from torghutctl.errors import InputError
from torghutctl.render.output import Format, View, columns, screen, write


def command(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="a runbook; without it the list", autocompletion=suggestions.runbooks),
    ] = None,
    output: Annotated[
        Format | None, typer.Option("-o", "--output", metavar=one_of(Format), help="how it is written")
    ] = None,
) -> None:
    """Show a runbook, or the list of them.

    What the health report names can be opened by that name: a procedure's, or one of a family of failures. A path or a
    file's name, as the report links it, is taken too.

    \b
    torghutctl runbook                    the list
    torghutctl runbook kafka-recovery     one of them
    """
    books = {path.stem: path for path in sorted(folder("runbooks").glob("*.md"))}
    if name is None:
        rows = [{"name": stem, "title": _title(path)} for stem, path in books.items()]
        write({"schemaVersion": "torghut.runbooks/v1", "runbooks": rows}, output, table=_list)
        return
    wanted = Path(name).name.removesuffix(".md")
    if wanted not in books:
        raise InputError(f"NAME {name}: is no runbook", hint=f"one of {', '.join(books)}")
    text = books[wanted].read_text(encoding="utf-8")
    report = {"schemaVersion": "torghut.runbook/v1", "name": wanted, "text": text}
    write(report, output, table=_book)


def _book(report: Mapping[str, Any]) -> View:
    """Return the runbook as it is written; a terminal has it wrapped."""
    text = str(report["text"])
    if screen(os.environ).width is None:
        return text
    from torghutctl.render.book_view import book

    return book(text)


def _title(path: Path) -> str:
    return path.read_text(encoding="utf-8").lstrip("# ").splitlines()[0]


def _list(report: Mapping[str, Any]) -> View:
    return columns([(row["name"], row["title"]) for row in report["runbooks"]])
