"""Every document that is shipped, applied to a real API server with strict field validation and the deployed CRDs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kube.conftest import ROOT, documents

pytestmark = [
    pytest.mark.kube,
    # The server's wrapper leaves its own log open.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
MANIFESTS = ROOT / "manifests"
KUSTOMIZE = "v5.7.1"
APPLIED_ALONE = ("argocd/application.yaml", "ta/flinkdeployment.yaml")
"""Files that no kustomization lists."""
NOT_JUDGED = {
    ("monitoring.coreos.com/v1", "PrometheusRule"): "the CRD of the Prometheus operator is not in ../shared/crds"
}
"""Kinds that this server cannot take, and why. tests/torghutctl/test_shipped_observability.py looks at them."""


def built(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield what a kustomization lists, folders followed."""
    for name in documents(folder / "kustomization.yaml")[0]["resources"]:
        path = folder / name
        if path.is_dir():
            yield from built(path)
        else:
            yield from ((path, item) for item in documents(path))


def everything() -> list[tuple[Path, dict[str, Any]]]:
    """Return every document of the tree with its file."""
    found = [*built(MANIFESTS), *built(MANIFESTS / "kafka")]
    alone = [MANIFESTS / name for name in APPLIED_ALONE]
    return [*found, *((path, item) for path in alone for item in documents(path))]


def kind(item: dict[str, Any]) -> tuple[str, str]:
    return item["apiVersion"], item["kind"]


def shipped() -> list[tuple[Path, dict[str, Any]]]:
    """Return the documents that the server knows the kind of."""
    return [(path, item) for path, item in everything() if kind(item) not in NOT_JUDGED]


def test_manifests_when_applied_strictly_then_the_server_takes_every_document(lab: Any) -> None:
    """No unknown field, no wrong type, no warning, and each file is in a kustomization or named above."""
    wrong = []
    for path, item in shipped():
        code, answer, warnings = lab.apply(item, namespace="torghut")
        if code >= 300 or warnings:
            wrong.append((str(path.relative_to(ROOT)), item["kind"], answer if code >= 300 else warnings))
    assert wrong == []
    assert {kind(item) for _, item in everything()} >= set(NOT_JUDGED)
    listed = {path for path, _ in everything()}
    lying = {path for path in MANIFESTS.rglob("*.yaml") if path.name != "kustomization.yaml"} - listed
    assert sorted(str(path.relative_to(ROOT)) for path in lying) == []


def test_manifests_when_kustomize_builds_them_then_what_is_listed_is_what_comes_out() -> None:
    """Argo CD runs kustomize, not this project's idea of it: both trees, and the AgentRuns' own, by the program itself."""
    program = kustomize()
    for folder in (MANIFESTS, MANIFESTS / "kafka", ROOT / "agentruns"):
        done = subprocess.run([program, "build", str(folder)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        out = [item for item in yaml.safe_load_all(done.stdout) if item]
        listed = [item for _, item in built(folder)]
        names = sorted((*kind(item), item["metadata"]["name"]) for item in listed)
        assert sorted((*kind(item), item["metadata"]["name"]) for item in out) == names
        by_name = {(*kind(item), item["metadata"]["name"]): item for item in out}
        for item in listed:
            made = by_name[(*kind(item), item["metadata"]["name"])]
            assert made.get("spec") == item.get("spec"), names
            assert made.get("data") == item.get("data"), names


def kustomize() -> Path:
    """Return kustomize, built once from its Go module at a pinned version."""
    folder = Path.home() / ".cache" / "torghut" / f"kustomize-{KUSTOMIZE}"
    program = folder / "kustomize"
    if not program.exists():
        address = f"sigs.k8s.io/kustomize/kustomize/v5@{KUSTOMIZE}"
        environment = {**os.environ, "GOBIN": str(folder)}
        subprocess.run(["go", "install", address], env=environment, check=True, capture_output=True)
    return program
