"""Bring read-only ClickHouse replicas back: `SYSTEM RESTORE REPLICA` for each table on each replica."""

from __future__ import annotations

from torghutctl.planning.plan import Action, Draft, Precondition
from torghutctl.procedures.evidence import keeper_ready, not_known, read_source, ta_suspended
from torghutctl.procedures.specification import Danger, PlanningInput, Spec
from torghutctl.procedures.verification import Check, Stage

TABLES = ("torghut.ta_signals", "torghut.ta_microbars")

SPEC = Spec(
    name="restore-replica",
    summary="Restore ClickHouse replicas whose metadata in Keeper was lost.",
    when="the gauges show a read-only replica and Keeper is healthy again, but the replica stays read-only.",
    needs="the system, live (or --from-snapshot for a mere plan): a replica that is read-only, Keeper up, TA suspended in "
    "effect (suspend-ta first). Only a person at a terminal can act.",
    does="runs SYSTEM RESTORE REPLICA for ta_signals and ta_microbars on each replica, one after the other, in its own "
    "pod; a table that is not read-only is left as it is.",
    verify="no replica is read-only, both are active; then resume-ta.",
    undo="nothing to undo; when it fails, keep TA suspended and see the runbook clickhouse-recovery.",
    danger=Danger.EMERGENCY,
    needs_cluster=True,
)


def plan(given: PlanningInput) -> Draft:
    """Return the draft: one action per replica and table."""
    pods = read_source(given, "pods")
    chi = given.environment.names.clickhouse_service
    replicas = sorted(
        str(pod.get("name"))
        for pod in (pods.value if isinstance(pods.value, list) else [])
        if pod.get("labels", {}).get("clickhouse.altinity.com/chi") == chi
    )
    return Draft(
        actions=tuple(
            Action(
                target=f"pod {given.namespace}/{replica}",
                statement=f"clickhouse-client --query 'SYSTEM RESTORE REPLICA {table}'",
                harmless_failure="Replica must be readonly",
            )
            for replica in replicas
            for table in TABLES
        ),
        preconditions=(
            _is_readonly(given),
            keeper_ready(given),
            ta_suspended(given, before=SPEC.name),
            Precondition(
                name="the replicas are known",
                ok=len(replicas) > 0,
                detail=", ".join(replicas) or f"no pod of {chi} was found",
                value=",".join(replicas),
            ),
        ),
        verification=("the guardrail gauges show no read-only replica", given.look("health-report")),
        rollback=("keep TA suspended and follow the runbook clickhouse-recovery",),
        summary="restore the ClickHouse replicas",
        risk="A restore writes the replica's local parts to Keeper anew; with TA suspended no insert is lost.",
    )


def _is_readonly(given: PlanningInput) -> Precondition:
    name = "a replica is read-only"
    reading = read_source(given, "clickhouse/gauges")
    if not isinstance(reading.value, dict):
        return not_known(name, reading)
    found = sorted(replica for replica, gauges in reading.value.items() if gauges.get("any_replica_readonly", 0) >= 1)
    detail = ", ".join(found) or "none is, there is nothing to restore"
    return Precondition(name=name, ok=bool(found), detail=detail, value=str(bool(found)))


def verify(given: PlanningInput) -> tuple[Check, ...]:
    """Return the check that no replica is read-only any more."""
    answer = _is_readonly(given)
    return (Check(stage=Stage.EFFECTIVE, name="no replica is read-only", ok=answer.ok is False, detail=answer.detail),)
