"""`torghutctl trading`: what the trading runtime would do with an environment."""

from __future__ import annotations

from typing import Annotated

import typer

from torghutctl.render.output import Format

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look at the trading runtime's configuration. Reads only.",
)


@app.callback()
def trading() -> None:
    """Look at the trading runtime's configuration. Reads only."""


@app.command("explain-config")
def explain_config(
    output: Annotated[Format | None, typer.Option("-o", "--output", help="How to write the report.")] = None,
    only_set: Annotated[bool, typer.Option("--set", help="Show only what the environment sets.")] = False,
) -> None:
    """Show each effective setting of `run trading` with its source, and what would stop it from starting.

    Reads the environment of this shell, exactly as the runtime would at its start; secrets are only said to be set.
    Exits 2 when a value breaks its rule or two variables contradict each other, as the runtime would.

    Example: TRADING_MODE=live torghutctl trading explain-config --set
    """
    import os
    from collections.abc import Mapping
    from typing import Any

    from torghut_core.trading.explanation import explain
    from torghutctl.render.output import columns, write

    report = explain(os.environ)
    if only_set:
        report["settings"] = [row for row in report["settings"] if row["source"] == "environment"]

    def table(shown: Mapping[str, Any]) -> str:
        rows = [("VARIABLE", "VALUE", "SOURCE")]
        rows += [(row["variable"], _text(row["value"]), row["source"]) for row in shown["settings"]]
        policy = shown["policyResolution"]
        lines = [
            columns(rows),
            "",
            f"AI review fails to: {policy['effective_fail_mode']} ({policy['classification']})",
        ]
        lines += [f"contradiction: {text}" for text in shown["contradictions"]] or ["no contradiction: it would start"]
        return "\n".join(lines)

    write(report, output, table=table)
    if report["contradictions"]:
        raise typer.Exit(2)


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) or "-" if isinstance(value, list) else str(value)
