"""`torghutctl agentruns render|validate|exec`."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from torghutctl.errors import InputError, RefusedError
from torghutctl.procedures.agent_templates import agent_run, command_line, implementation_spec, problems_of
from torghutctl.procedures.catalogue import SPECS
from torghutctl.render.output import Format, write

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="AgentRun and ImplementationSpec templates for every procedure; run one inside an AgentRun.",
)
OutputOption = Annotated[Format | None, typer.Option("-o", "--output", help="how the answer is written")]


def template_text(document: Mapping[str, Any]) -> str:
    """Return one document as YAML, its texts as blocks."""
    from ruamel.yaml import YAML
    from ruamel.yaml.scalarstring import LiteralScalarString

    def shape(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: shape(item) for key, item in value.items()}
        if isinstance(value, list):
            return [shape(item) for item in value]
        return LiteralScalarString(value) if isinstance(value, str) and "\n" in value else value

    yaml = YAML(typ="rt", pure=True)
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    buffer = io.StringIO()
    yaml.dump(shape(document), buffer)
    return buffer.getvalue()


@app.command("render")
def render(
    procedure: Annotated[str, typer.Argument(help="name of the procedure")],
    parameter: Annotated[list[str] | None, typer.Option("-p", "--parameter", help="KEY=VALUE of the run")] = None,
    output: OutputOption = None,
) -> None:
    """Write the AgentRun and the ImplementationSpec of a procedure."""
    if procedure not in SPECS:
        raise InputError(f"{procedure}: is no procedure", hint=f"one of {', '.join(SPECS)}")
    given = dict(item.split("=", 1) for item in parameter or () if "=" in item)
    if len(given) != len(parameter or ()):
        raise InputError("--parameter: must be KEY=VALUE, each key once")
    documents = [agent_run(SPECS[procedure], given), implementation_spec(SPECS[procedure])]
    report = {"schemaVersion": "torghut.agentruns/v1", "documents": documents}
    write(report, output, table=lambda shown: "---\n".join(template_text(item) for item in shown["documents"]))


@app.command("validate")
def validate(
    file: Annotated[Path, typer.Argument(help="YAML with AgentRuns and ImplementationSpecs")],
    output: OutputOption = None,
) -> None:
    """Check documents against the platform's limits and against the gates. Exit 6 when something is wrong."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        documents = [d for d in YAML(typ="safe", pure=True).load_all(file.read_text(encoding="utf-8")) if d is not None]
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise InputError(f"{file}: cannot be read as YAML") from error
    problems = [f"document {n}: {p}" for n, d in enumerate(documents, 1) for p in (_problems(d) if documents else [])]
    if not documents:
        problems = ["no document in the file"]
    report = {"schemaVersion": "torghut.agentruns/v1", "file": str(file), "problems": problems}
    write(report, output, table=lambda shown: "\n".join(shown["problems"]) or f"{shown['file']}: no problem")
    if problems:
        raise RefusedError(
            f"{file}: {len(problems)} problems", hint="torghutctl agentruns render shows a run that passes"
        )


def _problems(document: Any) -> list[str]:
    return problems_of(document, SPECS) if isinstance(document, dict) else ["is not a mapping"]


@app.command("exec")
def execute() -> None:
    """Run the procedure that this AgentRun asks for, with its parameters and nothing else."""
    path = os.environ.get("AGENT_RUN_SPEC", "")
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RefusedError(
            f"AGENT_RUN_SPEC={path or '(empty)'}: cannot be read, so nothing is done", hint="run it inside an AgentRun"
        ) from error
    run = document.get("agentRun", document) if isinstance(document, dict) else {}
    body = run.get("spec") if isinstance(run, dict) else None
    parameters = {**(document.get("parameters") or {}), **((body or {}).get("parameters") or {})}
    spec = SPECS.get(str(parameters.get("change")))
    if spec is None:
        raise RefusedError(
            f"parameters.change={parameters.get('change')!r}: is no procedure", hint=f"one of {', '.join(SPECS)}"
        )
    arguments, problems = command_line(spec, parameters)
    if problems:
        raise RefusedError("; ".join(problems), hint="torghutctl agentruns render shows the parameters of a run")
    done = subprocess.run([sys.executable, "-m", "torghutctl", *arguments], check=False)
    raise typer.Exit(done.returncode)
