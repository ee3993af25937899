"""Rules of ClickHouse Keeper: is any of it ready."""

from __future__ import annotations

from torghutctl.health import pods
from torghutctl.health.model import Finding, Level, Moment
from torghutctl.snapshot import sources
from torghutctl.snapshot.facts import Facts

NAME = "keeper"


def judge(facts: Facts, moment: Moment) -> list[Finding]:
    """Return Keeper's findings. None of its sources is required: what was not read is listed and says nothing."""
    alive = [pod for pod in facts.keeper_pods() if pod.is_alive]
    installations = facts.value(sources.KEEPER_INSTALLATION) or []
    found: list[Finding] = []
    ready = sum(pod.is_ready for pod in alive)
    lines = []
    if facts.pods() is not None and (installations or facts.keeper_pods()) and ready == 0:
        lines.append(f"{len(alive)} Keeper pods, 0 ready")
    for item in facts.value(sources.ENDPOINTSLICES) or []:
        service = item["labels"].get("kubernetes.io/service-name") or ""
        if service.startswith("keeper-") and item["ready"] == 0 and ready == 0:
            lines.append(f"EndpointSlice of Service {service}: 0 ready addresses")
    if lines:
        found.append(
            Finding(
                component=NAME,
                reason="keeper_down",
                level=Level.DOWN,
                message="no Keeper is ready: replicated tables turn read-only",
                since=pods.not_ready_since(alive),
                evidence=tuple(lines),
            )
        )
    return found + pods.judge(NAME, facts, alive, moment)
