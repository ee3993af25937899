"""What suspend-ta, resume-ta, restart-ta and replay-ta share: the FlinkDeployment's manifest and its nonce."""

from __future__ import annotations

import re
from collections.abc import Iterator

from torghutctl.planning.yaml_document import UneditableError, parse
from torghutctl.procedures.specification import FileEditor, PlanningInput, open_manifest
from torghutctl.snapshot.repository import Tree

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


def other_jobs(given: PlanningInput) -> list[tuple[str, str]]:
    """Return the FlinkDeployments under the gitops path beside the one that is meant, as (file, name), by name."""
    own = given.environment.names.flink_deployment
    return sorted(
        {(path, name) for path, _, name in all_jobs(given.tree) if name != own}, key=lambda item: (item[1], item[0])
    )


def all_jobs(tree: Tree) -> Iterator[tuple[str, int, str]]:
    """Yield every FlinkDeployment of a tree: file, index of its document, name."""
    for path, file in sorted(tree.files.items()):
        if not path.endswith((".yaml", ".yml")) or b"FlinkDeployment" not in file.data:
            continue
        yaml = parse(path, file.data)
        for index in yaml.find("FlinkDeployment"):
            yield path, index, yaml.value((index, "metadata", "name")) or ""
