"""`torghutctl pause-trading`."""

from __future__ import annotations

from typing import Annotated

import typer

from torghutctl.commands.option_group import with_options
from torghutctl.commands.procedure_options import ProcedureOptions
from torghutctl.commands.procedure_run import run_procedure
from torghutctl.procedures.pause_trading import SPEC, plan, verify


@with_options(ProcedureOptions, SPEC.help_text())
def command(
    options: ProcedureOptions,
    cancel_orders: Annotated[
        bool, typer.Option("--cancel-orders", help="turn the kill switch on, which cancels open orders")
    ] = False,
) -> None:
    run_procedure(
        options,
        SPEC,
        lambda given: plan(given, cancel_orders=cancel_orders),
        verify,
        {"cancelOrders": str(cancel_orders).lower()},
        words=["--cancel-orders"] if cancel_orders else [],
    )
