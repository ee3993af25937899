"""`torghutctl audit show|verify`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from torghutctl.commands.procedure_run import default_audit_path
from torghutctl.errors import UnverifiedError
from torghutctl.render.output import Format, columns, write

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Show or verify the audit log: who did what, on which plan, why, through which gates, and what came of it.",
)

LogOption = Annotated[Path | None, typer.Option("--audit-log", help="audit log (~/.local/state/torghut/audit.jsonl)")]
OutputOption = Annotated[Format | None, typer.Option("-o", "--output", help="how the answer is written")]
_SHOWN = ("sequence", "at", "who", "event", "procedure", "environment", "digest", "reason", "ticket", "gates", "result")


@app.command("show")
def show(
    audit_log: LogOption = None,
    last: Annotated[int, typer.Option(min=1, help="how many lines")] = 20,
    output: OutputOption = None,
) -> None:
    """Show the last lines, oldest first."""
    from torghutctl.effects.audit_log import AuditLog

    path = audit_log or default_audit_path(os.environ)
    lines = AuditLog(path).lines()[-last:]
    rows = [{key: line.fields.get(key) for key in _SHOWN if key in line.fields} for line in lines]
    write({"schemaVersion": "torghut.audit/v1", "path": str(path), "lines": rows}, output, table=_table)


@app.command("verify")
def verify(
    audit_log: LogOption = None,
    repo: Annotated[str | None, typer.Option(help="repository whose commits name heads of this log")] = None,
    base: Annotated[str, typer.Option(help="its deployed branch")] = "main",
    output: OutputOption = None,
) -> None:
    """Verify the chain; with --repo also that every `Audit-Head:` of this log's commits is in it. Exit 8 when not."""
    from torghutctl.effects.audit_log import AuditLog

    path = audit_log or default_audit_path(os.environ)
    log = AuditLog(path)
    faults = [{"line": fault.line, "why": fault.why} for fault in log.faults()]
    if repo is not None:
        from torghutctl.snapshot.repository import audit_heads, open_repository

        known = {line.hash for line in log.lines()}
        with open_repository(repo, base) as repository:
            faults += [
                {
                    "line": len(known) + 1,
                    "why": f"commit {commit[:12]} names {head}, which is missing: the tail was cut",
                }
                for commit, head in audit_heads(repository)
                if head not in known
            ]
    report = {"schemaVersion": "torghut.audit/v1", "path": str(path), "lines": len(log.lines()), "faults": faults}
    write(report, output, table=_verdict)
    if faults:
        raise UnverifiedError(
            f"the audit log {path} is not as it was written", hint="compare it with a copy kept elsewhere"
        )


def _table(report: Mapping[str, Any]) -> str:
    rows = [
        tuple(
            str(line.get(key, "")) for key in ("sequence", "at", "who", "event", "procedure", "environment", "reason")
        )
        for line in report["lines"]
    ]
    return columns([("no", "at", "who", "event", "procedure", "environment", "reason"), *rows])


def _verdict(report: Mapping[str, Any]) -> str:
    if not report["faults"]:
        return f"{report['path']}: {report['lines']} lines, unbroken"
    return "\n".join(f"line {fault['line']}: {fault['why']}" for fault in report["faults"])
