"""`torghutctl top`."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from torghutctl.commands.option_group import with_options
from torghutctl.commands.target_options import Choice, TargetOptions
from torghutctl.render.output import Format, write

_CLEAR = "\x1b[H\x1b[2J"


@with_options(TargetOptions)
def command(
    *,
    options: TargetOptions,
    interval: Annotated[float, typer.Option(min=1, metavar="S", help="seconds between two readings")] = 5.0,
    output: Annotated[Format | None, typer.Option("-o", "--output", help="how one frame is written")] = None,
) -> None:
    """Show the live state in a terminal: verdict, cause, components and what trading does, read again every few seconds.

    Ctrl-C ends it. Off a terminal, from a bundle, and with -o it writes one frame. The exit code is health-report's.

    \b
    torghutctl top -e staging
    torghutctl top --local .demo --interval 2
    """
    choice = options.choose()
    from torghutctl.health.report import EXIT_CODES
    from torghutctl.render.top_view import frame

    report = _read(choice)
    if output is not None or options.from_snapshot is not None or not sys.stdout.isatty():
        write(report, output, table=frame)
    else:
        report = redraw(report, lambda: _read(choice), pause=lambda: time.sleep(interval), draw=_draw)
    raise typer.Exit(int(EXIT_CODES[report["health"]["classification"]]))


def redraw(
    report: dict[str, Any],
    again: Callable[[], dict[str, Any]],
    *,
    pause: Callable[[], None],
    draw: Callable[[dict[str, Any], str], None],
) -> dict[str, Any]:
    """Draw report after report until interrupted; return the last one.

    A target that cannot be read for a while leaves the last frame, with the reason above it.
    """
    from torghutctl.errors import TorghutError

    trouble = ""
    try:
        while True:
            draw(report, trouble)
            pause()
            try:
                report, trouble = again(), ""
            except TorghutError as error:
                trouble = f"not read this time: {error}"
    except KeyboardInterrupt:
        return report


def _draw(report: dict[str, Any], trouble: str) -> None:
    from torghutctl.render.redaction import redact_text
    from torghutctl.render.top_view import frame

    size = shutil.get_terminal_size()
    head = redact_text(trouble)[: size.columns] + "\n" if trouble else ""
    text = frame(report, width=size.columns, height=size.lines - 1 - bool(trouble))
    sys.stdout.write(_CLEAR + head + redact_text(text) + "\n")
    sys.stdout.flush()


def _read(choice: Choice) -> dict[str, Any]:
    from torghutctl.health.effective_state import show
    from torghutctl.health.report import judge
    from torghutctl.snapshot import reader

    snapshot = reader.read(choice.target, at_ns=choice.at_ns)
    return {
        "schemaVersion": "torghut.top/v1",
        "health": judge(snapshot, choice.operator(), at_ns=choice.at_ns),
        "trading": show(snapshot),
    }
