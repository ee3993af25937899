"""`torghutctl audit show|verify`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torghutctl.commands.option_group import one_of
from torghutctl.commands.procedure_request import default_audit_path
from torghutctl.errors import InputError, UnverifiedError
from torghutctl.render.output import Format, View, columns, write

if TYPE_CHECKING:
    from torghutctl.effects.audit_log import AuditLine
    from torghutctl.snapshot.repository import RecordedCommit

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Show or verify the audit log: who did what, on which plan, why, through which gates, and what came of it.",
)

LogOption = Annotated[
    Path | None, typer.Option("--audit-log", metavar="FILE", help="audit log (~/.local/state/torghut/audit.jsonl)")
]
OutputOption = Annotated[
    Format | None, typer.Option("-o", "--output", metavar=one_of(Format), help="how the answer is written")
]
_SHOWN = ("sequence", "at", "who", "event", "procedure", "environment", "digest", "reason", "ticket", "gates", "result")


@app.command("show")
def show(
    audit_log: LogOption = None,
    last: Annotated[int, typer.Option(min=1, metavar="N", help="how many lines")] = 20,
    output: OutputOption = None,
) -> None:
    """Show the last lines, oldest first."""
    from torghutctl.effects.audit_log import AuditLog

    path = _path(audit_log)
    lines = AuditLog(path).lines()[-last:]
    rows = [{key: line.fields.get(key) for key in _SHOWN if key in line.fields} for line in lines]
    write({"schemaVersion": "torghut.audit/v1", "path": str(path), "lines": rows}, output, table=_table)


@app.command("verify")
def verify(
    audit_log: LogOption = None,
    repo: Annotated[
        str | None, typer.Option(metavar="PATH|URL", help="repository whose commits name heads of this log")
    ] = None,
    base: Annotated[str, typer.Option(metavar="BRANCH", help="its deployed branch")] = "main",
    output: OutputOption = None,
) -> None:
    """Verify the chain; with --repo also that every `Audit-Head:` of this log's commits is in it. Exit 8 when not."""
    from torghutctl.effects.audit_log import AuditLog

    # With --repo a log that is gone shows by the commits it should have.
    path = _path(audit_log) if repo is None else audit_log or default_audit_path(os.environ)
    log = AuditLog(path)
    faults = [{"line": fault.line, "why": fault.why} for fault in log.faults()]
    if repo is not None:
        from torghutctl.snapshot.repository import open_repository, recorded_commits

        with open_repository(repo, base) as repository:
            faults += _missing(log.lines(), recorded_commits(repository))
    report = {"schemaVersion": "torghut.audit/v1", "path": str(path), "lines": len(log.lines()), "faults": faults}
    write(report, output, table=_verdict)
    if faults:
        raise UnverifiedError(
            f"the audit log {path} is not as it was written", hint="compare it with a copy kept elsewhere"
        )


def _path(audit_log: Path | None) -> Path:
    """Return where the log is. One that is named has to be there; the user's own begins with the first line."""
    if audit_log is not None and not audit_log.exists():
        raise InputError(f"--audit-log {audit_log}: no such file", hint="leave it out for your own log")
    return audit_log or default_audit_path(os.environ)


def _missing(lines: Sequence[AuditLine], commits: Iterable[RecordedCommit]) -> Iterator[dict[str, object]]:
    """Yield what commits say was done and the log does not."""
    from torghutctl.effects.audit_log import NO_HEAD

    known = {line.hash for line in lines}
    digests = {line.fields.get("digest") for line in lines}
    for item in commits:
        if item.audit_head == NO_HEAD and item.plan_digest not in digests:
            why = f"commit {item.commit[:12]} was made while its log could not be written"
        elif item.audit_head != NO_HEAD and item.audit_head not in known:
            why = f"commit {item.commit[:12]} names {item.audit_head}, which this log has not: its tail was cut, or another log has it"
        else:
            continue
        yield {"line": len(lines) + 1, "why": why}


def _table(report: Mapping[str, Any]) -> View:
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
