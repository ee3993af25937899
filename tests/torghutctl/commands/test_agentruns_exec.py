"""`agentruns exec` as the platform runs it: its files, its environment, the run in the API, a forge on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import torghut_cluster
from tests.fakes.agent_runs import (
    ACTUATION,
    BENDS,
    CHANGES,
    COLLECTION,
    DIAGNOSTICS,
    EVERY,
    FILLED,
    bent,
    filled,
    run_json,
    stored,
)
from tests.fakes.kubernetes_api import Cluster, Fault, serve
from tests.torghutctl.commands.test_refusals import PREPARE
from torghut_core.clock import SystemClock
from torghut_core.rfc3339 import format_ns
from torghutctl.actuation.agent_command import command_of
from torghutctl.actuation.agent_outcome import MAX_BYTES, AgentOutcome
from torghutctl.errors import RefusedError
from torghutctl.procedures.agent_templates import agent_run
from torghutctl.snapshot.agent_run import AgentRun

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Done:
    """What a run left behind."""

    code: int
    status: dict[str, Any]
    report: str
    said: str


@dataclass
class Pod:
    """A pod of an AgentRun, its cluster and its forge."""

    folder: Path
    cluster: Cluster
    kubeconfig: Path
    gitops: Any

    def run(
        self, document: dict[str, Any], *, mode: str | None = None, bend: Callable[[dict[str, Any]], Any] | None = None
    ) -> Done:
        """Create the run, and carry it out in a pod of its own."""
        run = stored(document)
        self.cluster.put(COLLECTION, run)
        description = run_json(run, clone_base=str(self.folder / "forge"), mode=mode)
        if bend is not None:
            bend(description)
        (self.folder / "run.json").write_text(json.dumps(description))
        status = self.folder / "agent" / "status.json"
        runner = {"schemaVersion": "agents.proompteng.ai/runner/v1", "artifacts": {"statusPath": str(status)}}
        (self.folder / "agent-runner.json").write_text(json.dumps(runner))
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "KUBECONFIG": str(self.kubeconfig),
            "AGENT_RUN_SPEC": str(self.folder / "run.json"),
            "AGENT_RUNNER_SPEC_PATH": str(self.folder / "agent-runner.json"),
            "AGENT_PROVIDER": run["spec"]["agentRef"]["name"],
        }
        call = [sys.executable, "-m", "torghutctl", "agentruns", "exec"]
        done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False, cwd=self.folder)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.stdout == (status.parent / "report.md").read_text()
        assert status.stat().st_size <= MAX_BYTES
        return Done(code=done.returncode, status=json.loads(status.read_text()), report=done.stdout, said=done.stderr)

    def refs(self) -> dict[str, str]:
        rows = self.gitops.git("for-each-ref", "--format=%(refname) %(objectname)", where=self.forge()).splitlines()
        return dict(row.split(" ") for row in rows)

    def forge(self) -> Path:
        return self.folder / "forge" / "acme" / "lab.git"


@pytest.fixture
def pod(gitops: Any, tmp_path: Path) -> Iterator[Pod]:
    """A healthy system that answers for now, and the repository at acme/lab on a forge on this machine."""
    folder = tmp_path / "pod"
    (folder / "forge" / "acme").mkdir(parents=True)
    gitops.bare.rename(folder / "forge" / "acme" / "lab.git")
    gitops.git("remote", "set-url", "origin", str(folder / "forge" / "acme" / "lab.git"))
    cluster = torghut_cluster.healthy(format_ns(SystemClock().now_ns()))
    with serve(cluster, tmp_path) as kubeconfig:
        yield Pod(folder=folder, cluster=cluster, kubeconfig=kubeconfig, gitops=gitops)


def test_two_phases_when_the_first_reports_then_the_second_carries_out_that_plan(pod: Pod) -> None:
    """The diagnostics run writes nothing and tells digest and parameters; the actuation run opens the pull request."""
    before = pod.refs()
    planned = pod.run(filled(CHANGES["restart-ws"], DIAGNOSTICS, at=FILLED["at"]))
    assert (planned.code, planned.status["status"], pod.refs()) == (0, "succeeded", before), planned.said
    artifacts = {item["name"]: item for item in planned.status["artifacts"]["outputArtifacts"]}
    digest = artifacts["plan-digest"]["key"]
    shown = planned.report.split("```yaml\n")[1].split("```")[0]
    given = {line.split(": ", 1)[0]: json.loads(line.split(": ", 1)[1]) for line in shown.strip().splitlines()}
    assert given["plan"] == digest
    acted = pod.run(
        agent_run(CHANGES["restart-ws"], ACTUATION, {**given, "reason": "it is gone", "confirm": FILLED["confirm"]})
    )
    assert (acted.code, acted.status["status"]) == (0, "succeeded"), acted.said
    artifacts = {item["name"]: item for item in acted.status["artifacts"]["outputArtifacts"]}
    assert artifacts["plan-digest"]["key"] == digest
    assert "pull-request" in artifacts
    assert "refs/torghut/pull-requests/1" in pod.refs()


@pytest.mark.e2e
@pytest.mark.parametrize(("name", "purpose"), [pair for pair in EVERY if pair[1] == DIAGNOSTICS])
def test_diagnostics_when_carried_out_then_nothing_is_written(name: str, purpose: str, pod: Pod) -> None:
    """Every read-only run ends with an exit code of the contract, a report and a status, and no ref, no write."""
    before = pod.refs()
    done = pod.run(filled(CHANGES[name], purpose, **({"step": "start", "id": "gap-1"} if name == "replay-ta" else {})))
    assert done.code in (0, 3, 4, 5, 6), done.said
    assert (done.status["exitCode"], pod.refs(), pod.cluster.writes) == (done.code, before, [])
    assert done.report.startswith(f"# {name} (diagnostics)")


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["pause-trading", "suspend-ta", "restart-ta", "restart-ws"])
def test_actuation_when_the_digest_is_the_plans_then_it_opens_one_pull_request(name: str, pod: Pod) -> None:
    """What the repository alone decides."""
    stamp = {"at": FILLED["at"]} if name == "restart-ws" else {}
    planned = pod.run(filled(CHANGES[name], DIAGNOSTICS, **stamp))
    digest = next(i["key"] for i in planned.status["artifacts"]["outputArtifacts"] if i["name"] == "plan-digest")
    done = pod.run(filled(CHANGES[name], ACTUATION, plan=digest))
    assert (done.code, done.status["status"]) == (0, "succeeded"), done.said
    assert sorted(ref for ref in pod.refs() if "pull-requests" in ref) == ["refs/torghut/pull-requests/1"]


WITH_EVIDENCE = {
    "resume-trading": ({"at": FILLED["at"]}, PREPARE["resume-trading"][1]),
    "resume-ta": ({}, PREPARE["resume-ta"][1]),
    "rollback-image": ({}, PREPARE["rollback-image"][1]),
    "replay-ta exit": ({"step": "exit"}, PREPARE["replay-ta exit"][1]),
}


@pytest.mark.e2e
@pytest.mark.parametrize("case", WITH_EVIDENCE)
def test_actuation_when_it_starts_something_then_the_evidence_decides(case: str, pod: Pod) -> None:
    """The two phases of what needs the cluster: a pull request over good evidence, 6 and nothing over none."""
    given, prepare = WITH_EVIDENCE[case]
    assert prepare is not None
    prepare(pod.gitops)
    change = CHANGES[case.split()[0]]
    planned = pod.run(filled(change, DIAGNOSTICS, **given))
    digest = next(i["key"] for i in planned.status["artifacts"]["outputArtifacts"] if i["name"] == "plan-digest")
    before = pod.refs()
    if change.spec is not None and change.name != "replay-ta":
        faults = dict(pod.cluster.faults)
        pod.cluster.faults["/api/v1/namespaces/torghut"] = Fault(status=503)
        pod.cluster.faults["/apis/serving.knative.dev"] = Fault(status=503)
        assert pod.run(filled(change, ACTUATION, plan=digest, **given)).code in (6, 7)
        assert pod.refs() == before
        pod.cluster.faults = faults
    done = pod.run(filled(change, ACTUATION, plan=digest, **given))
    assert (done.code, done.status["status"]) == (0, "succeeded"), done.said
    assert "refs/torghut/pull-requests/1" in pod.refs()


@pytest.mark.parametrize("case", BENDS)
def test_command_when_the_run_is_bent_then_there_is_none(case: str) -> None:
    """Whatever reached the cluster in spite of everything stands for no command line."""
    run = stored(bent(case))
    description = {"vcs": {"mode": "read-write", "writeEnabled": True, "repository": "acme/lab", "cloneBaseUrl": "u"}}
    with pytest.raises(RefusedError):
        command_of(AgentRun(source="x", document=run, description=description), CHANGES)


@pytest.mark.e2e
@pytest.mark.parametrize("case", ["label missing", "no digest", "another specification", "inline implementation"])
def test_exec_when_the_run_is_bent_then_it_is_refused_and_nothing_is_written(case: str, pod: Pod) -> None:
    """As a process: 6, the reason in the status, no ref."""
    before = pod.refs()
    done = pod.run(bent(case))
    assert (done.code, done.status["status"], done.status["reason"]) == (6, "failed", "Refused"), done.said
    assert (pod.refs(), bool(done.status["error"])) == (before, True)


DESCRIPTIONS: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "another uid": lambda d: d["agentRun"].update(uid="5d0c6f0e-0000-4000-8000-000000000002"),
    "no uid": lambda d: d["agentRun"].pop("uid"),
    "another run": lambda d: d["agentRun"].update(name="torghut-another"),
    "no run": lambda d: d.pop("agentRun"),
    "a path as a name": lambda d: d["agentRun"].update(name="../../../api/v1/secrets/x"),
    "other parameters": lambda d: d["parameters"].update(reason="another"),
    "read-only in effect": lambda d: d["vcs"].update(mode="read-only", writeEnabled=False),
    "lowered token": lambda d: d["vcs"].update(writeEnabled=False),
    "another repository": lambda d: d["vcs"].update(repository="acme/other"),
    "no forge": lambda d: d["vcs"].pop("cloneBaseUrl"),
}


@pytest.mark.e2e
@pytest.mark.parametrize("case", DESCRIPTIONS)
def test_exec_when_the_pods_description_is_bent_then_it_is_refused(case: str, pod: Pod) -> None:
    """The run in the API and the pod must mean the same thing, and the platform must have let it write."""
    before = pod.refs()
    done = pod.run(filled(CHANGES["pause-trading"], ACTUATION), bend=DESCRIPTIONS[case])
    assert (done.code, done.status["reason"], pod.refs()) == (6, "Refused", before), done.said


@pytest.mark.e2e
@pytest.mark.parametrize("status", [403, 404, 500])
def test_exec_when_the_run_cannot_be_read_then_it_is_refused_with_why(status: int, pod: Pod) -> None:
    """No right, no run, no answer: nothing is done, and the sentence says which."""
    pod.cluster.faults["/" + COLLECTION] = Fault(status=status)
    done = pod.run(filled(CHANGES["pause-trading"], ACTUATION))
    assert (done.code, f"HTTP {status}" in done.status["error"]) == (6, True)


@pytest.mark.e2e
def test_exec_when_the_plan_is_another_one_then_7(pod: Pod) -> None:
    """A digest that the base no longer gives is stale."""
    done = pod.run(filled(CHANGES["pause-trading"], ACTUATION))
    assert (done.code, done.status["status"], done.status["reason"]) == (7, "failed", "Failed"), done.said


@pytest.mark.e2e
def test_exec_when_a_plain_command_runs_inside_the_run_then_the_same_gates_hold(pod: Pod) -> None:
    """An agent with a shell gets no further than exec."""
    run = stored(filled(CHANGES["pause-trading"], DIAGNOSTICS))
    pod.cluster.put(COLLECTION, run)
    path = pod.folder / "run.json"
    path.write_text(json.dumps(run_json(run, clone_base=str(pod.folder / "forge"))))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(pod.folder),
        "PYTHONPATH": str(ROOT),
        "KUBECONFIG": str(pod.kubeconfig),
    }
    words = ["pause-trading", "--repo", str(pod.forge()), "--reason", "x", "--confirm", "ACTUATE_TORGHUT", "--pr"]
    call = [sys.executable, "-m", "torghutctl", *words]
    inside = {**environment, "AGENT_RUN_SPEC": str(path)}
    done = subprocess.run(call, env=inside, capture_output=True, text=True, check=False)
    assert (done.returncode, "agent run" in done.stderr) == (6, True), done.stderr


def test_outcome_when_texts_are_long_then_the_termination_message_holds_it() -> None:
    """The kubelet keeps 4096 bytes; a file cut in the middle would be none."""
    outcome = AgentOutcome(
        change="x",
        exit_code=6,
        started_ns=0,
        finished_ns=1,
        message="ü" * 5000,
        digest="sha256:" + "0" * 64,
        pull_request="https://forge.example/" + "x" * 1500,
    )
    text = json.dumps(outcome.status("p", Path("/workspace/.agent/report.md")), ensure_ascii=True)
    assert len(text.encode()) <= MAX_BYTES
