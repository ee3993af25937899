"""`torghutctl up`: the whole system on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    folder: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="folder of engines, checkpoints and logs")
    ] = Path(".torghut"),
    port: Annotated[int, typer.Option(metavar="PORT", help="port of the page", min=0, max=65535)] = 8090,
) -> None:
    """Run the whole system on this machine in one process, with embedded engines, on a paper account.

    Needs: APCA_API_KEY_ID and APCA_API_SECRET_KEY of an Alpaca paper account in the environment.
    SYMBOLS (comma-separated) is the first universe; the page's API changes it later.

    Stop it with Ctrl-C; what was received is kept, and the next start goes on from there.
    Look at it with `torghutctl health-report --local DIR`.
    """
    import os

    from torghutctl.onemachine.launch import up

    up(folder, port, os.environ, lambda text: typer.echo(text, err=True))
