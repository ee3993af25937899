"""Whether a change is true yet: what git wants against the live objects, the newest revision and the effective state.

Checks compare with git as it is after the merge, never with a plan, so that following can be taken up by anyone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from torghutctl.planning.yaml_document import UneditableError
from torghutctl.procedures.evidence import job, read_source
from torghutctl.procedures.flink_job import open_job
from torghutctl.procedures.specification import PlanningInput, open_manifest
from torghutctl.procedures.switch_search import find_switch
from torghutctl.procedures.switches import KNATIVE_FILE, is_false, is_true
from torghutctl.snapshot.model import Failure, Reading


class Stage(StrEnum):
    """The stretches of the way from a merge to the truth, in order."""

    LIVE = "live object"
    REVISION = "newest revision"
    EFFECTIVE = "effective state"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that has to come true."""

    stage: Stage
    name: str
    ok: bool | None
    """None says that it could not be read, which is no yes."""
    detail: str


Verifier = Callable[[PlanningInput], tuple[Check, ...]]


def switch_checks(given: PlanningInput, *names: str) -> tuple[Check, ...]:
    """Check that switches are everywhere as `knative-service.yaml` has them."""
    path = f"{given.tree.folder}/{KNATIVE_FILE}" if given.tree.folder else KNATIVE_FILE
    checks: list[Check] = []
    service = read_source(given, "trading/service")
    newest = (service.value or {}).get("newestCreated")
    revision = _revision(given, newest)
    for name in names:
        wanted = find_switch(given.tree, name).value_in(path)
        if wanted is None:
            continue
        if service.failure is not Failure.NOT_PRESENT:
            live = _variable(service.value, name)
            checks.append(_compare(Stage.LIVE, f"{name} of the Knative Service", wanted, live))
            own = _variable(revision, name)
            is_ready = newest is not None and newest == (service.value or {}).get("newestReady")
            checks.append(_compare(Stage.REVISION, f"{name} of revision {newest}", wanted, own))
            checks.append(
                Check(stage=Stage.REVISION, name=f"revision {newest} is Ready", ok=is_ready, detail=f"Ready={is_ready}")
            )
        checks.append(_effective(given, name, wanted))
    return tuple(checks)


def _effective(given: PlanningInput, name: str, wanted: str) -> Check:
    key = {"TRADING_ENABLED": "enabled", "TRADING_KILL_SWITCH_ENABLED": "killSwitch"}[name]
    readings = given.snapshot.readings if given.snapshot is not None else {}
    answers = {s.rsplit("/", 1)[1]: r for s, r in readings.items() if s.startswith("trading/status/")}
    said = {pod: (reading.value or {}).get(key) for pod, reading in answers.items()}
    ok = bool(said) and all(value is is_true(wanted) for value in said.values())
    detail = ", ".join(f"{pod}: {key}={value}" for pod, value in sorted(said.items())) or "no trading process answers"
    return Check(stage=Stage.EFFECTIVE, name=f"/trading/status {key}={is_true(wanted)}".lower(), ok=ok, detail=detail)


def job_checks(given: PlanningInput) -> tuple[Check, ...]:
    """Check the FlinkDeployment against its manifest, and its job against the wanted state."""
    editor, index = open_job(given)
    state = editor.yaml.value((index, "spec", "job", "state")) or "running"
    nonce = editor.yaml.value((index, "spec", "restartNonce"))
    found = job(given)
    if found is None:
        return (_unread(Stage.LIVE, "the FlinkDeployment", read_source(given, "ta/flinkdeployment")),)
    live_nonce = found.get("restartNonce")
    is_current = found.get("observedGeneration") == found.get("generation")
    checks = [
        _compare(Stage.LIVE, "spec.job.state", state, found.get("wantedState")),
        _compare(Stage.LIVE, "spec.restartNonce", nonce, None if live_nonce is None else str(live_nonce)),
        Check(stage=Stage.LIVE, name="the operator has seen it", ok=is_current, detail=_seen(found)),
    ]
    wanted, key = ("SUSPENDED", "lifecycle") if state == "suspended" else ("RUNNING", "job")
    checks.append(_compare(Stage.EFFECTIVE, f"{key} {wanted}", wanted, found.get(key)))
    return tuple(checks)


def _seen(found: Mapping[str, Any]) -> str:
    return f"generation {found.get('generation')}, observed {found.get('observedGeneration')}"


def forwarder_checks(given: PlanningInput) -> tuple[Check, ...]:
    """Check the forwarder's Deployment against its manifest, and that one pod is ready."""
    from torghutctl.procedures.restart_ws import FILE, RESTARTED_AT

    editor, index = open_manifest(given, FILE, "Deployment", given.environment.names.ws_deployment)
    wanted = editor.yaml.value((index, "spec", "template", "metadata", "annotations", RESTARTED_AT))
    found = read_source(given, "forwarder/deployment").value or {}
    readings = given.snapshot.readings if given.snapshot is not None else {}
    ready = [r.value.get("ready") for s, r in readings.items() if s.startswith("forwarder/readyz/") and r.is_ok]
    is_current = found.get("observedGeneration") == found.get("generation") and found.get("updatedReplicas") == 1
    return (
        _compare(Stage.LIVE, "restartedAt", wanted, found.get("templateRestartedAt")),
        Check(
            stage=Stage.LIVE, name="one updated pod", ok=is_current, detail=f"updated {found.get('updatedReplicas')}"
        ),
        Check(stage=Stage.EFFECTIVE, name="/readyz", ok=ready == [True], detail=f"ready={ready}"),
    )


def image_checks(given: PlanningInput) -> tuple[Check, ...]:
    """Check that the Knative Service and its newest, Ready revision have the manifest's image."""
    editor, index = open_manifest(given, KNATIVE_FILE, "Service", given.environment.names.service)
    wanted = editor.yaml.value((index, "spec", "template", "spec", "containers", 0, "image"))
    service = read_source(given, "trading/service").value or {}
    newest = service.get("newestCreated")
    revision = _revision(given, newest) or {}
    is_ready = newest is not None and newest == service.get("newestReady")
    return (
        _compare(Stage.LIVE, "image of the Knative Service", wanted, service.get("image")),
        _compare(Stage.REVISION, f"image of revision {newest}", wanted, revision.get("image")),
        Check(stage=Stage.REVISION, name=f"revision {newest} is Ready", ok=is_ready, detail=f"Ready={is_ready}"),
    )


def group_checks(given: PlanningInput) -> tuple[Check, ...]:
    """Check the TA's group and offset reset in the live ConfigMap, then its job."""
    name = f"{given.environment.names.flink_deployment}-config"
    editor, index = open_manifest(given, "ta/configmap.yaml", "ConfigMap", name)
    live = read_source(given, "ta/configmap")
    if not isinstance(live.value, dict):
        return (_unread(Stage.LIVE, f"the ConfigMap {name}", live), *job_checks(given))
    return (
        *(
            _compare(Stage.LIVE, key, editor.yaml.value((index, "data", key)), _variable(live.value, key))
            for key in ("TA_GROUP_ID", "TA_AUTO_OFFSET_RESET")
        ),
        *job_checks(given),
    )


def check_all(verifier: Verifier, given: PlanningInput) -> tuple[Check, ...]:
    """Return the checks, or the one that says why they cannot be made."""
    try:
        return verifier(given)
    except UneditableError as error:
        return (Check(stage=Stage.LIVE, name="what git wants", ok=False, detail=str(error)),)


def _revision(given: PlanningInput, name: str | None) -> Mapping[str, Any] | None:
    listed: list[Mapping[str, Any]] = read_source(given, "trading/revisions").value or []
    return next((item for item in listed if item.get("name") == name), None)


def _variable(value: Mapping[str, Any] | None, name: str) -> str | None:
    return next((v.get("value") for v in (value or {}).get("variables", []) if v.get("name") == name), None)


def _unread(stage: Stage, name: str, reading: Reading) -> Check:
    failure = (reading.failure or Failure.UNREACHABLE).value
    why = f" ({reading.detail})" if reading.detail else ""
    return Check(stage=stage, name=name, ok=None, detail=f"could not be read: {failure}{why}")


def _compare(stage: Stage, name: str, wanted: str | None, live: str | None) -> Check:
    same_switch = (is_true(wanted) and is_true(live)) or (live is not None and is_false(wanted) and is_false(live))
    return Check(stage=stage, name=name, ok=wanted == live or same_switch, detail=f"git {wanted}, live {live}")
