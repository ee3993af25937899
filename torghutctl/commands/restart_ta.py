"""`torghutctl restart-ta`."""

from __future__ import annotations

from torghutctl.commands.procedure_options import ProcedureOptions, shared_options
from torghutctl.commands.procedure_run import run_procedure
from torghutctl.procedures.restart_ta import SPEC, plan, verify


@shared_options(SPEC.help_text())
def command(options: ProcedureOptions) -> None:
    run_procedure(options, SPEC, plan, verify, {})
