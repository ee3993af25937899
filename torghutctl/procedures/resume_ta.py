"""Let the TA job run again, once ClickHouse can be written."""

from __future__ import annotations

from torghutctl.planning.plan import Draft
from torghutctl.procedures.evidence import clickhouse_writable, kafka_ready
from torghutctl.procedures.flink_job import FILE, open_job, raise_nonce
from torghutctl.procedures.specification import PlanningInput, Spec, draft_of
from torghutctl.procedures.ta_process import FILE as PROCESS_FILE
from torghutctl.procedures.ta_process import open_process, resume
from torghutctl.procedures.ta_process import restart as restart_process
from torghutctl.procedures.verification import Check, job_checks

SPEC = Spec(
    name="resume-ta",
    summary="Let the suspended TA job run again.",
    when="what made it stop is over: disk is free, merges move, no replica is read-only.",
    needs="the guardrail gauges, live (or --from-snapshot for a mere plan): every replica up, writable, 15 % disk free.",
    does="sets spec.job.state to running in ta/flinkdeployment.yaml; with --restart it also raises spec.restartNonce. Where a "
    "Deployment stands in its place, sets spec.replicas to the recorded count; --restart stamps restartedAt.",
    verify="lifecycle STABLE, job RUNNING, and the newest event time advances.",
    undo="torghutctl suspend-ta.",
    paths=(FILE, PROCESS_FILE),
    is_start=True,
    needs_cluster=True,
)


def plan(given: PlanningInput, *, restart: bool = False) -> Draft:
    """Return the draft that lets the job run, restarted when asked."""
    process = open_process(given)
    editor, index = process or open_job(given)
    if process is not None:
        resume(editor, index)
        if restart:
            restart_process(editor, index, given.at_ns)
    else:
        current = editor.yaml.value((index, "spec", "job", "state"))
        if current not in (None, "running"):
            editor.set((index, "spec", "job", "state"), "running", label="spec.job.state", is_text=True)
        if restart:
            raise_nonce(editor, index)
    return draft_of(
        [editor],
        Draft(
            preconditions=(clickhouse_writable(given), kafka_ready(given)),
            verification=(
                f"Deployment {given.environment.names.flink_deployment}: its pods answer /readyz with 200"
                if process is not None
                else f"FlinkDeployment {given.environment.names.flink_deployment}: lifecycle STABLE, job RUNNING",
                "the newest event time of ta_signals advances while the market is open",
            ),
            rollback=(given.undo(SPEC, "suspend-ta"),),
            summary="resume the technical analysis job",
            risk="Writing to ClickHouse starts again.",
        ),
    )


def verify(given: PlanningInput) -> tuple[Check, ...]:
    """Return the checks that show the change to be true."""
    return job_checks(given)
