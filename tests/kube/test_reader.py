"""health-report with the reader's own token against a real API server: its Role is enough, and nothing of it is spare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fakes import torghut_cluster as base
from tests.kube.conftest import ROOT, documents
from tests.kube.test_manifests import shipped
from torghutctl.health.report import Operator, judge
from torghutctl.render import health_table
from torghutctl.snapshot import bundle
from torghutctl.snapshot.model import Failure
from torghutctl.snapshot.reader import read
from torghutctl.snapshot.target import Target

pytestmark = [
    pytest.mark.kube,
    # The server's wrapper leaves its own log open.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
READER = "system:serviceaccount:torghut:torghut-health-reader"


@pytest.fixture(scope="module")
def system(lab: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The shipped tree with pods that run, as far as a server without nodes can have them; the reader's kubeconfig."""
    for _, item in shipped():
        lab.must(lab.apply(item, namespace="torghut"), item["kind"])
    running = [
        base.pod(base.WS_POD, base.ws_labels(), container="ws"),
        base.pod("torghut-ta-6b7c-zzzz", {"app": "torghut-ta"}, container="torghut-ta"),
        base.pod(base.TRADING_POD, base.revision_labels(7), container="user-container"),
    ]
    for pod in running:
        account = {"serviceAccountName": "torghut", "automountServiceAccountToken": False}
        item = {**pod, "spec": {**pod["spec"], **account, "nodeName": "nowhere"}}
        status = item.pop("status")
        lab.must(lab.create(item), "pod")
        lab.must(lab.status(item, status), "status")
    kubeconfig = lab.token_kubeconfig(
        "torghut", "torghut-health-reader", str(tmp_path_factory.mktemp("reader") / "config")
    )
    return lab, Path(kubeconfig)


def granted() -> set[tuple[str, str, str, str]]:
    """Return the rights of the Role: namespace, group, resource, verb."""
    return {
        (item["metadata"]["namespace"], group, resource, verb)
        for item in documents(ROOT / "manifests" / "rbac" / "health-reader.yaml")
        if item["kind"] == "Role"
        for rule in item["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_reader_when_it_reads_then_nothing_is_forbidden_and_no_secret_is_asked(system: tuple[Any, Path]) -> None:
    """By the server's own audit log, and every right of the Role is used."""
    lab, kubeconfig = system
    before = len(lab.audit(READER))
    snapshot = read(Target(kubeconfig=kubeconfig), at_ns=None, process={}, deadline_s=20.0)
    forbidden = [name for name, item in snapshot.readings.items() if item.failure is Failure.FORBIDDEN]
    entries = lab.audit(READER)[before:]
    assert (forbidden, bool(entries)) == ([], True)
    asked = {
        (
            reference["namespace"],
            reference.get("apiGroup", ""),
            reference["resource"] + (f"/{reference['subresource']}" if "subresource" in reference else ""),
            entry["verb"],
        )
        for entry in entries
        if (reference := entry.get("objectRef")) is not None
    }
    assert not any("secrets" in resource for _, _, resource, _ in asked)
    refused = [e["requestURI"] for e in entries if e["annotations"]["authorization.k8s.io/decision"] != "allow"]
    assert refused == []
    assert granted() == asked


def test_reader_when_a_bundle_is_judged_then_it_says_what_the_live_reading_said(
    system: tuple[Any, Path], tmp_path: Path
) -> None:
    """Live and from a snapshot, byte for byte; a server without operators is not healthy."""
    _, kubeconfig = system
    snapshot = read(Target(kubeconfig=kubeconfig), at_ns=None, process={}, deadline_s=20.0)
    live = health_table.table(judge(snapshot, Operator()))
    path = tmp_path / "incident.tar.gz"
    bundle.write(snapshot, path, "--record")
    again = read(Target(bundle=path), at_ns=None, process={})
    assert health_table.table(judge(again, Operator())) == live
    assert not live.startswith("HEALTHY")
