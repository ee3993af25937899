"""`torghutctl top`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torghutctl.commands.option_group import one_of, with_options
from torghutctl.commands.target_options import Choice, TargetOptions
from torghutctl.render.output import Format, write

if TYPE_CHECKING:
    from rich.live import Live

    from torghutctl.snapshot.model import Snapshot

_DESK_SECONDS = 3.0


@with_options(TargetOptions)
def command(
    *,
    options: TargetOptions,
    interval: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="seconds between two readings")] = 5.0,
    output: Annotated[
        Format | None, typer.Option("-o", "--output", metavar=one_of(Format), help="how one frame is written")
    ] = None,
) -> None:
    """Show the live state in a terminal: verdict, cause, components, symbols with the age of their newest rows, switches.

    Of a system on this machine (--local) positions and the last decisions too. Read again every few seconds.

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
        from rich.console import Console
        from rich.live import Live

        with Live(console=Console(), screen=True, auto_refresh=False) as live:
            draw = partial(_draw, live)
            report = redraw(report, lambda: _read(choice), pause=lambda: time.sleep(interval), draw=draw)
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


def _draw(live: Live, report: dict[str, Any], trouble: str) -> None:
    from torghutctl.render.redaction import redact_text
    from torghutctl.render.terminal import literal
    from torghutctl.render.top_view import frame

    size = live.console.size
    head = f"{trouble[: size.width]}\n" if trouble else ""
    text = frame(report, width=size.width, height=size.height - 1 - bool(trouble))
    live.update(literal(redact_text(head + text)), refresh=True)


def _read(choice: Choice) -> dict[str, Any]:
    from torghutctl.health.effective_state import show
    from torghutctl.health.report import judge
    from torghutctl.snapshot import local, reader, trading_desk

    snapshot = reader.read(choice.target, at_ns=choice.at_ns)
    folder = choice.target.local
    now_ns = snapshot.observed_at_ns if choice.at_ns is None else choice.at_ns
    return {
        "schemaVersion": "torghut.top/v1",
        "health": judge(snapshot, choice.operator(), at_ns=choice.at_ns),
        "trading": show(snapshot),
        "symbols": _symbols(snapshot, now_ns),
        "desk": None if folder is None else trading_desk.read(local.open_folder(folder), deadline_s=_DESK_SECONDS),
    }


def _symbols(snapshot: Snapshot, now_ns: int) -> list[dict[str, Any]]:
    """Return each symbol with the age of its newest bar and signal, in seconds, by name."""
    from torghutctl.snapshot.facts import Facts

    def age(event_ns: int | None) -> float | None:
        return None if event_ns is None else round(max(0, now_ns - event_ns) / 1e9, 3)

    return [
        {"symbol": row.symbol, "barAgeSeconds": age(row.bars_ns), "signalAgeSeconds": age(row.signals_ns)}
        for row in sorted(Facts(snapshot).latest(), key=lambda row: row.symbol)
    ]
