"""`torghutctl restart-ws`."""

from __future__ import annotations

from torghutctl.commands.procedure_options import ProcedureOptions, run_procedure, shared_options
from torghutctl.procedures.restart_ws import SPEC, plan


@shared_options(SPEC.help_text())
def command(options: ProcedureOptions) -> None:
    run_procedure(options, SPEC, plan, {})
