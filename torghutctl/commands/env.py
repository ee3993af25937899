"""`torghutctl env list|show|check`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from torghutctl.commands import suggestions
from torghutctl.commands.option_group import one_of
from torghutctl.environment_check import check_file
from torghutctl.environments import described, entries, file_in_use, load_environment
from torghutctl.errors import ConfigurationError
from torghutctl.render.output import Format, View, columns, write

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="The environments file: what it holds, what is wrong with it."
)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="instead of ~/.config/torghut/environments.yaml")
]
OutputOption = Annotated[
    Format | None, typer.Option("-o", "--output", metavar=one_of(Format), help="how it is written")
]
NameArgument = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="an entry; without it the default", autocompletion=suggestions.environments),
]


@app.command("list")
def show_list(config: ConfigOption = None, output: OutputOption = None) -> None:
    """List the entries, which one is used without -e, and where the file was found."""
    report = {"schemaVersion": "torghut.environments/v1", **_file(config), "environments": entries(config, os.environ)}
    write(report, output, table=_list)


@app.command("show")
def show(name: NameArgument = None, config: ConfigOption = None, output: OutputOption = None) -> None:
    """Show what an entry comes to, defaults included. A token stands in no entry, and none is read."""
    environment = load_environment(name, config, os.environ, named="NAME")
    report = {"schemaVersion": "torghut.environment/v1", **_file(config), "environment": described(environment)}
    write(report, output, table=_entry)


@app.command("check")
def check(config: ConfigOption = None, output: OutputOption = None) -> None:
    """Say everything that is wrong with the file and with what its entries name on this machine; exit 2 if anything is.

    Looked at: keys and values, the default, kubeconfig and context, folders and repositories, the token's file and who
    may read it, and a repository here that trades with real money where the entry does not say `live`.
    """
    problems = check_file(config, os.environ)
    report = {"schemaVersion": "torghut.environments-check/v1", **_file(config), "problems": problems}
    write(report, output, table=_problems)
    errors = [row for row in problems if row["level"] == "error"]
    if errors:
        raise ConfigurationError(f"{len(errors)} of its entries' values cannot be used", hint="mend the file")


def _file(config: Path | None) -> dict[str, Any]:
    path = file_in_use(config, os.environ)
    return {"file": str(path), "isThere": path.is_file()}


def _list(report: Mapping[str, Any]) -> View:
    where = f"{report['file']}{'' if report['isThere'] else ' (not there: the environment is `default`)'}"
    rows = [("NAME", "DEFAULT", "PRODUCTION", "LIVE", "SYSTEM", "REPOSITORY")]
    rows += [
        (
            row["name"],
            "yes" if row["isDefault"] else "-",
            _shown(row["production"]),
            _shown(row["live"]),
            str(row["local"] or row["context"] or "-"),
            str(row["repo"] or "-"),
        )
        for row in report["environments"]
    ]
    return [where, "", columns(rows)]


def _shown(value: str | bool | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value or "-"


def _entry(report: Mapping[str, Any]) -> View:
    return columns([("file", report["file"]), *((key, _shown(value)) for key, value in report["environment"].items())])


def _problems(report: Mapping[str, Any]) -> View:
    if not report["isThere"]:
        return f"{report['file']}: not there; the environment is `default`: not production, not live"
    if not report["problems"]:
        return f"{report['file']}: nothing is wrong with it"
    return columns([(row["level"], row["where"], row["problem"]) for row in report["problems"]])
