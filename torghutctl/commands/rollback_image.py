"""`torghutctl rollback-image`."""

from __future__ import annotations

from typing import Annotated

import typer

from torghutctl.commands.option_group import with_options
from torghutctl.commands.procedure_options import ProcedureOptions
from torghutctl.commands.procedure_run import list_releases, run_procedure
from torghutctl.procedures.rollback_image import SPEC, plan, verify


@with_options(ProcedureOptions, SPEC.help_text())
def command(
    options: ProcedureOptions,
    to: Annotated[str | None, typer.Option(metavar="DIGEST", help="digest to go back to, or how it begins")] = None,
    show_list: Annotated[bool, typer.Option("--list", help="show the last images and change nothing")] = False,
) -> None:
    if show_list:
        list_releases(options)
        return
    run_procedure(
        options, SPEC, lambda given: plan(given, to=to), verify, {"to": to or ""}, words=["--to", to] if to else []
    )
