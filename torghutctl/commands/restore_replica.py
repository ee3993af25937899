"""`torghutctl restore-replica`."""

from __future__ import annotations

from typing import Annotated

import typer

from torghutctl.commands.option_group import with_options
from torghutctl.commands.procedure_options import ProcedureOptions
from torghutctl.commands.procedure_request import Acting
from torghutctl.commands.procedure_run import run_procedure
from torghutctl.procedures.restore_replica import SPEC, plan, verify


@with_options(ProcedureOptions, SPEC.help_text())
def command(
    options: ProcedureOptions,
    act: Annotated[bool, typer.Option("--act", help="run the statements now; for a person at a terminal")] = False,
) -> None:
    run_procedure(options, SPEC, plan, verify, {}, acting=Acting(act=act))
