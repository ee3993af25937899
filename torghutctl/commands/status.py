"""`torghutctl status`."""

from __future__ import annotations

from typing import Annotated

import typer

from torghutctl.commands.option_group import one_of, with_options
from torghutctl.commands.target_options import TargetOptions
from torghutctl.render.output import Format, write
from torghutctl.render.streams import tell


@with_options(TargetOptions)
def command(
    *,
    options: TargetOptions,
    output: Annotated[
        Format | None, typer.Option("-o", "--output", metavar=one_of(Format), help="how to write it")
    ] = None,
) -> None:
    """Show the effective state of trading: git, Argo CD, live spec, newest revision and /trading/status, side by side.

    Merged is not applied and applied is not effective: this tells where a change stands. Git's column needs --repo, or
    an environment with a repository.

    Every running pod counts: an older revision that still trades is a difference, and is what "trades" says.

    Exit code: 0 everything agrees, 3 something differs, 5 the service did not say what it does, or a column could not
    be read, 2 wrong usage.

    \b
    torghutctl status -e staging
    torghutctl status --local .demo -o json
    """
    choice = options.choose()
    from torghutctl.health.effective_state import EXIT_CODES, show
    from torghutctl.render import status_view
    from torghutctl.snapshot import bundle, reader

    snapshot = reader.read(choice.target, at_ns=choice.at_ns, tell=tell)
    with bundle.blamed(choice.target.bundle):
        report = show(snapshot)
    write(report, output, table=status_view.table, markdown=status_view.markdown)
    raise typer.Exit(int(EXIT_CODES[report["agreement"]]))
