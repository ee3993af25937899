"""What suspend-ta, resume-ta, restart-ta and replay-ta share: the FlinkDeployment's manifest and its nonce."""

from __future__ import annotations

import re

from torghutctl.planning.yaml_document import UneditableError
from torghutctl.procedures.specification import FileEditor, PlanningInput, open_manifest

FILE = "ta/flinkdeployment.yaml"
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")


def raise_nonce(editor: FileEditor, index: int) -> None:
    """Plan `spec.restartNonce` one higher than the base has it; 1 where there is none."""
    address = (index, "spec", "restartNonce")
    current = editor.yaml.value(address)
    if current is not None and _WHOLE.fullmatch(current) is None:
        raise UneditableError(editor.source.path, f"spec.restartNonce={current[:40]!r} is not a whole decimal number")
    editor.set(address, str(int(current or 0) + 1), label="spec.restartNonce", is_text=False, is_restart=True)


def open_job(given: PlanningInput) -> tuple[FileEditor, int]:
    """Return an editor of the FlinkDeployment's manifest and the index of its document."""
    return open_manifest(given, FILE, "FlinkDeployment", given.environment.names.flink_deployment)
