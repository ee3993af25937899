"""Every procedure on every style of YAML: only the planned scalars change, and `git apply` gives the same bytes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from torghut_core.rfc3339 import parse_ns
from torghutctl.environments import Environment
from torghutctl.planning.plan import Draft
from torghutctl.procedures import (
    pause_trading,
    replay_ta,
    restart_ta,
    restart_ws,
    resume_ta,
    resume_trading,
    rollback_image,
    suspend_ta,
)
from torghutctl.procedures.specification import PlanningInput
from torghutctl.snapshot.repository import HistoryEntry, Tree, TreeFile

FOLDER = "argocd/applications/torghut"
AT = "2026-03-04T05:06:07Z"
Corpus = dict[str, Callable[..., bytes]]


BESIDE = {
    "ta/configmap.yaml": b"kind: ConfigMap\ndata: {TA_GROUP_ID: torghut-ta, TA_AUTO_OFFSET_RESET: latest}\n",
    "ta/flinkdeployment.yaml": b"kind: FlinkDeployment\nspec: {restartNonce: 1, job: {upgradeMode: last-state}}\n",
}
"""What a procedure over two files finds in the other one."""


def given(relative: str, data: bytes) -> PlanningInput:
    names = {**(BESIDE if relative.startswith("ta/") else {}), relative: data}
    files = {
        f"{FOLDER}/{name}": TreeFile(path=f"{FOLDER}/{name}", blob="b", mode="100644", data=content)
        for name, content in names.items()
    }
    older = HistoryEntry(commit="1", committed_at=1, subject="", data=EARLIER)
    newest = HistoryEntry(commit="2", committed_at=2, subject="", data=data)
    return PlanningInput(
        tree=Tree(folder=FOLDER, commit="c", files=files),
        environment=Environment(),
        at_ns=parse_ns(AT),
        history={"knative-service.yaml": (newest, older)},
    )


IMAGES = [f"torghut/torghut@sha256:{digit * 64}" for digit in "12"]
EARLIER = (
    "kind: Service\nspec: {template: {spec: {containers: [{name: user-container, image: '"
    + IMAGES[0]
    + "', env: [{name: TORGHUT_VERSION, value: v1}, {name: TORGHUT_COMMIT, value: c1}]}]}}}\n"
).encode()
RELEASE = [("TORGHUT_VERSION", "v2"), ("TORGHUT_COMMIT", "c2"), ("TRADING_MODE", "paper")]


def start_replay(given: PlanningInput) -> Draft:
    return replay_ta.plan_start(given, replay_ta.Replay(identity="gap"))


def pairs(enabled: str = "true", kill: str | None = "true") -> list[tuple[str, str]]:
    found = [("APP_ENV", "stage"), ("TRADING_ENABLED", enabled), ("TRADING_MODE", "paper")]
    return [*found, *([("TRADING_KILL_SWITCH_ENABLED", kill)] if kill is not None else [])]


def service(document: dict[str, Any]) -> dict[str, str]:
    env = document["spec"]["template"]["spec"]["containers"][0]["env"]
    return {item["name"]: str(item["value"]).lower() for item in env}


CASES: dict[
    str,
    tuple[
        str, str, Callable[[Corpus, Any], bytes], Callable[[PlanningInput], Draft], Callable[[dict[str, Any]], Any], Any
    ],
] = {
    "pause": (
        "knative-service.yaml",
        "Service",
        lambda corpus, style: corpus["knative"](style, pairs()),
        pause_trading.plan,
        lambda d: service(d)["TRADING_ENABLED"],
        "false",
    ),
    "cancel-orders inserts": (
        "knative-service.yaml",
        "Service",
        lambda corpus, style: corpus["knative"](style, pairs(kill=None)),
        lambda g: pause_trading.plan(g, cancel_orders=True),
        lambda d: service(d)["TRADING_KILL_SWITCH_ENABLED"],
        "true",
    ),
    "resume": (
        "knative-service.yaml",
        "Service",
        lambda corpus, style: corpus["knative"](style, pairs(enabled="false")),
        resume_trading.plan,
        lambda d: (service(d)["TRADING_ENABLED"], service(d)["TRADING_KILL_SWITCH_ENABLED"]),
        ("true", "false"),
    ),
    "restart-ws": (
        "ws/deployment.yaml",
        "Deployment",
        lambda corpus, style: corpus["deployment"](style, restarted_at="2026-01-01T00:00:00.190Z", replicas=2),
        restart_ws.plan,
        lambda d: d["spec"]["replicas"],
        1,
    ),
    "restart-ws inserts": (
        "ws/deployment.yaml",
        "Deployment",
        lambda corpus, style: corpus["deployment"](style, restarted_at=None, replicas=None),
        restart_ws.plan,
        lambda d: d["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"],
        AT,
    ),
    "suspend": (
        "ta/flinkdeployment.yaml",
        "FlinkDeployment",
        lambda corpus, style: corpus["flink"](style, state="running", nonce=7),
        suspend_ta.plan,
        lambda d: d["spec"]["job"]["state"],
        "suspended",
    ),
    "suspend inserts": (
        "ta/flinkdeployment.yaml",
        "FlinkDeployment",
        lambda corpus, style: corpus["flink"](style, state=None, nonce=7),
        suspend_ta.plan,
        lambda d: d["spec"]["job"]["state"],
        "suspended",
    ),
    "resume-ta --restart": (
        "ta/flinkdeployment.yaml",
        "FlinkDeployment",
        lambda corpus, style: corpus["flink"](style, state="suspended", nonce=7),
        lambda g: resume_ta.plan(g, restart=True),
        lambda d: (d["spec"]["job"]["state"], d["spec"]["restartNonce"]),
        ("running", 8),
    ),
    "restart-ta": (
        "ta/flinkdeployment.yaml",
        "FlinkDeployment",
        lambda corpus, style: corpus["flink"](style, state="running", nonce=41),
        restart_ta.plan,
        lambda d: d["spec"]["restartNonce"],
        42,
    ),
    "rollback-image": (
        "knative-service.yaml",
        "Service",
        lambda corpus, style: corpus["knative"](style, RELEASE, image=IMAGES[1]),
        lambda g: rollback_image.plan(g, to="1" * 64),
        lambda d: (service(d)["TORGHUT_VERSION"], service(d)["TORGHUT_COMMIT"]),
        ("v1", "c1"),
    ),
    "replay-ta, the job": (
        "ta/flinkdeployment.yaml",
        "FlinkDeployment",
        lambda corpus, style: corpus["flink"](style, state="suspended", nonce=7),
        start_replay,
        lambda d: (d["spec"]["job"]["upgradeMode"], d["spec"]["job"]["state"], d["spec"]["restartNonce"]),
        ("stateless", "running", 8),
    ),
    "replay-ta, the group": (
        "ta/configmap.yaml",
        "ConfigMap",
        lambda corpus, style: corpus["configmap"](
            style, {"A": "x", "TA_GROUP_ID": "torghut-ta", "TA_AUTO_OFFSET_RESET": "latest"}
        ),
        start_replay,
        lambda d: (d["data"]["TA_GROUP_ID"], d["data"]["TA_AUTO_OFFSET_RESET"]),
        ("torghut-ta-replay-gap", "earliest"),
    ),
    "restart-ta inserts": (
        "ta/flinkdeployment.yaml",
        "FlinkDeployment",
        lambda corpus, style: corpus["flink"](style, state="running", nonce=None),
        restart_ta.plan,
        lambda d: d["spec"]["restartNonce"],
        1,
    ),
}


def documents(data: bytes) -> list[Any]:
    """Parse with a reader that shares no code with the editor, timestamps and booleans left as text."""
    return list(yaml.load_all(data.decode("utf-8-sig"), yaml.BaseLoader))


def of_kind(data: bytes, kind: str) -> dict[str, Any]:
    found = [d for d in yaml.safe_load_all(data) if d and d.get("kind") == kind]
    return next((d for d in found if (d.get("metadata") or {}).get("name") != "other"), found[0])


def leaves(value: Any, path: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], str]:
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in leaves(item, (*path, key)).items()} or {path: "{}"}
    if isinstance(value, list):
        named = all(isinstance(item, dict) and "name" in item for item in value) and value
        steps = [(item["name"] if named else index, item) for index, item in enumerate(value)]
        return {k: v for key, item in steps for k, v in leaves(item, (*path, key)).items()} or {path: "[]"}
    return {path: value}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_procedure_when_run_on_every_style_then_only_the_planned_scalars_change(
    case: str, styles: list[Any], corpus: Corpus, tmp_path: Path
) -> None:
    """Bytes, values, idempotence and `git apply`, over the whole corpus."""
    relative, kind, build, plan, read, wanted = CASES[case]
    assert len(styles) >= 200
    patches: list[str] = []
    expected: dict[str, bytes] = {}
    for style in styles:
        before = build(corpus, style)
        draft = plan(given(relative, before))
        path = f"{FOLDER}/{relative}"
        edits = [edit for edit in draft.edits if edit.path == path]
        changes = [change for change in draft.changes if change.path == path]
        assert len(edits) == 1, style
        after = edits[0].after
        assert read(of_kind(after, kind)) == wanted, style

        old, new = leaves(documents(before)), leaves(documents(after))
        changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        named = {key for key in changed if key[-1] != "name"}
        assert len(named) == len(changes), (style, changed)
        assert _foreign_bytes_kept(before.decode(), after.decode(), [(c.before, c.after) for c in changes]), style

        again = plan(given(relative, after))
        assert "restart" in case or path not in {edit.path for edit in again.edits} or case == "replay-ta, the job", (
            style
        )
        name = str(style)
        patches.append(edits[0].diff.replace(f"{FOLDER}/{relative}", f"{name}.yaml"))
        (tmp_path / f"{name}.yaml").write_bytes(before)
        expected[name] = after
    git = ["git", "-c", "core.autocrlf=false", "-c", "core.safecrlf=false"]
    subprocess.run([*git, "init", "-q", "."], cwd=tmp_path, check=True)
    subprocess.run([*git, "apply", "-"], cwd=tmp_path, input="".join(patches).encode(), check=True)
    assert {name: (tmp_path / f"{name}.yaml").read_bytes() for name in expected} == expected


def _foreign_bytes_kept(before: str, after: str, changes: list[tuple[str | None, str]]) -> bool:
    """Tell whether `after` is `before` with each change's old value replaced once, or one piece with its new value put in."""
    if not changes:
        return before == after
    same = next(
        (i for i, (x, y) in enumerate(zip(before, after, strict=False)) if x != y), min(len(before), len(after))
    )
    for position, (old, new) in enumerate(changes):
        rest = changes[:position] + changes[position + 1 :]
        if old is not None:
            for start in range(max(0, same - len(old)), same + 1):
                if before.startswith(old, start):
                    moved = before[:start] + new + before[start + len(old) :]
                    if _foreign_bytes_kept(moved, after, rest):
                        return True
            continue
        for cut in range(same, max(-1, same - 80), -1):
            for length in range(len(new), 120):
                piece = after[cut : cut + length]
                moved = before[:cut] + piece + before[cut:]
                if new in piece and _foreign_bytes_kept(moved, after, rest):
                    return True
    return False
