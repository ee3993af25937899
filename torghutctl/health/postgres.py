"""Rules of PostgreSQL under CloudNativePG: phase and ready instances."""

from __future__ import annotations

from torghutctl.health import pods, reading
from torghutctl.health.model import Finding, Level, Moment
from torghutctl.snapshot import sources
from torghutctl.snapshot.facts import Facts, conditions
from torghutctl.snapshot.kept import OTHER

NAME = "postgres"
_HEALTHY = "Cluster in healthy state"


def judge(facts: Facts, moment: Moment) -> list[Finding]:
    """Return PostgreSQL's findings."""
    found = reading.required(facts, NAME, sources.POSTGRES_CLUSTER)
    if facts.value(sources.POSTGRES_CLUSTER) is not None:
        found += _cluster(facts)
    return found + pods.judge(NAME, facts, facts.postgres_pods(), moment)


def _cluster(facts: Facts) -> list[Finding]:
    cluster = facts.value(sources.POSTGRES_CLUSTER)
    wanted = cluster["wantedInstances"] or cluster["instances"]
    ready, phase = cluster["readyInstances"], cluster["phase"]
    condition = conditions(cluster).get("Ready")
    since = condition.since if condition is not None and not condition.is_true else None
    evidence = (f"Cluster {facts.names.cnpg_cluster}: phase {phase or 'none'}, {ready} of {wanted} instances ready",)

    def finding(reason: str, level: Level, message: str) -> list[Finding]:
        return [Finding(component=NAME, reason=reason, level=level, message=message, since=since, evidence=evidence)]

    if cluster["isUnrecoverable"]:
        return finding("postgres_down", Level.DOWN, "the operator calls the cluster unrecoverable")
    if ready == 0:
        return finding("postgres_down", Level.DOWN, "no instance is ready")
    if ready < (wanted or 0):
        return finding("postgres_degraded", Level.DEGRADED, f"{ready} of {wanted} instances are ready")
    if phase == OTHER:
        message = "the cluster's phase is a text this program does not know, with all instances ready"
        return finding("unreadable", Level.UNKNOWN, message)
    if phase != _HEALTHY:
        return finding("postgres_degraded", Level.DEGRADED, f"the cluster's phase is: {phase or 'none yet'}")
    if condition is not None and condition.is_false:
        return finding("postgres_degraded", Level.DEGRADED, "the cluster's condition Ready is False")
    return []
