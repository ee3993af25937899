"""A real kube-apiserver with the deployed CRDs; skipped with a reason where Go or ../shared/kube is missing."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
NAMESPACES = ("agents", "argocd", "kafka", "torghut")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The API server, every CRD and namespace in place. Built once per machine: about ten minutes of CPU."""
    if not (SHARED / "kube" / "build.sh").is_file():
        pytest.skip("../shared/kube is not there")
    if shutil.which("go") is None:
        pytest.skip("Go is not installed")
    found = importlib.util.spec_from_file_location("lab", SHARED / "kube" / "lab.py")
    assert found is not None and found.loader is not None
    module: Any = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    built = subprocess.run(["bash", str(SHARED / "kube" / "build.sh")], capture_output=True, text=True, check=False)
    if built.returncode != 0:
        pytest.skip(f"the API server cannot be built: {built.stderr[-200:]}")
    server = module.Lab(built.stdout.strip().splitlines()[-1], tmp_path_factory.mktemp("kube"))
    try:
        server.crds(SHARED / "crds")
        for name in NAMESPACES:
            server.must(server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}), name)
        yield server
    finally:
        server.stop()
        server.process.stdout.close()


def documents(path: Path) -> list[dict[str, Any]]:
    """Return the documents of a file."""
    return [item for item in yaml.safe_load_all(path.read_text()) if item]
