"""Restart the TA job: `spec.restartNonce` one higher than the newest base has it."""

from __future__ import annotations

from torghutctl.planning.plan import Draft
from torghutctl.procedures.evidence import clickhouse_writable, kafka_ready
from torghutctl.procedures.flink_job import FILE, open_job, raise_nonce
from torghutctl.procedures.specification import PlanningInput, Spec, draft_of
from torghutctl.procedures.ta_process import FILE as PROCESS_FILE
from torghutctl.procedures.ta_process import open_process, restart
from torghutctl.procedures.verification import Check, job_checks

SPEC = Spec(
    name="restart-ta",
    summary="Restart the TA job from its last state.",
    when="the job is FAILED or RUNNING without progress, and its dependencies are healthy again.",
    needs="the repository alone; ClickHouse and Kafka are looked at when they can be, as advice.",
    does="raises spec.restartNonce in ta/flinkdeployment.yaml by one, from the newest base. Where a Deployment stands in "
    "its place (one process), stamps kubectl.kubernetes.io/restartedAt with --at (or now).",
    verify="the job is RUNNING again and the newest event time advances.",
    undo="nothing to undo: reverting the nonce is another restart.",
    paths=(FILE, PROCESS_FILE),
    is_stamped=True,
)


def plan(given: PlanningInput) -> Draft:
    """Return the draft that restarts the job."""
    process = open_process(given)
    editor, index = process or open_job(given)
    if process is not None:
        restart(editor, index, given.at_ns)
    else:
        raise_nonce(editor, index)
    advice = (clickhouse_writable(given, refuses=False), kafka_ready(given))
    return draft_of(
        [editor],
        Draft(
            preconditions=advice,
            verification=(
                f"Deployment {given.environment.names.flink_deployment}: new pods answer /readyz with 200"
                if process is not None
                else f"FlinkDeployment {given.environment.names.flink_deployment}: job RUNNING, observed generation current",
                "the newest event time of ta_signals advances while the market is open",
            ),
            rollback=("none needed: a revert restarts it once more",),
            summary="restart the technical analysis job",
            risk="Bars and signals pause until the job has restored its state.",
        ),
    )


def verify(given: PlanningInput) -> tuple[Check, ...]:
    """Return the checks that show the change to be true."""
    return job_checks(given)
