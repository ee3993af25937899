"""What is kept of the Kubernetes API's own objects: pods, Deployments, Events, EndpointSlices, budgets, ConfigMaps."""

from __future__ import annotations

from typing import Any

from torghutctl.snapshot import kept

SIDECARS = frozenset({"queue-proxy", "istio-proxy", "linkerd-proxy"})
_PHASES = ("Pending", "Running", "Succeeded", "Failed", "Unknown")


def pod(item: dict[str, Any]) -> dict[str, Any]:
    """Return a pod's names, phase, conditions, and each container's state, last state and restarts."""
    spec, status = kept.part(item.get("spec"), "spec"), kept.part(item.get("status"), "status")
    known = referenced_names(spec)
    return {
        **kept.metadata(item.get("metadata")),
        "phase": kept.state(status.get("phase"), _PHASES, "status.phase"),
        "reason": kept.word(status.get("reason")),
        "started": kept.when(status.get("startTime")),
        "conditions": kept.conditions(status.get("conditions")),
        "specContainers": [kept.name(entry.get("name")) for entry in kept.objects(spec.get("containers"))],
        "containers": [
            _container(entry, is_init=is_init, known=known)
            for key, is_init in (("initContainerStatuses", True), ("containerStatuses", False))
            for entry in kept.parts(status.get(key), key)
        ],
    }


def _container(entry: dict[str, Any], *, is_init: bool, known: frozenset[str]) -> dict[str, Any]:
    return {
        "name": kept.name(entry.get("name")),
        "isInit": is_init,
        "image": kept.image(entry.get("image")),
        "imageID": kept.image(entry.get("imageID")),
        "isReady": kept.truth(entry.get("ready"), "ready"),
        "restarts": kept.whole(entry.get("restartCount"), "restartCount") or 0,
        "state": _state(entry.get("state"), known),
        "lastState": _state(entry.get("lastState"), known),
    }


def _state(value: Any, known: frozenset[str]) -> dict[str, Any] | None:
    for kind in ("waiting", "running", "terminated"):
        detail = kept.part(value, "state").get(kind)
        if detail is not None:
            detail = kept.part(detail, f"state.{kind}")
            return {
                "kind": kind,
                "reason": kept.word(detail.get("reason")),
                "exitCode": kept.count(detail.get("exitCode")),
                "started": kept.when(detail.get("startedAt")),
                "finished": kept.when(detail.get("finishedAt")),
                "signatures": kept.signatures(detail.get("message"), known_names=known),
            }
    return None


def referenced_names(spec: dict[str, Any]) -> frozenset[str]:
    """Return the Secrets, ConfigMaps and keys a pod's spec refers to: names a message may be quoted with."""
    names: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, list):
            for entry in value:
                walk(entry)
        elif isinstance(value, dict):
            for key, entry in value.items():
                is_reference = key in (
                    "secretRef",
                    "configMapRef",
                    "secretKeyRef",
                    "configMapKeyRef",
                    "configMap",
                    "secret",
                )
                if is_reference and isinstance(entry, dict):
                    names.update(str(entry[part]) for part in ("name", "key", "secretName") if entry.get(part))
                walk(entry)

    walk([spec.get("containers"), spec.get("initContainers"), spec.get("volumes")])
    return frozenset(names)


def deployment(item: dict[str, Any]) -> dict[str, Any]:
    """Return a Deployment's wanted and actual replicas, conditions, switches and `restartedAt`."""
    spec, status = kept.needed(item.get("spec"), "spec"), kept.part(item.get("status"), "status")
    template = kept.part(spec.get("template"), "spec.template")
    return {
        **kept.metadata(item.get("metadata")),
        "replicas": 1 if spec.get("replicas") is None else kept.whole(spec["replicas"], "spec.replicas"),
        "isPaused": kept.truth(spec.get("paused"), "spec.paused") or False,
        "strategy": kept.word(kept.table(spec.get("strategy")).get("type")),
        "observedGeneration": kept.count(status.get("observedGeneration")),
        "updatedReplicas": kept.whole(status.get("updatedReplicas"), "status.updatedReplicas") or 0,
        "readyReplicas": kept.whole(status.get("readyReplicas"), "status.readyReplicas") or 0,
        "availableReplicas": kept.whole(status.get("availableReplicas"), "status.availableReplicas") or 0,
        "conditions": kept.conditions(status.get("conditions")),
        "templateRestartedAt": kept.metadata(template.get("metadata"))["restartedAt"],
        **container_settings(template.get("spec")),
    }


def container_settings(pod_spec: Any) -> dict[str, Any]:
    """Return the first container's image and its variables, of a pod template's spec."""
    containers = [
        entry
        for entry in kept.parts(kept.part(pod_spec, "spec").get("containers"), "containers")
        if entry.get("name") not in SIDECARS
    ]
    first = containers[0] if containers else {}
    return {"image": kept.image(first.get("image")), "variables": kept.variables(kept.parts(first.get("env"), "env"))}


def configmap(item: dict[str, Any]) -> dict[str, Any]:
    """Return a ConfigMap's keys, and the values that may be shown."""
    return {**kept.metadata(item.get("metadata")), "variables": kept.variables(kept.part(item.get("data"), "data"))}


def event(item: dict[str, Any]) -> dict[str, Any]:
    """Return an Event as type, reason, object, count and times; never its message."""
    subject, series = kept.table(item.get("involvedObject") or item.get("regarding")), kept.table(item.get("series"))
    return {
        "type": kept.word(item.get("type")),
        "reason": kept.word(item.get("reason")),
        "kind": kept.word(subject.get("kind")),
        "name": kept.name(subject.get("name")),
        "count": kept.count(item.get("count")) or kept.count(series.get("count")) or 1,
        "first": kept.when(item.get("firstTimestamp") or item.get("eventTime")),
        "last": kept.when(item.get("lastTimestamp") or series.get("lastObservedTime") or item.get("eventTime")),
    }


def endpointslice(item: dict[str, Any]) -> dict[str, Any]:
    """Return whose slice it is and how many of its addresses are ready; an unset condition counts as ready (API rule)."""
    endpoints = kept.parts(item.get("endpoints"), "endpoints")
    states = [kept.truth(kept.part(entry.get("conditions"), "conditions").get("ready"), "ready") for entry in endpoints]
    ready = [entry for entry, is_ready in zip(endpoints, states, strict=True) if is_ready is not False]
    return {
        **kept.metadata(item.get("metadata")),
        "ready": sum(len(entry.get("addresses") or []) for entry in ready),
        "all": sum(len(entry.get("addresses") or []) for entry in endpoints),
    }


def disruption_budget(item: dict[str, Any]) -> dict[str, Any]:
    """Return a PodDisruptionBudget's counts; one that expects no pods protects none."""
    status = kept.table(item.get("status"))
    fields = ("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods")
    return {**kept.metadata(item.get("metadata")), **{key: kept.count(status.get(key)) for key in fields}}
