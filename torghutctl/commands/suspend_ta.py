"""`torghutctl suspend-ta`."""

from __future__ import annotations

from torghutctl.commands.option_group import with_options
from torghutctl.commands.procedure_options import ProcedureOptions
from torghutctl.commands.procedure_run import run_procedure
from torghutctl.procedures.suspend_ta import SPEC, plan, verify


@with_options(ProcedureOptions, SPEC.help_text())
def command(options: ProcedureOptions) -> None:
    run_procedure(options, SPEC, plan, verify, {})
