"""The one-process TA where it stands in the FlinkDeployment's place: a Deployment, suspended by having no replica."""

from __future__ import annotations

from torghut_core.clock import utc_datetime
from torghutctl.planning.yaml_document import UneditableError, is_sequence, parse
from torghutctl.procedures.flink_job import FILE as FLINK_FILE
from torghutctl.procedures.specification import FileEditor, PlanningInput, open_manifest

FILE = "ta/deployment.yaml"
RECORDED = "torghut.proompteng.ai/replicas-when-running"
"""Annotation that keeps the count of replicas while there is none."""
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"


def open_process(given: PlanningInput) -> tuple[FileEditor, int] | None:
    """Return an editor of the Deployment's manifest and its document; None where a FlinkDeployment stands there instead."""
    if given.tree.file(FILE) is None or (given.tree.file(FLINK_FILE) is not None and _lists_flink(given)):
        return None
    return open_manifest(given, FILE, "Deployment", given.environment.names.flink_deployment)


def _lists_flink(given: PlanningInput) -> bool:
    """Tell whether the kustomization builds the FlinkDeployment; where both files stand and nothing is said, it does."""
    file = given.tree.file("ta/kustomization.yaml")
    if file is None:
        return True
    yaml = parse(file.path, file.data)
    listed = yaml.node((0, "resources"))
    names = [yaml.value((0, "resources", n)) for n in range(len(listed.value) if is_sequence(listed) else 0)]
    return FLINK_FILE.rsplit("/", 1)[1] in names


def suspend(editor: FileEditor, index: int) -> None:
    """Plan no replica, and record how many there were."""
    replicas = editor.yaml.value((index, "spec", "replicas")) or "1"
    if replicas == "0":
        return
    editor.set((index, "metadata", "annotations", RECORDED), replicas, label=RECORDED, is_text=True)
    editor.set((index, "spec", "replicas"), "0", label="spec.replicas", is_text=False)


def resume(editor: FileEditor, index: int) -> None:
    """Plan the recorded count of replicas; one where none was recorded. Raises UneditableError for no count."""
    if editor.yaml.value((index, "spec", "replicas")) != "0":
        return
    recorded = editor.yaml.value((index, "metadata", "annotations", RECORDED)) or "1"
    if not recorded.isdecimal() or recorded == "0" or recorded.startswith("0"):
        raise UneditableError(editor.source.path, f"{RECORDED}={recorded[:40]!r} is no count of replicas")
    editor.set((index, "spec", "replicas"), recorded, label="spec.replicas", is_text=False)


def restart(editor: FileEditor, index: int, at_ns: int) -> None:
    """Plan a new `restartedAt` on the pod template, UTC seconds."""
    stamp = utc_datetime(at_ns).strftime("%Y-%m-%dT%H:%M:%SZ")
    address = (index, "spec", "template", "metadata", "annotations", RESTARTED_AT)
    editor.set(address, stamp, label=RESTARTED_AT, is_text=True, is_restart=True)
