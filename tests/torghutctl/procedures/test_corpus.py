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
from torghutctl.procedures import pause_trading, restart_ta, restart_ws, resume_ta, resume_trading, suspend_ta
from torghutctl.procedures.specification import PlanningInput
from torghutctl.snapshot.repository import Tree, TreeFile

FOLDER = "argocd/applications/torghut"
AT = "2026-03-04T05:06:07Z"
Corpus = dict[str, Callable[..., bytes]]


def given(relative: str, data: bytes) -> PlanningInput:
    path = f"{FOLDER}/{relative}"
    tree = Tree(folder=FOLDER, commit="c", files={path: TreeFile(path=path, blob="b", mode="100644", data=data)})
    return PlanningInput(tree=tree, environment=Environment(), at_ns=parse_ns(AT))


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
    return next(d for d in yaml.safe_load_all(data) if d and d.get("kind") == kind)


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
        assert len(draft.edits) == 1, style
        after = draft.edits[0].after
        assert read(of_kind(after, kind)) == wanted, style

        old, new = leaves(documents(before)), leaves(documents(after))
        changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        named = {key for key in changed if key[-1] != "name"}
        assert len(named) == len(draft.changes), (style, changed)
        assert _foreign_bytes_kept(before.decode(), after.decode(), [(c.before, c.after) for c in draft.changes]), style

        again = plan(given(relative, after))
        assert "restart" in case or not again.edits, style
        name = str(style)
        patches.append(draft.edits[0].diff.replace(f"{FOLDER}/{relative}", f"{name}.yaml"))
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
