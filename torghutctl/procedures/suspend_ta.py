"""Suspend the TA job: `spec.job.state` in `ta/flinkdeployment.yaml`."""

from __future__ import annotations

from torghutctl.planning.plan import Draft, Precondition
from torghutctl.procedures.evidence import trading_paused
from torghutctl.procedures.flink_job import all_jobs, open_job, other_jobs
from torghutctl.procedures.specification import FileEditor, PlanningInput, Spec, draft_of
from torghutctl.procedures.ta_process import open_process, suspend
from torghutctl.procedures.verification import Check, job_checks

SPEC = Spec(
    name="suspend-ta",
    summary="Suspend the TA job: nothing is written to ClickHouse any more.",
    when="ClickHouse is short of disk, a replica is read-only, or the job retries its writes without end.",
    needs="the repository alone. Pausing trading first is wise: signals will go stale. An audit log that is damaged (8) "
    "or cannot be written (9) does not hold it up: it is done, and the exit code tells of the gap.",
    does="sets spec.job.state to suspended in ta/flinkdeployment.yaml, and names every other FlinkDeployment under the "
    "gitops path, which goes on writing; with --all each of them is suspended. Where a Deployment torghut-ta "
    "stands in its place (one process), sets spec.replicas to 0 and records the count.",
    verify="the FlinkDeployment's lifecycle is SUSPENDED; the disk stops falling.",
    undo="torghutctl resume-ta.",
    paths=("*",),
    is_stop=True,
)


def plan(given: PlanningInput, *, every: bool = False) -> Draft:
    """Return the draft that suspends the job; with `every` each FlinkDeployment under the gitops path."""
    process = open_process(given)
    editor, index = process or open_job(given)
    if process is not None:
        suspend(editor, index)
    else:
        editor.set((index, "spec", "job", "state"), "suspended", label="spec.job.state", is_text=True)
    editors = {editor.source.path: editor}
    others = other_jobs(given)
    if every:
        for path, position, name in all_jobs(given.tree):
            if (path, name) in others:
                other = editors.setdefault(path, FileEditor.open(given.tree.files[path]))
                label = f"spec.job.state of {name}"
                other.set((position, "spec", "job", "state"), "suspended", label=label, is_text=True)
    named = ", ".join(f"{name} ({path})" for path, name in others)
    advice = (
        trading_paused(given, before=SPEC.name, refuses=False),
        Precondition(
            name="no other Flink job writes on",
            ok=every or not others,
            detail=f"{'suspended too' if every else 'goes on, unless --all is given'}: {named}"
            if others
            else "none here",
            refuses=False,
        ),
    )
    return draft_of(
        list(editors.values()),
        Draft(
            preconditions=advice,
            verification=(
                f"Deployment {given.environment.names.flink_deployment}: no pod"
                if process is not None
                else f"FlinkDeployment {given.environment.names.flink_deployment}: lifecycle SUSPENDED",
                "the guardrail gauges show the disk no longer falling; what frees space is in the runbook:"
                " torghutctl runbook suspend-ta",
            ),
            rollback=(given.undo(SPEC, "resume-ta"),),
            summary="suspend every Flink job" if every and others else "suspend the technical analysis job",
            risk="Bars and signals stop; trading sees stale signals and trades nothing.",
        ),
    )


def verify(given: PlanningInput) -> tuple[Check, ...]:
    """Return the checks that show the change to be true."""
    return job_checks(given)
