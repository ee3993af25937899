"""`torghutctl resume-trading`."""

from __future__ import annotations

from torghutctl.commands.procedure_options import ProcedureOptions, run_procedure, shared_options
from torghutctl.procedures.resume_trading import SPEC, plan


@shared_options(SPEC.help_text())
def command(options: ProcedureOptions) -> None:
    run_procedure(options, SPEC, plan, {})
