"""What others wrote never leaves: a secret planted in every such place is in no output and in no bundle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fakes import torghut_cluster as base
from tests.fakes.incidents import newest_fails
from tests.fakes.kubernetes_api import Cluster, serve
from torghut_core.rfc3339 import parse_ns
from torghutctl.health import effective_state
from torghutctl.health.report import Operator, judge
from torghutctl.render import health_table, health_view, status_view
from torghutctl.render.output import Format, render
from torghutctl.snapshot import bundle
from torghutctl.snapshot.reader import read
from torghutctl.snapshot.target import Target

SECRET = "PLANTEDsecret"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJQTEFOVEVEIjoxfQ.c2lnbmF0dXJl"
FORMS = (
    SECRET,
    f"password={SECRET}",
    f"postgresql://user:{SECRET}@db/x?sslpassword={SECRET}",
    f"Authorization: Bearer {SECRET}",
    f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----",
    JWT,
)


def _plant(cluster: Cluster, text: str) -> None:
    for (_, _), item in cluster.objects.items():
        metadata = item["metadata"]
        metadata["annotations"] = {"note": text, "kubectl.kubernetes.io/last-applied-configuration": text}
        metadata["managedFields"] = [{"manager": text}]
        spec, status = item.get("spec", {}), item.get("status", {})
        for state in status.get("conditions", []):
            state["message"] = f"it failed: {text}"
        for container in spec.get("containers", []):
            container["env"] = [*container.get("env", []), {"name": "DB_DSN", "value": text}]
            container["args"] = [text]
        for container in status.get("containerStatuses", []):
            for key in ("state", "lastState"):
                for detail in container[key].values():
                    detail["message"] = (
                        f'secret "{SECRET}" not found; couldn\'t find key {SECRET} in Secret x/{SECRET}: {text}'
                    )
        if "operationState" in status:
            status["operationState"]["message"] = f"ComparisonError {text}"
            item["spec"]["source"]["repoURL"] = f"https://user:{SECRET}@git.example/x"
        if "jobStatus" in status:
            status["error"] = json.dumps({"message": f"ValidationException {text}"})
        if "phase" in status and "readyInstances" in status:
            status["phaseReason"] = text
    for name in ("torghut-ws-config", "torghut-ta-config", "torghut-strategy-config"):
        cluster.get(base.CONFIGMAPS, name)["data"] |= {"KAFKA_SASL_JAAS": text}
    involved = {"kind": "Pod", "name": base.WS_POD}
    event = {
        "type": "Warning",
        "reason": "Failed",
        "message": text,
        "note": text,
        "involvedObject": involved,
        "count": 3,
    }
    cluster.put(base.EVENTS, {"metadata": {"name": "e1"}, **event})
    for key in list(cluster.logs):
        cluster.logs[key] = f"S3Exception AccessDenied {text}\nObject of type {SECRET} is not JSON serializable\n"
    for key, (status_code, body) in list(cluster.services.items()):
        if isinstance(body, dict):
            cluster.services[key] = (status_code, {**body, "unknown_key": text, text: "x"})
        elif isinstance(body, str):
            cluster.services[key] = (status_code, f"# HELP x {text}\n{body}")
    changes = {"last_error": f"cycle failed: {text}", "metrics": {text: 1}, "extra": {"deep": text}}
    cluster.services[base.STATUS.format(base.TRADING_POD)] = (200, base.trading_status(**changes))
    status, body = base.readyz("unknown")
    cluster.services[base.READYZ] = (status, {**body, "error_class": text, "error": text})


@pytest.mark.slow
@pytest.mark.parametrize("text", FORMS, ids=["bare", "assignment", "url", "header", "pem", "jwt"])
def test_outputs_when_secrets_are_planted_everywhere_then_none_shows(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Report, effective state, progress and bundle hold neither the secret nor the process's own credentials."""
    monkeypatch.setenv("SOME_API_TOKEN", "own-credential-of-the-process")
    cluster = base.healthy()
    newest_fails(cluster, old_serves=True)
    cluster.services[base.STATUS.format(base.TRADING_POD)] = (200, base.trading_status())
    _plant(cluster, f"{text} own-credential-of-the-process")
    said: list[str] = []
    with serve(cluster, tmp_path) as kubeconfig:
        target = Target(kubeconfig=kubeconfig, repo=f"https://user:{SECRET}@127.0.0.1:9/x.git?token={SECRET}")
        snapshot = read(target, at_ns=parse_ns(base.NOW), process={}, tell=said.append)
    report, effective = judge(snapshot, Operator(repo=target.repo)), effective_state.show(snapshot)
    shown = [
        *(render(report, form, table=health_table.table, markdown=health_view.markdown) for form in Format),
        *(render(effective, form, table=status_view.table, markdown=status_view.markdown) for form in Format),
        "\n".join(said),
    ]
    folder = tmp_path / "bundle"
    bundle.write(snapshot, folder, "PATH")
    shown += [path.read_text() for path in folder.rglob("*.json")]
    everything = "\n".join(shown)
    for secret in (SECRET, JWT, "own-credential-of-the-process", "planted-user-token-in-kubeconfig"):
        assert secret not in everything
    assert len(shown) > 20


def test_reading_when_signature_names_what_the_spec_refers_to_then_name_is_kept(tmp_path: Path) -> None:
    """A missing Secret is named when the pod's own spec names it."""
    cluster = base.healthy()
    state = base.waiting("CreateContainerConfigError", 'secret "torghut-alpaca" not found')
    changed = base.pod(base.WS_POD, base.ws_labels(), container="ws", ready=False, since=base.ago(900), state=state)
    reference = {"secretKeyRef": {"name": "torghut-alpaca", "key": "key"}}
    changed["spec"]["containers"][0]["env"] = [{"name": "APCA_API_KEY_ID", "valueFrom": reference}]
    cluster.put(base.PODS, changed)
    with serve(cluster, tmp_path) as kubeconfig:
        report = judge(read(Target(kubeconfig=kubeconfig), at_ns=parse_ns(base.NOW), process={}), Operator())
    evidence = [line for item in report["components"] for finding in item["findings"] for line in finding["evidence"]]
    assert f"pod {base.WS_POD}: Secret torghut-alpaca is missing" in evidence
