"""Rules on pods, the same for every component: missing configuration, image, memory, place on a node, crash loops."""

from __future__ import annotations

from collections.abc import Iterable

from torghutctl.health.model import Finding, Level, Moment, graced, newest
from torghutctl.snapshot.facts import ContainerFact, Facts, PodFact, belongs_to

_CONFIG = ("CreateContainerConfigError", "CreateContainerError")
_IMAGE = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
_RESTARTS_THAT_OUTLAST_GRACE = 5
"""Back-off doubles from 10 s: by the fifth restart 10+20+40+80+160 = 310 s were waited, longer than the grace.

A pod that is itself younger than the grace cannot have waited so long, whatever its counter says."""
_EVENTS_SHOWN = 2
_MISSING = {"secret_missing": "Secret", "configmap_missing": "ConfigMap", "key_missing": "key"}
_MESSAGES = {
    "missing_config": "lacks configuration it refers to",
    "image_pull": "cannot pull its image",
    "oom_killed": "was killed for its memory",
    "unschedulable": "finds no node",
    "crash_loop": "keeps crashing",
}


def judge(component: str, facts: Facts, pods: Iterable[PodFact], moment: Moment) -> list[Finding]:
    """Return a component's pod findings: down when no pod of it is ready, else degraded; info within the grace."""
    alive = [pod for pod in pods if pod.is_alive]
    level = Level.DEGRADED if any(pod.is_ready for pod in alive) else Level.DOWN
    findings = []
    for pod in alive:
        for reason, container, evidence in _reasons(pod):
            since, outlasts = _since(pod, reason, container, moment)
            where = f"pod {pod.name}" + (f", container {container.name}," if container else "")
            finding = Finding(
                component=component,
                reason=reason,
                level=level,
                message=f"{where} {_MESSAGES[reason]}",
                since=since,
                evidence=(*evidence, *facts.warnings(pod.name)[:_EVENTS_SHOWN]),
            )
            findings.append(finding if outlasts else graced(finding, moment))
    return findings


def behind(facts: Facts, deployment: str) -> tuple[str, ...]:
    """Return, as evidence, what ails the pods of a service that is no component itself; nothing where they are well.

    Visuals and the guardrails exporter only carry what others are judged by: their answers that fail are judged.
    """
    everything = facts.pods()
    if everything is None:
        return ()
    own = [pod for pod in everything if pod.is_alive and belongs_to(pod, deployment)]
    if not own:
        return (f"{deployment}: there is no pod of it",)
    lines: list[str] = []
    for pod in own:
        ailments = [line for _, _, evidence in _reasons(pod) for line in evidence]
        if not ailments and not pod.is_ready:
            ailments = [f"pod {pod.name}: {pod.phase or 'no phase'}, not ready"]
        lines += [*ailments, *(facts.warnings(pod.name)[:_EVENTS_SHOWN] if ailments else ())]
    return tuple(lines)


def _reasons(pod: PodFact) -> Iterable[tuple[str, ContainerFact | None, tuple[str, ...]]]:
    scheduled = pod.conditions.get("PodScheduled")
    if scheduled is not None and scheduled.is_false and scheduled.reason == "Unschedulable":
        yield "unschedulable", None, (f"pod {pod.name}: PodScheduled False, Unschedulable",)
    for container in pod.containers:
        state = f"pod {pod.name}, container {container.name}: {container.state} {container.reason or ''}".rstrip()
        if container.state == "waiting" and container.reason in _CONFIG:
            yield "missing_config", container, (state, *_missing_names(pod, container))
        elif container.state == "waiting" and container.reason in _IMAGE:
            yield "image_pull", container, (f"{state}, image {container.image or 'unknown'}",)
        elif _is_memory_kill(container):
            yield "oom_killed", container, (f"{state}; OOMKilled after {container.restarts} restarts",)
        elif container.state == "waiting" and container.reason == "CrashLoopBackOff":
            code = f", last exit code {container.last_exit_code}" if container.last_exit_code is not None else ""
            yield "crash_loop", container, (f"{state}, {container.restarts} restarts{code}",)


def _is_memory_kill(container: ContainerFact) -> bool:
    if container.state == "terminated":
        return container.reason == "OOMKilled"
    return container.last_reason == "OOMKilled" and not container.is_ready


def _missing_names(pod: PodFact, container: ContainerFact) -> Iterable[str]:
    for entry in container.signatures:
        kind = _MISSING.get(str(entry.get("signature")))
        names = entry.get("names", {})
        if kind is not None and names:
            name = " of ".join(str(names[part]) for part in ("object", "key", "holder") if part in names)
            yield f"pod {pod.name}: {kind} {name} is missing"


def _since(pod: PodFact, reason: str, container: ContainerFact | None, moment: Moment) -> tuple[str | None, bool]:
    """Return when the state began, as far as it is known, and whether it surely outlasts the grace."""
    if reason == "unschedulable":
        return pod.conditions["PodScheduled"].since or pod.created, False
    ready = pod.conditions.get("Ready")
    began = ready.since if ready is not None and not ready.is_true else None
    if container is not None and reason == "oom_killed":
        began = began or container.last_finished
    outlasts = (
        container is not None
        and reason in ("crash_loop", "oom_killed")
        and container.restarts >= _RESTARTS_THAT_OUTLAST_GRACE
        and not moment.is_in_grace(since=pod.created)
    )
    return began or pod.created, outlasts


def not_ready_since(pods: Iterable[PodFact]) -> str | None:
    """Return since when the newest of these pods is not ready, None when that is not known."""
    times = []
    for pod in pods:
        ready = pod.conditions.get("Ready")
        if ready is None or not ready.is_true:
            times.append((ready.since if ready is not None else None) or pod.created)
    return newest(*times)
