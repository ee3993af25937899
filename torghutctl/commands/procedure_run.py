"""A procedure's command: plan, do what is asked for, report it, follow it, and end with the code that it deserves."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torghut_core.clock import SystemClock
from torghutctl.actuation.request import Effect, Outcome, Planner, Request
from torghutctl.commands.procedure_options import ProcedureOptions
from torghutctl.commands.procedure_request import Acting, build_request, has_to_be_asked, seconds, snapshot_reader
from torghutctl.environments import DEFAULT_NAME, Environment
from torghutctl.errors import RefusedError, TorghutError
from torghutctl.planning.gates import told
from torghutctl.planning.plan import Failure, Plan
from torghutctl.procedures.specification import Spec
from torghutctl.procedures.verification import Verifier
from torghutctl.render.output import Format
from torghutctl.render.streams import OutputError, tell


def run_procedure(
    options: ProcedureOptions,
    spec: Spec,
    planner: Planner,
    verifier: Verifier,
    arguments: Mapping[str, str],
    *,
    words: Sequence[str] = (),
    acting: Acting | None = None,
) -> Outcome | None:
    """Plan, and do what the options ask for; write the plan to standard output and return what came of it.

    `words` are the procedure's own options as a command line has them. Raises the errors that the contract's exit
    codes stand for; where there is a plan it has been written before, with the error in it. What was done is never told
    as a failure because its report could not be written.
    """
    from torghutctl.actuation.engine import is_nothing_to_do, run

    request = build_request(options, spec, planner, arguments, words=(spec.name, *words), acting=acting)
    if options.pull_request is not None:
        follow_pull_request(options, request, options.pull_request, verifier)
        return None
    outcome = run(request)
    plan = outcome.plan
    for note in outcome.notes:
        tell(note)
    is_nothing = is_nothing_to_do(spec, plan)
    if is_nothing:
        tell("nothing to change")
    error = _refusal(request, plan, is_nothing=is_nothing) or outcome.gap
    # A terminal sees the plan before it waits; a document is written once, when there is nothing more to say in it.
    is_told_first = options.output in (None, Format.TABLE, Format.MARKDOWN)
    if is_told_first:
        _write(request, plan, error, options)
    if error is None and request.effect is Effect.SHOW and not is_nothing:
        _tell_how(plan, spec, is_reasoned=bool(request.intent.reason.strip()), is_asked=request.ask_person is not None)
    if plan.result is not None and plan.result.pull_request is not None:
        number = plan.result.pull_request.number
        if options.wait and error is outcome.gap:
            if outcome.gap is not None:  # what comes next may end the command with another code
                tell(f"{outcome.gap}; {outcome.gap.hint}")
            try:
                follow_pull_request(options, request, number, verifier)
            except TorghutError as failed:
                error = failed
        elif not options.wait:
            tell(f"follow it: {_follow_line(request, number)}")
    if plan.result is not None and request.effect is Effect.ACT:
        for step in plan.draft.verification:
            tell(f"verify: {step}")
    if not is_told_first:
        _write(request, plan, error, options)
    if error is not None:
        raise error
    return outcome


def _refusal(request: Request, plan: Plan, *, is_nothing: bool) -> TorghutError | None:
    """Return why this plan cannot be carried out, or not whole; None where nothing speaks against it."""
    if plan.draft.skipped:
        left = "left as they are: " + "; ".join(plan.draft.skipped)
        return RefusedError(left, hint="edit these files by hand; the others are done")
    if request.effect is Effect.SHOW and not is_nothing and plan.refusals:
        closed = told((item.name, item.detail) for item in plan.refusals)
        return RefusedError(f"this plan would be refused: {closed}", hint="mend that first; nothing was changed")
    return None


def _write(request: Request, plan: Plan, error: TorghutError | None, options: ProcedureOptions) -> None:
    """Write the plan. Raises OutputError where nothing was done; what was done is told on standard error instead."""
    from torghutctl.render.output import screen, write
    from torghutctl.render.plan_view import plan_markdown, plan_table

    if error is not None:
        plan = replace(plan, error=Failure(exit_code=int(error.exit_code), message=str(error), hint=error.hint or ""))
    on = screen(os.environ)
    is_known = plan.result is not None and on.width is not None and _was_shown(request)
    view = partial(plan_table, width=on.width, is_coloured=on.is_coloured, is_known=is_known)
    try:
        write(plan.report(), options.output, table=view, markdown=plan_markdown)
    except OutputError as unwritten:
        if plan.result is None:
            raise
        tell(f"it is done, but {unwritten}")
        tell(plan_table(plan.report(), is_known=_was_shown(request)))


def _was_shown(request: Request) -> bool:
    """Tell whether a person saw the plan before it was carried out."""
    phrase = request.second_phrase if request.effect is Effect.ACT else ""
    return request.ask_person is not None and has_to_be_asked(request.intent, phrase)


def _tell_how(plan: Plan, spec: Spec, *, is_reasoned: bool, is_asked: bool) -> None:
    if plan.act is not None and is_asked:
        tell("plan only; to carry it out run the line after `act`, and type the phrase")
    elif plan.act is not None:
        tell("plan only; to carry it out, run the command after `act` with --confirm and the phrase that --help gives")
    elif plan.draft.actions:
        tell(
            f"plan only; a person at a terminal carries it out with {'' if is_reasoned else '--reason TEXT and '}--act"
        )
    elif not is_reasoned:
        tell("plan only; with --reason TEXT it shows the command that carries it out")
    else:
        tell(f"plan only; torghutctl {spec.name} --help says what else acting takes")


def _follow_line(request: Request, number: int) -> str:
    """Return the command that follows a pull request, ready to paste."""
    where = [word for pair in request.options for word in pair]
    name = ("-e", request.environment.name) if request.environment.name != DEFAULT_NAME else ()
    return shlex.join(["torghutctl", *request.words, *name, *where, "--pr", "--wait", "--pull-request", str(number)])


def follow_pull_request(options: ProcedureOptions, request: Request, number: int, verifier: Verifier) -> None:
    """Follow a pull request to the effective state, telling each stage on standard error."""
    from torghutctl.actuation.follow import Waiting, follow

    if request.read_snapshot is None:
        reader = snapshot_reader(options, request.environment, is_needed=True)
        request = replace(request, read_snapshot=reader)
    waiting = Waiting(
        timeout_seconds=seconds(options.timeout),
        monotonic=SystemClock().monotonic,
        pause=time.sleep,
        tell=tell,
        sync=_sync(options, request.environment) if options.sync else None,
    )
    follow(request, number, verifier, waiting)


def _sync(options: ProcedureOptions, environment: Environment) -> Callable[[bool], None]:
    """Return how to ask Argo CD: a refresh, with an operation when told so."""

    def ask(with_operation: bool) -> None:
        from torghutctl.adapters.kubernetes_client import connect
        from torghutctl.adapters.kubernetes_writer import KubernetesWriter
        from torghutctl.effects.argocd import request_sync

        kubeconfig = options.kubeconfig or (
            Path(environment.kubeconfig).expanduser() if environment.kubeconfig else None
        )
        reader = connect(kubeconfig=kubeconfig, context=options.context or environment.context, environment=os.environ)
        names = environment.names
        request_sync(
            KubernetesWriter(reader), names.argocd_namespace, names.argocd_application, with_operation=with_operation
        )
        tell("asked Argo CD to " + ("refresh and sync" if with_operation else "refresh"))

    return ask


def list_releases(options: ProcedureOptions) -> None:
    """Write the last images of the trading service, newest first."""
    from torghutctl.actuation.engine import plan_input
    from torghutctl.procedures.rollback_image import SPEC, history_files, plan, releases
    from torghutctl.render.output import View, columns, write

    given = plan_input(build_request(options, SPEC, plan, {}))
    rows = [release.row() for release in releases(given.history[history_files(given.tree)[0]], 10)]

    def table(report: Mapping[str, Any]) -> View:
        head = ("digest", "version", "commit", "at", "rolled back")
        cells = [
            (
                str(r["digest"])[:19],
                str(r["version"]),
                str(r["commit"])[:12],
                str(r["at"]) + ("" if index else " (now)"),
                "yes" if r["wasRolledBack"] else "no",
            )
            for index, r in enumerate(report["releases"])
        ]
        return columns([head, *cells]) if cells else "the file's history has no image digest"

    write({"schemaVersion": "torghut.releases/v1", "releases": rows}, options.output, table=table)
