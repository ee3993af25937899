"""`torghutctl demo`: the whole system on a simulated market, with faults and an operator's walk through them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    *,
    folder: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="folder of the demo; emptied at the start")
    ] = Path(".demo"),
    replay: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="file of Alpaca messages (NDJSON, plain, gzip or zstd) instead of a made market"
        ),
    ] = None,
    speed: Annotated[float, typer.Option(metavar="FACTOR", help="simulated seconds per second")] = 5.0,
    seed: Annotated[int, typer.Option(metavar="N", help="the same seed makes the same market")] = 7,
    port: Annotated[
        int, typer.Option(metavar="PORT", help="port of the page; 0 lets the machine choose", min=0, max=65535)
    ] = 0,
    keep: Annotated[bool, typer.Option("--keep", help="stay up afterwards and print the page's address")] = False,
) -> None:
    """Show the whole system at work on this machine, without an account.

    Starts every service on a simulated market, checks that rows, signals, decisions and orders appear, breaks the
    forwarder's connection as production saw it break, lets the health report find the cause, shows the next
    procedure's plan, opens a pull request that pauses trading on a local forge, and checks each step.

    The market calendar is set to always open, so it works at any hour; with --replay the recorded day's own calendar
    holds. Exit code 0 when every check passed, 8 when one did not.
    """
    from torghutctl.onemachine.launch import demo

    demo(
        folder,
        replay=replay,
        speed=speed,
        seed=seed,
        port=port,
        keep=keep,
        say=lambda text: typer.echo(text, err=True),
        show=typer.echo,
    )
