"""What git wants, read at the newest base of the repository: TA job state and group, trading image and switches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torghutctl.adapters.git_user import Credential
from torghutctl.errors import InputError, TorghutError
from torghutctl.snapshot import kept, resources, sources, workloads
from torghutctl.snapshot.collector import Task
from torghutctl.snapshot.facts import SCHEDULER
from torghutctl.snapshot.http import ReadError
from torghutctl.snapshot.model import Failure, Names


def tasks(
    repo: str | None, base: str, gitops_path: str, names: Names, credential: Credential | None = None
) -> list[Task]:
    """Return the task that reads the repository; none when there is none."""
    if repo is None:
        return []

    def ask(_seconds: float) -> dict[str, Any]:
        from torghutctl.snapshot.repository import open_repository

        try:
            with open_repository(repo, base, credential=credential) as repository:
                tree = repository.tree(gitops_path)
                files = {path: file.data for path, file in tree.files.items()}
                if not files:
                    raise ReadError(Failure.ABSENT, f"--gitops-path {gitops_path}: holds nothing on {base}")
                return {"commit": tree.commit, **desired_state(files, names)}
        except InputError as error:  # names the option in our own words
            raise ReadError(Failure.ABSENT, str(error)) from error
        except TorghutError as error:  # may quote git
            raise ReadError(Failure.UNREACHABLE, "the repository cannot be read") from error

    return [Task(source=sources.DESIRED, read=ask)]


def desired_state(files: Mapping[str, bytes], names: Names) -> dict[str, Any]:
    """Return the wanted state in a tree of manifests; a file that is not YAML says nothing.

    Raises ReadError, naming the file, when a manifest of the system misuses a field.
    """
    found: dict[str, Any] = {}
    for path, data in sorted(files.items()):
        if not path.endswith((".yaml", ".yml")):
            continue
        for document in _documents(data):
            try:
                found |= _wanted(document, names)
            except kept.MisusedFieldError as error:
                raise ReadError(Failure.UNPARSABLE, f"{path}: {error}") from error
    # Where a scheduler submits the orders, git's wish for trading is what it says of that one.
    scheduler = found.pop("scheduler", None)
    return found if scheduler is None else {**found, "trading": scheduler}


def _wanted(document: Mapping[str, Any], names: Names) -> dict[str, Any]:
    kind, name = document.get("kind"), kept.table(document.get("metadata")).get("name")
    spec = kept.table(document.get("spec"))
    if kind == "FlinkDeployment" and name == names.flink_deployment:
        job = resources.flink_deployment(dict(document))
        return {"jobState": job["wantedState"], "upgradeMode": job["upgradeMode"], "restartNonce": job["restartNonce"]}
    if kind == "ConfigMap" and name == f"{names.flink_deployment}-config":
        shown = {item["name"]: item.get("value") for item in workloads.configmap(dict(document))["variables"]}
        return {"groupId": shown.get("TA_GROUP_ID"), "offsetReset": shown.get("TA_AUTO_OFFSET_RESET")}
    if kind == "Service" and name == names.service and "knative" in str(document.get("apiVersion")):
        template = kept.part(spec.get("template"), "spec.template")
        return {"trading": workloads.container_settings(template.get("spec"))}
    if kind == "Deployment" and name == names.flink_deployment:
        return {"jobState": "suspended" if spec.get("replicas") == 0 else "running"}
    if kind == "Deployment" and name == SCHEDULER:
        template = kept.part(spec.get("template"), "spec.template")
        return {"scheduler": workloads.container_settings(template.get("spec"))}
    if kind == "Deployment" and name == names.ws_deployment:
        return {"forwarderReplicas": kept.whole(spec.get("replicas"), "spec.replicas")}
    return {}


def _documents(data: bytes) -> list[dict[str, Any]]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return [item for item in YAML(typ="safe", pure=True).load_all(data) if isinstance(item, dict)]
    except (YAMLError, UnicodeDecodeError, ValueError):
        return []
