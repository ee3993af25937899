"""`torghutctl agentruns render|validate|exec`."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from torghut_core.clock import SystemClock
from torghutctl.commands import suggestions
from torghutctl.commands.option_group import one_of
from torghutctl.errors import ExitCode, InputError, RefusedError, TorghutError
from torghutctl.procedures.agent_templates import (
    ACTUATION,
    DIAGNOSTICS,
    agent_run,
    agents,
    changes_of,
    implementation_spec,
)
from torghutctl.procedures.catalogue import SPECS
from torghutctl.render.output import Format, write
from torghutctl.render.redaction import redact_text
from torghutctl.render.streams import emit

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="AgentRun documents for every procedure and the health report; check them; run one inside an AgentRun.",
)
OutputOption = Annotated[
    Format | None, typer.Option("-o", "--output", metavar=one_of(Format), help="how the answer is written")
]
_CHANGES = changes_of(SPECS)
_GROUP = "agents.proompteng.ai"


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
    yaml.representer.ignore_aliases = lambda _: True
    buffer = io.StringIO()
    yaml.dump(shape(document), buffer)
    return buffer.getvalue()


@app.command("render")
def render(
    change: Annotated[
        str,
        typer.Argument(
            metavar="CHANGE", help="a procedure, health-report, or agents", autocompletion=suggestions.procedures
        ),
    ],
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", metavar="KEY=VALUE", help="a parameter of the run")
    ] = None,
    purpose: Annotated[
        str,
        typer.Option(
            metavar="diagnostics|actuation", help="diagnostics (plans only) or actuation (carries out a plan)"
        ),
    ] = DIAGNOSTICS,
    template: Annotated[bool, typer.Option("--template", help="leave <placeholders> for what is not given")] = False,
    output: OutputOption = None,
) -> None:
    """Write the ImplementationSpec and the AgentRun of a change, ready for `kubectl create -f -`.

    First the diagnostics run: its report has the plan's digest and the parameters of the actuation run. Then that one:

    \b
    torghutctl agentruns render restart-ws -p environment=paper -p repository=acme/lab -p at=2026-03-02T14:30:00Z
    torghutctl agentruns render restart-ws --purpose actuation -p plan=sha256:… -p reason=… -p confirm=… …
    torghutctl agentruns render agents            the Agents and AgentProviders, once per cluster

    What validate would not let pass is refused (6), unless --template leaves placeholders.
    """
    if change == "agents":
        documents: list[dict[str, Any]] = agents()
    else:
        documents = _documents(change, purpose, _given(parameter))
    problems = [] if template or change == "agents" else _problems(documents)
    report = {"schemaVersion": "torghut.agentruns/v1", "documents": documents}
    if problems:
        raise RefusedError(
            f"{change} {purpose}: {'; '.join(problems)}", hint="give what is missing with -p KEY=VALUE, or --template"
        )
    if output is Format.YAML:
        # A stream of documents, as kubectl reads it.
        emit(redact_text(_stream(documents)))
        return
    write(report, output, table=lambda shown: _stream(shown["documents"]))


def _given(parameter: list[str] | None) -> dict[str, str]:
    pairs = [item.split("=", 1) for item in parameter or ()]
    wrong = next((item for item in pairs if len(item) != 2 or not item[0]), None)
    if wrong is not None:
        raise InputError(f"--parameter {'='.join(wrong)}: must be KEY=VALUE")
    given = dict(pair for pair in pairs if len(pair) == 2)
    if len(given) != len(pairs):
        raise InputError("--parameter: each key once")
    return given


def _documents(name: str, purpose: str, given: Mapping[str, str]) -> list[dict[str, Any]]:
    change = _CHANGES.get(name)
    if change is None:
        raise InputError(f"CHANGE {name}: is no procedure", hint=f"one of {', '.join(_CHANGES)}, agents")
    if purpose not in (DIAGNOSTICS, ACTUATION):
        raise InputError(f"--purpose {purpose}: must be {DIAGNOSTICS} or {ACTUATION}")
    if purpose not in change.purposes:
        raise RefusedError(
            f"{name}: has a {DIAGNOSTICS} run alone; acting is for a person at a terminal",
            hint=f"torghutctl {name} --help",
        )
    return [implementation_spec(change, purpose), agent_run(change, purpose, given)]


def _stream(documents: list[dict[str, Any]]) -> str:
    return "---\n".join(template_text(item) for item in documents)


@app.command("validate")
def validate(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="YAML files, - for standard input")],
    crds: Annotated[
        Path | None, typer.Option(metavar="DIR", help="take the schemas from these CustomResourceDefinitions")
    ] = None,
    output: OutputOption = None,
) -> None:
    """Check documents as the API server, the controller and the admission policy would. Exit 6 when something is wrong.

    Looked at: the CRDs' schemas and CEL rules (this version's own description of them, or --crds), names and limits, the
    order of documents, specification against change, branch, required parameters, labels and policy, placeholders left.
    """
    schemas = _schemas(crds) if crds is not None else None
    problems = [{"file": name, "problem": problem} for name in files for problem in _of_file(name, schemas)]
    report = {"schemaVersion": "torghut.agentruns/v1", "files": files, "problems": problems}
    write(report, output, table=_problem_table)
    if problems:
        raise RefusedError(
            f"{len(problems)} problems in {', '.join(dict.fromkeys(item['file'] for item in problems))}",
            hint="torghutctl agentruns render writes documents that pass",
        )


def _of_file(name: str, schemas: Mapping[str, Any] | None) -> list[str]:
    documents = [item for item in _load(name) if item is not None]
    return _problems(documents, schemas) if documents else ["no document in the file"]


def _problems(documents: list[Any], schemas: Mapping[str, Any] | None = None) -> list[str]:
    from torghutctl.procedures.agent_checks import problems_of_all
    from torghutctl.procedures.agent_schema import SPECS as OWN_SCHEMAS

    return problems_of_all(documents, _CHANGES, schemas if schemas is not None else OWN_SCHEMAS)


def _problem_table(report: Mapping[str, Any]) -> str:
    lines = [f"{item['file']}: {item['problem']}" for item in report["problems"]]
    return "\n".join(lines) or "\n".join(f"{name}: no problem" for name in report["files"])


def _load(name: str) -> Iterator[Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        yield from YAML(typ="safe", pure=True).load_all(text)
    except OSError as error:
        raise InputError(f"FILE {name}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, YAMLError, ValueError) as error:
        raise InputError(f"FILE {name}: cannot be read as YAML") from error


def _schemas(folder: Path) -> dict[str, Any]:
    """Return the schemas of `spec` by kind from a folder of CustomResourceDefinitions."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.yaml")) if folder.is_dir() else []:
        if _GROUP.encode() not in path.read_bytes():
            continue
        for document in _load(str(path)):
            spec = document.get("spec", {}) if isinstance(document, dict) else {}
            if spec.get("group") != _GROUP:
                continue
            for version in spec.get("versions", ()):
                schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
                found[spec["names"]["kind"]] = schema
    if not found:
        raise InputError(f"--crds {folder}: holds no CustomResourceDefinition of {_GROUP}")
    return found


@app.command("exec")
def execute() -> None:
    """Run what this AgentRun asks for, with its parameters and nothing else.

    The run is read from the API by the name and uid in AGENT_RUN_SPEC, validated, and carried out once. The report goes to
    standard output and beside the platform's status file, which gets exit code, refusal, digest and pull request.
    """
    from torghutctl.actuation.agent_outcome import AgentOutcome, write_outcome

    clock = SystemClock()
    started = clock.now_ns()
    fields: dict[str, Any] = {"change": ""}
    try:
        fields = _carry_out()
    except TorghutError as error:
        message = redact_text(f"{error}" + (f" ({error.hint})" if error.hint else ""))
        fields |= {"exit_code": int(error.exit_code), "message": message, "report": f"# Refused\n\n{message}\n"}
    outcome = AgentOutcome(started_ns=started, finished_ns=clock.now_ns(), **fields)
    for problem in write_outcome(outcome, os.environ):
        typer.echo(redact_text(problem), err=True)
    emit(redact_text(outcome.report))
    if outcome.message:
        typer.echo(outcome.message, err=True)
    raise typer.Exit(outcome.exit_code)


def _carry_out() -> dict[str, Any]:
    """Return the outcome's fields. Raises RefusedError when the run is not one that may be carried out."""
    from torghutctl.actuation.agent_command import command_of
    from torghutctl.snapshot.agent_run import read_agent_run

    run = read_agent_run(os.environ)
    if run is None:
        raise RefusedError("AGENT_RUN_SPEC is not set: this is no AgentRun", hint="run it inside an AgentRun")
    command = command_of(run, _CHANGES)
    line = [sys.executable, "-m", "torghutctl", *command.arguments, "-o", "json"]
    done = subprocess.run(line, check=False, stdin=subprocess.DEVNULL, capture_output=True)
    said = done.stderr.decode("utf-8", "replace")
    sys.stderr.write(redact_text(said))
    answer = _json(done.stdout)
    digest = answer.get("digest") if isinstance(answer.get("digest"), str) else None
    pull = ((answer.get("result") or {}).get("pullRequest") or {}).get("url")
    is_refused_or_failed = done.returncode != ExitCode.OK and not (command.change.spec is None and answer)
    return {
        "change": command.change.name,
        "exit_code": done.returncode,
        "digest": digest,
        "pull_request": pull,
        "message": _last_words(said) if is_refused_or_failed else "",
        "report": _report(command, answer, said, done.returncode),
    }


def _json(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _last_words(said: str) -> str:
    """Return what was said at the end on standard error, where a command says why it failed."""
    return " ".join(said.strip().splitlines()[-3:])


def _report(command: Any, answer: Mapping[str, Any], said: str, code: int) -> str:
    """Return the run's report in markdown."""
    from torghutctl.render.health_view import markdown as health_markdown
    from torghutctl.render.plan_view import plan_markdown

    head = f"# {command.change.name} ({command.purpose})\n\nExit code: {code}\n"
    if command.change.spec is None and "classification" in answer:
        return f"{head}\n{health_markdown(answer)}\n"
    if "digest" not in answer:
        told = json.dumps(answer, indent=2) if answer else said.strip()
        return f"{head}\n```\n{told}\n```\n"
    parts = [head, plan_markdown(answer)]
    if command.purpose == DIAGNOSTICS and command.change.may_act and code == ExitCode.OK:
        given = command.next_parameters(str(answer["digest"]))
        rows = "\n".join(f"{key}: {json.dumps(value)}" for key, value in sorted(given.items()))
        parts.append(
            "## Actuation run\n\nPlan-Digest: "
            f"{answer['digest']}\n\nParameters of the run that carries out this plan (a person adds `reason` and `confirm`):\n\n"
            f"```yaml\n{rows}\n```\n"
        )
    if said.strip():
        parts.append(f"## Said\n\n```\n{said.strip()}\n```\n")
    return "\n".join(parts)
