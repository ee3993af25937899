"""`torghutctl resume-ta`."""

from __future__ import annotations

from typing import Annotated

import typer

from torghutctl.commands.option_group import with_options
from torghutctl.commands.procedure_options import ProcedureOptions
from torghutctl.commands.procedure_run import run_procedure
from torghutctl.procedures.resume_ta import SPEC, plan, verify


@with_options(ProcedureOptions, SPEC.help_text())
def command(
    options: ProcedureOptions,
    restart: Annotated[bool, typer.Option("--restart", help="raise the restart nonce too")] = False,
) -> None:
    run_procedure(
        options,
        SPEC,
        lambda given: plan(given, restart=restart),
        verify,
        {"restart": str(restart).lower()},
        words=["--restart"] if restart else [],
    )
