"""What git wants changes the verdict on suspension and replay settings, and completes `status`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import torghut_cluster as base
from tests.fakes.kubernetes_api import serve
from torghut_core.rfc3339 import parse_ns
from torghutctl.health.effective_state import show
from torghutctl.health.report import Operator, judge
from torghutctl.snapshot.reader import read
from torghutctl.snapshot.target import Target

_FOLDER = "argocd/applications/torghut"
_SUSPENDED = {"state": "suspended", "job": "FINISHED", "lifecycle": "SUSPENDED", "manager": "MISSING"}


def _repository(
    folder: Path, *, state: str = "running", group: str = "torghut-ta-2026-01", enabled: str = "true"
) -> Path:
    tree = folder / _FOLDER
    (tree / "ta").mkdir(parents=True)
    (tree / "ta" / "flinkdeployment.yaml").write_text(
        "apiVersion: flink.apache.org/v1beta1\nkind: FlinkDeployment\nmetadata:\n  name: torghut-ta\n"
        f"spec:\n  restartNonce: 4\n  job:\n    state: {state}\n    upgradeMode: last-state\n"
    )
    (tree / "ta" / "configmap.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: torghut-ta-config\n"
        f"data:\n  TA_GROUP_ID: {group}\n  TA_AUTO_OFFSET_RESET: earliest\n"
    )
    (tree / "knative-service.yaml").write_text(
        "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata:\n  name: torghut\n  annotations:\n"
        "    touched: 2026-01-02T03:04:05.190Z\nspec:\n  template:\n    spec:\n      containers:\n        - name: user-container\n"
        f'          image: {base.IMAGE}\n          env:\n            - name: TRADING_ENABLED\n              value: "{enabled}"\n'
    )
    (tree / "broken.yaml").write_text("{{ not yaml }}: [")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "-A"], [*identity, "commit", "-q", "-m", "state"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    return folder


def _report(tmp_path: Path, cluster: Any, **wanted: str) -> dict[str, Any]:
    repo = tmp_path / "repo"
    repo.mkdir()
    _repository(repo, **wanted)
    with serve(cluster, tmp_path) as kubeconfig:
        snapshot = read(Target(kubeconfig=kubeconfig, repo=str(repo)), at_ns=parse_ns(base.NOW), process={})
    return {"health": judge(snapshot, Operator()), "status": show(snapshot)}


@pytest.mark.parametrize(
    ("git", "live", "reason", "step"),
    [
        ("running", "running", None, None),
        ("suspended", "suspended", "ta_suspended", "resume-ta"),
        ("running", "suspended", "ta_suspended_drift", "reconcile"),
        ("suspended", "running", "ta_suspended_drift", "reconcile"),
    ],
)
def test_suspension_when_git_is_known_then_drift_is_told_from_intent(
    git: str, live: str, reason: str | None, step: str | None, tmp_path: Path
) -> None:
    """The same state in git and cluster is a suspension or nothing; different ones are drift."""
    cluster = base.healthy()
    if live == "suspended":
        cluster.put(base.FLINK, base.flink_deployment(**_SUSPENDED))
    report = _report(tmp_path, cluster, state=git)["health"]
    top, following = report["topCause"], report["nextProcedure"]
    assert (reason, step) == (top and top["reason"], following and following["name"])
    assert ("degraded" if reason else "healthy") == report["classification"]


def test_replay_when_left_in_git_alone_then_named(tmp_path: Path) -> None:
    """A replay's group in git comes back with the next sync: it counts though the live ConfigMap is clean."""
    report = _report(tmp_path, base.healthy(), group="torghut-ta-replay-7")["health"]
    assert (
        report["topCause"]["reason"],
        report["nextProcedure"]["command"].split(" --")[0],
    ) == ("ta_replay_left_on", "torghutctl replay-ta exit")


def test_status_when_git_is_ahead_of_the_cluster_then_different(tmp_path: Path) -> None:
    """A merged pause that is not applied yet shows in git's column alone."""
    status = _report(tmp_path, base.healthy(), enabled="false")["status"]
    row = next(item for item in status["settings"] if item["name"] == "TRADING_ENABLED")
    assert (status["agreement"], row["git"], row["live"], row["effective"]) == ("different", "false", "true", "true")
    assert len(status["git"]["commit"]) == 40


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"repo": "/nowhere/at/all"}, "--repo /nowhere/at/all: no such folder"),
        ({"base": "release"}, "--base release: "),
        ({"gitops_path": "argocd/aplications"}, "--gitops-path argocd/aplications: holds nothing on main"),
    ],
)
def test_report_when_git_cannot_be_read_then_the_option_is_named_and_status_is_unknown(
    changes: dict[str, str], words: str, tmp_path: Path
) -> None:
    """A typing error in one of the three options is told as that, and an empty column agrees with nothing."""
    repo = tmp_path / "repo"
    repo.mkdir()
    where = {"repo": str(_repository(repo)), "base": "main", "gitops_path": _FOLDER, **changes}
    with serve(base.healthy(), tmp_path) as kubeconfig:
        target = Target(kubeconfig=kubeconfig, repo=where["repo"], base=where["base"], gitops_path=where["gitops_path"])
        snapshot = read(target, at_ns=parse_ns(base.NOW), process={})
    assert words in snapshot.reading("git/desired").detail
    assert show(snapshot)["agreement"] == "unknown"
    assert judge(snapshot, Operator())["classification"] == "healthy"
