"""The job that a replay starts anew and brings back: a FlinkDeployment, or the one process that stands in its place."""

from __future__ import annotations

from dataclasses import dataclass

from torghutctl.planning.plan import Precondition
from torghutctl.procedures.evidence import job, not_known, read_source
from torghutctl.procedures.flink_job import open_job, raise_nonce
from torghutctl.procedures.specification import FileEditor, PlanningInput
from torghutctl.procedures.ta_process import open_process, resume

GROUP_OF_PODS = "torghut.proompteng.ai/consumer-group"
"""Annotation on the pod template: a ConfigMap's new value reaches a pod that is new, and this makes one."""


@dataclass(frozen=True, kw_only=True)
class ReplayJob:
    """The manifest that holds the job, opened."""

    editor: FileEditor
    index: int
    is_process: bool

    def begin(self, group: str) -> None:
        """Plan a start in another group: without state, or for a process with pods that read the ConfigMap anew."""
        if self.is_process:
            self._roll(group)
            return
        self._start("stateless")

    def complete(self, group: str) -> None:
        """Plan what is left of a start that was merged in part."""
        if self.is_process:
            self._roll(group)
            return
        self._set(("spec", "job", "upgradeMode"), "stateless")
        self._set(("spec", "job", "state"), "running")

    def leave(self, group: str, upgrade_mode: str) -> None:
        """Plan the way back to the steady group."""
        if self.is_process:
            self._roll(group)
            return
        self._start(upgrade_mode)

    def _start(self, upgrade_mode: str) -> None:
        self._set(("spec", "job", "upgradeMode"), upgrade_mode)
        raise_nonce(self.editor, self.index)
        self._set(("spec", "job", "state"), "running")

    def _roll(self, group: str) -> None:
        address = (self.index, "spec", "template", "metadata", "annotations", GROUP_OF_PODS)
        self.editor.set(address, group, label=GROUP_OF_PODS, is_text=True)
        resume(self.editor, self.index)

    def _set(self, path: tuple[str, ...], wanted: str) -> None:
        self.editor.set((self.index, *path), wanted, label=".".join(path), is_text=True)


def open_replay_job(given: PlanningInput) -> ReplayJob:
    """Return the job of this tree. Raises UneditableError where there is none."""
    process = open_process(given)
    editor, index = process or open_job(given)
    return ReplayJob(editor=editor, index=index, is_process=process is not None)


def job_read(given: PlanningInput, target: ReplayJob) -> Precondition:
    """Ask whether the live job can be read."""
    name = "the TA job can be read"
    if target.is_process:
        reading = read_source(given, "ta/deployment")
        if not isinstance(reading.value, dict):
            return not_known(name, reading)
        detail = f"Deployment with {reading.value.get('replicas')} replicas"
        return Precondition(name=name, ok=True, detail=detail, value="read")
    found = job(given)
    if found is None:
        return not_known(name, read_source(given, "ta/flinkdeployment"))
    detail = f"wanted {found.get('wantedState')}, job {found.get('job')}, upgradeMode {found.get('upgradeMode')}"
    return Precondition(name=name, ok=True, detail=detail, value="read")
