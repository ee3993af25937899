"""`torghutctl restore-replica`."""

from __future__ import annotations

from typing import Annotated

import typer

from torghutctl.commands.procedure_options import ProcedureOptions, shared_options
from torghutctl.commands.procedure_run import Acting, run_procedure
from torghutctl.procedures.restore_replica import SPEC, plan, verify


@shared_options(SPEC.help_text())
def command(
    options: ProcedureOptions,
    act: Annotated[bool, typer.Option("--act", help="run the statements now; for a person at a terminal")] = False,
) -> None:
    run_procedure(options, SPEC, plan, verify, {}, acting=Acting(act=act))
