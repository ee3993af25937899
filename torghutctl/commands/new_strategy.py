"""`torghutctl trading new-strategy`: a package to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def new_strategy(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case words parted by hyphens.")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Where it goes; must not exist. Default: ./NAME.")
    ] = None,
) -> None:
    """Write the package of a new strategy: an entry point, the rule, a test that runs, a catalogue that trades it.

    When: you want to trade a rule of your own without a fork.

    Does: writes five files into a new folder, and says what to do next. Nothing is installed, nothing trades.

    Example: torghutctl trading new-strategy vwap-cross

    Undo: remove the folder.
    """
    import shlex
    import sys

    from torghutctl.effects.strategy_package import write_package

    target = Path(name) if folder is None else folder
    for path in write_package(name, target):
        typer.echo(str(path))
    python, at, extra = (shlex.quote(word) for word in (sys.executable, str(target), f"{target}[test]"))
    catalogue = shlex.quote(str(target / "catalogue.yaml"))
    typer.echo(
        f"""
Next:
  {python} -m pip install -e {extra}   # makes it known to Torghut; brings pytest
  {python} -m pytest {at}   # its decision table
  torghutctl trading backtest FILE --catalogue {catalogue} --report report
  TRADING_STRATEGY_CONFIG_PATH={catalogue} torghutctl up   # on paper""",
        err=True,
    )
