"""Suspend the TA job: `spec.job.state` in `ta/flinkdeployment.yaml`."""

from __future__ import annotations

from torghutctl.planning.plan import Draft
from torghutctl.procedures.evidence import trading_paused
from torghutctl.procedures.flink_job import FILE, open_job
from torghutctl.procedures.specification import PlanningInput, Spec, draft_of
from torghutctl.procedures.verification import Check, job_checks

SPEC = Spec(
    name="suspend-ta",
    summary="Suspend the TA job: nothing is written to ClickHouse any more.",
    when="ClickHouse is short of disk, a replica is read-only, or the job retries its writes without end.",
    needs="the repository alone. Pausing trading first is wise: signals will go stale. An audit log that is damaged (8) "
    "or cannot be written (9) does not hold it up: it is done, and the exit code tells of the gap.",
    does="sets spec.job.state to suspended in ta/flinkdeployment.yaml. A one-process TA on a single machine is stopped "
    "by stopping it.",
    verify="the FlinkDeployment's lifecycle is SUSPENDED; the disk stops falling.",
    undo="torghutctl resume-ta.",
    paths=(FILE,),
    is_stop=True,
)


def plan(given: PlanningInput) -> Draft:
    """Return the draft that suspends the job."""
    editor, index = open_job(given)
    editor.set((index, "spec", "job", "state"), "suspended", label="spec.job.state", is_text=True)
    advice = (trading_paused(given, refuses=False),)
    return draft_of(
        [editor],
        Draft(
            preconditions=advice,
            verification=(
                f"FlinkDeployment {given.environment.names.flink_deployment}: lifecycle SUSPENDED",
                "the guardrail gauges show the disk no longer falling",
            ),
            rollback=(given.undo(SPEC, "resume-ta"),),
            summary="suspend the technical analysis job",
            risk="Bars and signals stop; trading sees stale signals and trades nothing.",
        ),
    )


def verify(given: PlanningInput) -> tuple[Check, ...]:
    """Return the checks that show the change to be true."""
    return job_checks(given)
