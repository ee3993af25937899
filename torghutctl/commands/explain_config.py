"""`torghutctl explain-config ws|ta|trading|visuals|guardrails [VARIABLE...]`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from torghutctl.commands import suggestions
from torghutctl.commands.option_group import one_of
from torghutctl.errors import ConfigurationError, InputError
from torghutctl.render.output import Format, View, columns, write

RUNTIMES: Mapping[str, tuple[str, str]] = {
    "ws": ("torghut_core.ingest.settings", "IngestSettings"),
    "ta": ("torghut_core.ta.settings", "TaSettings"),
    "trading": ("torghut_core.trading.settings", "TradingSettings"),
    "visuals": ("torghut_core.visuals.settings", "VisualsSettings"),
    "guardrails": ("torghut_core.visuals.settings", "GuardrailsSettings"),
}
"""Module and name of each runtime's settings class."""


def settings_class(runtime: str) -> Any:
    """Return a runtime's settings class. Raises InputError for an unknown runtime."""
    if runtime not in RUNTIMES:
        raise InputError(f"RUNTIME {runtime}: is no runtime", hint=f"one of {', '.join(RUNTIMES)}")
    module, name = RUNTIMES[runtime]
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"{error.name} is not installed", hint="pip install 'torghut[runtime]'") from error


def command(
    runtime: Annotated[
        str,
        typer.Argument(
            metavar="RUNTIME",
            help="ws, ta, trading, visuals or guardrails",
            autocompletion=suggestions.runtimes,
        ),
    ],
    variables: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VARIABLE", help="only these, with what each means", autocompletion=suggestions.variables
        ),
    ] = None,
    given: Annotated[bool, typer.Option("--set", help="only what the environment sets")] = False,
    output: Annotated[
        Format | None, typer.Option("-o", "--output", metavar=one_of(Format), help="how it is written")
    ] = None,
) -> None:
    """Show a runtime's effective settings with their source, and name variables of its families that it does not know.

    Reads this process's environment as the runtime would, starts nothing. Secrets are only said to be set. A value that
    breaks its rule ends with 2 and names variable, value and rule.

    \b
    TRADING_KILLSWITCH_ENABLED=true torghutctl explain-config trading --set
    torghutctl explain-config ta TA_LATE_TRADES TA_ODD_LOTS
    """
    model = settings_class(runtime)  # which says what is not installed

    from torghut_core.settings import explain, told_unknown

    environment = dict(os.environ)
    rows = explain(model, environment)
    if variables:
        rows = _asked_for(rows, runtime, model, variables)
    rows = [row for row in rows if not given or row["source"] == "environment"]
    report: dict[str, Any] = {
        "schemaVersion": "torghut.config/v1",
        "runtime": runtime,
        "settings": rows,
        "unknown": told_unknown(model, environment),
    }
    if runtime == "trading":
        report |= _of_trading(environment)
    write(report, output, table=lambda shown: _table(shown, has_meanings=bool(variables)))


def _asked_for(
    rows: Sequence[dict[str, Any]], runtime: str, model: Any, variables: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the rows of these variables, by any spelling, as asked, each once. Raises InputError for one that is not read."""
    from torghut_core.settings import nearest_variable, variable_names

    row_of = {row["variable"]: row for row in rows}
    spellings: dict[str, tuple[str, ...]] = {}
    for name, field in model.model_fields.items():
        names = variable_names(field, name)
        spellings |= dict.fromkeys(names, names)
    found: dict[str, dict[str, Any]] = {}
    for variable in variables:
        if variable not in spellings:
            near = nearest_variable(model, variable)
            raise InputError(
                f"VARIABLE {variable}: is not read by {runtime}",
                hint=f"is {near} meant?" if near else f"torghutctl explain-config {runtime} lists what is",
            )
        found |= {name: row_of[name] for name in spellings[variable] if name in row_of}
    return list(found.values())


def _of_trading(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what only trading has: derived values, contradictions that would stop a start, the AI review's policy."""
    from torghut_core.trading.explanation import explain as explain_trading

    found = explain_trading(environment)
    return {key: found[key] for key in ("derived", "contradictions", "policyResolution")}


def _table(report: Mapping[str, Any], *, has_meanings: bool) -> View:
    rows = [
        (row["variable"], "" if row["value"] is None else str(row["value"]), row["source"])
        for row in report["settings"]
    ]
    return [
        columns([("variable", "value", "source"), *rows]),
        *(f"{row['variable']}: {row['means'].replace('`', '')}" for row in report["settings"] if has_meanings),
        *(f"unknown: {sentence}" for sentence in report["unknown"]),
        *(f"contradiction: {sentence}" for sentence in report.get("contradictions", ())),
    ]
