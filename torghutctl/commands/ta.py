"""`torghutctl ta replay-file IN DIR`: bars and signals of a recording, without any service."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from torghut_core.ta.files import FileReport

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Technical analysis from a file: the engine of `run ta`, without Kafka and ClickHouse.",
)


class FileFormat(StrEnum):
    """How the rows are written."""

    NDJSON = "ndjson"
    PARQUET = "parquet"


class LateTrades(StrEnum):
    """What becomes of a trade whose second had closed before it came."""

    DROP = "drop"
    REVISE = "revise"


@app.callback()
def ta() -> None:
    """Keep `replay-file` a sub-command."""


@app.command("replay-file")
def replay_file(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Alpaca messages or envelopes, one JSON a line; plain, gzip or zstd.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the two files go; made when missing.")],
    *,
    file_format: Annotated[
        FileFormat, typer.Option("--format", help="ndjson (times RFC 3339) or parquet.")
    ] = FileFormat.NDJSON,
    max_out_of_order_ms: Annotated[
        int,
        typer.Option(
            min=0, max=600_000, help="How far behind the newest trade one may come and still count, in milliseconds."
        ),
    ] = 2000,
    late_trades: Annotated[
        LateTrades, typer.Option(help="drop: count a late trade and leave it out; revise: correct its bar.")
    ] = LateTrades.DROP,
    quote_stale_after_ms: Annotated[
        int, typer.Option(min=0, help="Age at which a quote no longer stands beside a bar, in milliseconds.")
    ] = 15_000,
) -> None:
    """Compute one-second bars and signals of a recording.

    Writes DIR/ta_microbars.ndjson and DIR/ta_signals.ndjson, one row per bar, keys as in the ClickHouse tables. The file
    is one partition: its end closes every window. Records that cannot be used are counted by reason on standard error,
    and nothing stops for them. The files appear when they are complete; a truncated archive leaves none.

    Example: torghutctl ta replay-file day.ndjson.gz out/
    """
    from torghutctl.errors import ConfigurationError

    try:
        import time

        from torghut_core.ta.engine import EngineSettings
        from torghut_core.ta.files import replay_file as replay
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"{error.name} is not installed", hint="pip install 'torghut[runtime]'") from error
    settings = EngineSettings(
        max_out_of_order_ms=max_out_of_order_ms,
        quote_stale_after_ms=quote_stale_after_ms,
        revises_late_trades=late_trades is LateTrades.REVISE,
    )
    with ExitStack() as stack:
        report = replay(
            source,
            folder,
            settings=settings,
            file_format=file_format.value,
            now_ns=time.time_ns(),
            progress=_progress_bar(stack, source.name),
        )
    _tell(report)


def _progress_bar(stack: ExitStack, name: str) -> Callable[[int, int], None]:
    """Return what draws progress on standard error, when that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bar = stack.enter_context(
        Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
    )
    task = bar.add_task(name, total=None)

    def show(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)

    return show


def _tell(report: FileReport) -> None:
    bars, signals = report.rows.values()
    typer.echo(f"{report.events} events in, {bars} bars and {signals} signals written", err=True)
    if report.late_trades:
        typer.echo(f"{report.late_trades} late trades", err=True)
    for reason, count in sorted(report.rejected.items()):
        typer.echo(f"{count} records not used: {reason}", err=True)
