"""Whether a change is true yet: what git wants against the live objects, the newest revision and the effective state.

Checks compare with git as it is after the merge, never with a plan, so that following can be taken up by anyone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from torghutctl.planning.yaml_document import UneditableError, parse
from torghutctl.procedures.evidence import job, read_source
from torghutctl.procedures.flink_job import open_job
from torghutctl.procedures.specification import PlanningInput, open_manifest
from torghutctl.procedures.switch_search import find_switch
from torghutctl.procedures.switches import is_false, is_true
from torghutctl.procedures.ta_process import RESTARTED_AT, open_process
from torghutctl.procedures.trading_workload import trading_workload
from torghutctl.snapshot.facts import SCHEDULER, PodFact, belongs_to, pod
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


_NO_WORKLOAD = Check(
    stage=Stage.LIVE,
    name="the workload that submits orders",
    ok=None,
    detail="no manifest, or several, could be it: neither a scheduler Deployment nor the Knative Service stands out",
)
Verifier = Callable[[PlanningInput], tuple[Check, ...]]


def switch_checks(given: PlanningInput, *names: str) -> tuple[Check, ...]:
    """Check that switches are in force as the workload that submits orders has them in git."""
    workload = trading_workload(given.tree, given.environment.names.service)
    if workload is None:
        return (_NO_WORKLOAD,)
    checks: list[Check] = []
    for name in names:
        settings = find_switch(given.tree, name).settings
        own = [setting for setting in settings if setting.owner == workload.owner]
        wanted = next((s.value for s in own), None) or next(
            (s.value for s in settings if s.file.path == workload.file.path), None
        )
        if wanted is None:
            continue
        live = read_source(given, "trading/scheduler" if workload.is_deployment else "trading/service")
        checks += (
            _of_deployment(live, name, wanted) if workload.is_deployment else _of_service(given, live, name, wanted)
        )
        checks.append(_effective(given, name, wanted, live if workload.is_deployment else None))
    return tuple(checks)


def _of_service(given: PlanningInput, service: Reading, name: str, wanted: str) -> Iterator[Check]:
    if service.failure is Failure.NOT_PRESENT:
        return
    newest = (service.value or {}).get("newestCreated")
    yield compare(Stage.LIVE, f"{name} of the Knative Service", wanted, _variable(service.value, name))
    own = _variable(_revision(given, newest), name)
    is_ready = newest is not None and newest == (service.value or {}).get("newestReady")
    yield compare(Stage.REVISION, f"{name} of revision {newest}", wanted, own)
    yield Check(stage=Stage.REVISION, name=f"revision {newest} is Ready", ok=is_ready, detail=f"Ready={is_ready}")


def _of_deployment(live: Reading, name: str, wanted: str) -> Iterator[Check]:
    found = live.value
    if not isinstance(found, dict):
        yield _unread(Stage.LIVE, "the Deployment that trades", live)
        return
    yield compare(Stage.LIVE, f"{name} of Deployment {found.get('name')}", wanted, _variable(found, name))
    yield _rolled_out(found)


def _rolled_out(found: Mapping[str, Any]) -> Check:
    replicas = found.get("replicas")
    ok = (
        found.get("observedGeneration") == found.get("generation")
        and found.get("updatedReplicas") == replicas
        and found.get("readyReplicas") == replicas
    )
    detail = f"updated {found.get('updatedReplicas')}, ready {found.get('readyReplicas')} of {replicas}"
    return Check(stage=Stage.REVISION, name=f"Deployment {found.get('name')} is rolled out", ok=ok, detail=detail)


def _effective(given: PlanningInput, name: str, wanted: str, deployment: Reading | None) -> Check:
    """Ask the processes that trade what they go by; one that does not say goes by its rolled out specification."""
    key, word = {
        "TRADING_ENABLED": ("enabled", "enabled"),
        "TRADING_KILL_SWITCH_ENABLED": ("killSwitch", "kill_switch_enabled"),
    }[name]
    readings = given.snapshot.readings if given.snapshot is not None else {}
    answers = {s.rsplit("/", 1)[1]: r for s, r in readings.items() if s.startswith("trading/status/")}
    if deployment is not None:
        pods = readings.get("pods")
        owned = [item for item in (pods.value or [] if pods is not None else []) if belongs_to(pod(item), SCHEDULER)]
        answers = {item["name"]: answers[item["name"]] for item in owned if item["name"] in answers}
    said = {name_: (reading.value or {}).get(key) for name_, reading in answers.items()}
    by_specification = _variable(deployment.value, name) if deployment is not None and deployment.is_ok else None
    if by_specification is not None:
        said = {name_: is_true(by_specification) if value is None else value for name_, value in said.items()}
    ok = bool(said) and all(value is is_true(wanted) for value in said.values())
    detail = (
        ", ".join(f"{pod_name}: {word}={value}".lower() for pod_name, value in sorted(said.items()))
        or "no trading process answers"
    )
    return Check(stage=Stage.EFFECTIVE, name=f"/trading/status {word}={is_true(wanted)}".lower(), ok=ok, detail=detail)


def job_checks(given: PlanningInput) -> tuple[Check, ...]:
    """Check the FlinkDeployment against its manifest, and its job against the wanted state; or the one process's."""
    process = open_process(given)
    if process is not None:
        editor, index = process
        template = (index, "spec", "template", "metadata", "annotations", RESTARTED_AT)
        return _process_checks(
            given, editor.yaml.value((index, "spec", "replicas")) or "1", editor.yaml.value(template)
        )
    editor, index = open_job(given)
    state = editor.yaml.value((index, "spec", "job", "state")) or "running"
    nonce = editor.yaml.value((index, "spec", "restartNonce"))
    found = job(given)
    if found is None:
        return (_unread(Stage.LIVE, "the FlinkDeployment", read_source(given, "ta/flinkdeployment")),)
    live_nonce = found.get("restartNonce")
    is_current = found.get("observedGeneration") == found.get("generation")
    checks = [
        compare(Stage.LIVE, "spec.job.state", state, found.get("wantedState")),
        compare(Stage.LIVE, "spec.restartNonce", nonce, None if live_nonce is None else str(live_nonce)),
        Check(stage=Stage.LIVE, name="the operator has seen it", ok=is_current, detail=_seen(found)),
    ]
    wanted, key = ("SUSPENDED", "lifecycle") if state == "suspended" else ("RUNNING", "job")
    checks.append(compare(Stage.EFFECTIVE, f"{key} {wanted}", wanted, found.get(key)))
    return tuple(checks)


def _process_checks(given: PlanningInput, replicas: str, restarted_at: str | None) -> tuple[Check, ...]:
    live = read_source(given, "ta/deployment")
    found = live.value
    if not isinstance(found, dict):
        return (_unread(Stage.LIVE, "the TA's Deployment", live),)
    readings = given.snapshot.readings if given.snapshot is not None else {}
    ready = [r.value.get("ready") for s, r in readings.items() if s.startswith("ta/readyz/") and r.is_ok]
    is_current = found.get("observedGeneration") == found.get("generation")
    wanted = [True] * int(replicas) if replicas.isdecimal() else None
    return (
        compare(Stage.LIVE, "spec.replicas", replicas, str(found.get("replicas"))),
        compare(Stage.LIVE, "restartedAt", restarted_at, found.get("templateRestartedAt")),
        Check(stage=Stage.LIVE, name="the controller has seen it", ok=is_current, detail=_seen(found)),
        Check(stage=Stage.EFFECTIVE, name="/readyz of each pod", ok=ready == wanted, detail=f"ready={ready}"),
    )


def _seen(found: Mapping[str, Any]) -> str:
    return f"generation {found.get('generation')}, observed {found.get('observedGeneration')}"


def image_checks(given: PlanningInput) -> tuple[Check, ...]:
    """Check that the workload that trades runs the manifest's image: the live object, what it rolled out, its pods."""
    workload = trading_workload(given.tree, given.environment.names.service)
    if workload is None:
        return (_NO_WORKLOAD,)
    wanted = parse(workload.file.path, workload.file.data).value((*workload.container, "image"))
    if workload.is_deployment:
        live = read_source(given, "trading/scheduler")
        found = live.value
        if not isinstance(found, dict):
            return (_unread(Stage.LIVE, "the Deployment that trades", live),)
        return (
            compare(Stage.LIVE, f"image of Deployment {found.get('name')}", wanted, found.get("image")),
            _rolled_out(found),
            _serving(given, lambda item: belongs_to(item, SCHEDULER), found.get("replicas")),
        )
    service = read_source(given, "trading/service").value or {}
    newest = service.get("newestCreated")
    revision = _revision(given, newest) or {}
    is_ready = newest is not None and newest == service.get("newestReady")
    return (
        compare(Stage.LIVE, "image of the Knative Service", wanted, service.get("image")),
        compare(Stage.REVISION, f"image of revision {newest}", wanted, revision.get("image")),
        Check(stage=Stage.REVISION, name=f"revision {newest} is Ready", ok=is_ready, detail=f"Ready={is_ready}"),
        _serving(given, lambda item: item.labels.get("serving.knative.dev/revision") == newest),
    )


def _serving(given: PlanningInput, is_own: Callable[[PodFact], bool], replicas: int | None = None) -> Check:
    """Check that each pod is Ready and answers, and that there are as many as are wanted: at least one, or `replicas`."""
    name = "each new pod is Ready and answers /trading/status"
    listed = read_source(given, "pods")
    if not listed.is_ok:
        return _unread(Stage.EFFECTIVE, name, listed)
    found = [item for item in map(pod, listed.value or []) if item.is_alive and is_own(item)]
    answers = {item.name: read_source(given, f"trading/status/{item.name}") for item in found}
    ok = all(item.is_ready and answers[item.name].is_ok for item in found)
    is_all = bool(found) if replicas is None else len(found) == replicas
    detail = ", ".join(
        f"{item.name}: Ready={item.is_ready}, /trading/status {(answers[item.name].failure or 'answers')!s}"
        for item in found
    )
    return Check(stage=Stage.EFFECTIVE, name=name, ok=ok and is_all, detail=detail or "no pod of it is there")


def group_checks(given: PlanningInput) -> tuple[Check, ...]:
    """Check the TA's group and offset reset in the live ConfigMap, then its job."""
    name = f"{given.environment.names.flink_deployment}-config"
    editor, index = open_manifest(given, "ta/configmap.yaml", "ConfigMap", name)
    live = read_source(given, "ta/configmap")
    if not isinstance(live.value, dict):
        return (_unread(Stage.LIVE, f"the ConfigMap {name}", live), *job_checks(given))
    return (
        *(
            compare(Stage.LIVE, key, editor.yaml.value((index, "data", key)), _variable(live.value, key))
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


def compare(stage: Stage, name: str, wanted: str | None, live: str | None) -> Check:
    """Return the check that a live value is the one in git; switches compare by their meaning."""
    same_switch = (is_true(wanted) and is_true(live)) or (live is not None and is_false(wanted) and is_false(live))
    return Check(stage=stage, name=name, ok=wanted == live or same_switch, detail=f"git {wanted}, live {live}")
