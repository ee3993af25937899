"""`torghutctl health-report`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torghut_core.rfc3339 import format_ns
from torghutctl.commands import suggestions
from torghutctl.commands.option_group import one_of, with_options
from torghutctl.commands.target_options import Choice, TargetOptions
from torghutctl.errors import InputError, TorghutError
from torghutctl.render.output import Format, screen, write
from torghutctl.render.streams import emit, tell

if TYPE_CHECKING:
    from torghutctl.snapshot.model import Snapshot
    from torghutctl.snapshot.target import Target

WATCH_SECONDS = 5.0


@with_options(TargetOptions)
def command(
    *,
    options: TargetOptions,
    output: Annotated[
        Format | None, typer.Option("-o", "--output", metavar=one_of(Format), help="how to write it")
    ] = None,
    record: Annotated[
        Path | None, typer.Option(metavar="PATH", help="also write what was read as a bundle (folder or .tar.gz)")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help=f"read again every {WATCH_SECONDS:g} s and print what changed, until Ctrl-C")
    ] = False,
    why: Annotated[
        str | None,
        typer.Option(
            metavar="REASON",
            help="explain a reason: what shows it, what would change it",
            autocompletion=suggestions.reasons,
        ),
    ] = None,
    explain_access: Annotated[
        bool, typer.Option("--explain-access", help="list the Kubernetes rights a report takes, and read nothing")
    ] = False,
) -> None:
    """Classify the whole system, name the top cause and the next procedure.

    Reads the cluster (or a local folder, or a bundle), judges nine components, and names the most upstream failure
    that explains the others. Nothing is changed and no Secret is read.

    The next command names the same system in full and only shows its plan when pasted; what it lacks (a repository that
    nobody named) is said on standard error. Freshness and suspension are judged by the exchange's sessions, half days
    included. Visuals and the guardrails exporter are no components: what they carry is judged, and when that fails their
    pods are shown as evidence.

    Sources are read at once, each within 8 s; what only another source names (a pod's answers and logs, Flink's REST,
    ta/latest) takes its own time after that one's.

    Exit code: 0 healthy, 3 degraded, 4 down, 5 unknown (too little could be observed), 2 wrong usage.

    \b
    torghutctl health-report                                  the cluster of the current context
    torghutctl health-report -e staging -o markdown           an environment, for an AgentRun's output
    torghutctl health-report --local .demo                    the demo on this machine
    torghutctl health-report --record incident.tar.gz         keep what was seen, redacted
    torghutctl health-report --from-snapshot incident.tar.gz  the same report, offline
    torghutctl health-report --why ta_stalled                 what a reason rests on
    """
    if why is not None or explain_access:
        _explain(why, output)
        return
    choice = options.choose()
    if watch and options.from_snapshot is not None:
        raise InputError("--watch and --from-snapshot cannot be combined", hint="a bundle does not change")
    from torghutctl.health.report import EXIT_CODES
    from torghutctl.render import health_table, health_view
    from torghutctl.render.redaction import redact_text

    on = screen(os.environ)
    table = partial(health_table.table, width=on.width, is_coloured=on.is_coloured)

    def show(report: Mapping[str, Any]) -> bool:
        return write(report, output, table=table, markdown=health_view.markdown)

    snapshot, report = _report(choice, tell)
    show(report)
    for line in advice(report, choice.target, snapshot.observed_at_ns):
        tell(line)
    _record(snapshot, record)
    if watch:

        def again() -> dict[str, Any]:
            snapshot, report = _report(choice, lambda _: None)
            _record(snapshot, record)
            return report

        def tell_changes(newer: Mapping[str, Any], lines: Sequence[str]) -> bool:
            if output in (None, Format.TABLE):
                return emit(redact_text("\n".join(lines)) + "\n")
            return show(newer)

        report = follow(report, again, pause=lambda: time.sleep(WATCH_SECONDS), show=tell_changes)
    raise typer.Exit(int(EXIT_CODES[report["classification"]]))


def advice(report: Mapping[str, Any], target: Target, observed_at_ns: int) -> list[str]:
    """Return what must be known before the next command is pasted; nothing where it can be as it is."""
    from torghutctl.render.redaction import MASK, redact_text

    command = redact_text((report["nextProcedure"] or {}).get("command") or "")
    if not command:
        return []
    lines = []
    if target.bundle is not None:
        lines.append(
            f"note: {target.bundle} is not the live system: it tells of {format_ns(observed_at_ns)}, and the next command is"
            " the one for the system it was taken of; look at that again first"
        )
    if " --repo " not in command and target.repo is None:
        how = "name an environment with `local` and `repo` (-e)" if target.local else "give --repo PATH|URL, or -e NAME"
        lines.append(f"note: the next command needs the GitOps repository, and none is known: {how}")
    if MASK in command:
        lines.append(f"note: a secret is left out of the next command: put it back where it says {MASK}")
    return lines


def follow(
    report: dict[str, Any],
    again: Callable[[], dict[str, Any]],
    *,
    pause: Callable[[], None],
    show: Callable[[Mapping[str, Any], Sequence[str]], bool],
) -> dict[str, Any]:
    """Show each report that differs from the one before, with what changed; return the last one.

    It goes on until it is interrupted, or `show` says that nobody reads any more.

    A target that cannot be used for a while (a folder whose system restarts, a kubeconfig being rewritten) is told on
    standard error and tried again.
    """
    from torghutctl.render.health_view import changes

    try:
        while True:
            pause()
            try:
                newer = again()
            except TorghutError as error:
                tell(f"not read this time: {error}")
                continue
            report, before = newer, report
            lines = changes(before, newer)
            if lines and not show(newer, lines):
                return newer
    except KeyboardInterrupt:
        return report


def _report(choice: Choice, tell: Callable[[str], None]) -> tuple[Snapshot, dict[str, Any]]:
    from torghutctl.health.report import judge
    from torghutctl.snapshot import bundle, reader

    snapshot = reader.read(choice.target, at_ns=choice.at_ns, tell=tell)
    with bundle.blamed(choice.target.bundle):
        return snapshot, judge(snapshot, choice.operator(), at_ns=choice.at_ns)


def _record(snapshot: Snapshot, path: Path | None) -> None:
    """Write the bundle after the report was shown: a path that cannot be written costs no verdict."""
    if path is None:
        return
    from torghutctl.snapshot import bundle

    bundle.write(snapshot, path, "--record")
    tell(f"wrote {path}")


def _explain(why: str | None, output: Format | None) -> None:
    from torghutctl.health import explain
    from torghutctl.render import explain_view

    if why is not None:
        write(explain.reason(why), output, table=explain_view.reason)
    else:
        write(explain.access(), output, table=explain_view.access)
