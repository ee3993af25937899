"""Rules of the Argo CD Application: sync, last operation, health. It explains nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torghutctl.health import reading
from torghutctl.health.model import Finding, Level, Moment, graced, newest
from torghutctl.snapshot import sources
from torghutctl.snapshot.facts import Facts, conditions
from torghutctl.snapshot.kept import OTHER

NAME = "argocd"
_SHOWN = 8
_WORDS = ("sync", "health", "operation")


def judge(facts: Facts, moment: Moment) -> list[Finding]:
    """Return the Application's findings."""
    found = reading.required(facts, NAME, sources.ARGOCD_APPLICATION)
    application = facts.value(sources.ARGOCD_APPLICATION)
    if application is None:
        return found
    strange = [f"{what} is a word this program does not know" for what in _WORDS if application[what] == OTHER]
    if strange:
        message = f"the Application's {strange[0]}"
        return [
            Finding(component=NAME, reason="unreadable", level=Level.UNKNOWN, message=message, evidence=tuple(strange))
        ]
    return [*found, *_operation(application), *_sync(application, moment), *_health(application, moment)]


def _operation(application: Mapping[str, Any]) -> list[Finding]:
    if application["operation"] not in ("Failed", "Error"):
        return []
    return [
        Finding(
            component=NAME,
            reason="argocd_sync_failed",
            level=Level.DEGRADED,
            message="the last sync failed: what was merged is not applied",
            since=application["operationFinished"],
            evidence=(
                f"operationState.phase {application['operation']}, sync {application['sync'] or 'none'}",
                *(f"its message speaks of {item['signature']}" for item in application["operationSignatures"]),
            ),
        )
    ]


def _sync(application: Mapping[str, Any], moment: Moment) -> list[Finding]:
    """An Application that was synced at T cannot have been out of sync before T: that bounds an unknown beginning."""
    if application["sync"] == "Synced":
        return []
    synced = application["operationFinished"] if application["operation"] == "Succeeded" else None
    bound = newest(synced, application["deployed"])
    if application["operation"] == "Running":
        bound = newest(bound, application["operationStarted"])
    if application["sync"] != "OutOfSync":
        error = conditions(application).get("ComparisonError")
        finding = Finding(
            component=NAME,
            reason="argocd_unhealthy",
            level=Level.DEGRADED,
            message="Argo CD cannot tell whether git and cluster agree",
            since=error.since if error is not None else None,
            evidence=(f"sync {application['sync'] or 'none'}",),
        )
        return [graced(finding, moment, not_before=bound)]
    deviating = [f"{item['kind']}/{item['name']}" for item in application["deviating"] if item["sync"] == "OutOfSync"]
    finding = Finding(
        component=NAME,
        reason="argocd_out_of_sync",
        level=Level.DEGRADED,
        message="git and cluster differ" + ("" if application["isAutoSynced"] else "; it is synced by hand"),
        evidence=(
            f"sync OutOfSync at revision {(application['revision'] or 'none')[:12]}",
            *([f"out of sync: {', '.join(deviating[:_SHOWN])}"] if deviating else []),
        ),
    )
    return [graced(finding, moment, not_before=bound)]


def _health(application: Mapping[str, Any], moment: Moment) -> list[Finding]:
    health = application["health"]
    if health in ("Healthy", "Suspended"):
        return []
    bound = None
    if application["healthSince"] is None and health == "Progressing":
        # A rollout follows the sync that caused it.
        bound = newest(application["operationFinished"], application["operationStarted"], application["deployed"])
    bad = [
        f"{item['kind']}/{item['name']} {item['health']}"
        for item in application["deviating"]
        if item["health"] not in (None, "Healthy", "Suspended")
    ]
    finding = Finding(
        component=NAME,
        reason="argocd_unhealthy",
        level=Level.DEGRADED,
        message=f"Argo CD calls the application {health or 'nothing yet'}",
        since=application["healthSince"],
        evidence=(f"health {health or 'none'}", *([f"its resources: {', '.join(bad[:_SHOWN])}"] if bad else [])),
    )
    return [graced(finding, moment, not_before=bound)]
