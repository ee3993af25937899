"""`torghutctl suspend-ta`."""

from __future__ import annotations

from typing import Annotated

import typer

from torghutctl.commands.option_group import with_options
from torghutctl.commands.procedure_options import ProcedureOptions
from torghutctl.commands.procedure_run import run_procedure
from torghutctl.procedures.suspend_ta import SPEC, plan, verify


@with_options(ProcedureOptions, SPEC.help_text())
def command(
    *,
    options: ProcedureOptions,
    every: Annotated[
        bool, typer.Option("--all", help="suspend each FlinkDeployment under the gitops path, not this one alone")
    ] = False,
) -> None:
    arguments = {"all": "true"} if every else {}
    run_procedure(
        options, SPEC, lambda given: plan(given, every=every), verify, arguments, words=["--all"] if every else []
    )
