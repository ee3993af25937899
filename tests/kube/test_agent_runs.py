"""AgentRuns, Agents and the admission policy before the real API server with the deployed CRDs."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest

from tests.fakes.agent_runs import (
    ACTUATION,
    BENDS,
    CHANGES,
    EVERY,
    UNSEEN_BY_ADMISSION,
    UPDATES,
    bent,
    filled,
)
from tests.kube.conftest import ROOT, documents
from torghutctl.procedures.agent_templates import agent_run, implementation_spec

pytestmark = [
    pytest.mark.kube,
    # The server's wrapper leaves its own log open.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
POLICY = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/torghut-actuation"
NOT_ITS_OWN = {"prefix too long", "too long", "head of another plan", "another kind", "no namespace"}
"""What the controller or the tool alone knows, or what is no AgentRun of that path."""


@pytest.fixture(scope="module")
def platform(lab: Any) -> Any:
    """The server with accounts, Agents, specifications and the policy, as agentruns/kustomization.yaml lists them."""
    folder = ROOT / "agentruns"
    for item in documents(ROOT / "manifests" / "rbac" / "health-reader.yaml"):
        lab.must(lab.apply(item), item["kind"])
    for name in documents(folder / "kustomization.yaml")[0]["resources"]:
        for item in documents(folder / name):
            code, answer, warnings = lab.apply(item)
            assert (code < 300, warnings) == (True, []), (name, answer)
    for _ in range(300):  # a policy is in force some moments after it was stored
        code, _, _ = lab.create(bent("no digest"), dry=True)
        if code >= 400:
            return lab
        time.sleep(0.1)
    raise AssertionError("the policy never came into force")


def test_policy_when_stored_then_its_type_check_is_clean(platform: Any) -> None:
    """Every expression fits the deployed schema of AgentRun."""
    for _ in range(200):
        status = platform.call("GET", POLICY)[1].get("status", {})
        if "typeChecking" in status:
            break
        time.sleep(0.1)
    assert status["typeChecking"].get("expressionWarnings", []) == []


@pytest.mark.parametrize(("name", "purpose"), EVERY)
def test_run_when_filled_in_then_the_server_takes_it_and_when_not_it_does_not(
    name: str, purpose: str, platform: Any
) -> None:
    """Specification and run, strictly validated; the template as it is stored is denied."""
    change = CHANGES[name]
    platform.must(platform.apply(implementation_spec(change, purpose)), name)
    code, answer, warnings = platform.create(filled(change, purpose))
    assert (code, warnings) == (201, []), answer
    code, answer, _ = platform.create(agent_run(change, purpose))
    assert code == 422 and "torghut-actuation" in str(answer)


@pytest.mark.parametrize("case", [*BENDS, *(set(UNSEEN_BY_ADMISSION) - NOT_ITS_OWN)])
def test_run_when_one_thing_is_bent_then_the_server_refuses_it(case: str, platform: Any) -> None:
    """Every single mutation that weakens a run."""
    code, answer, _ = platform.create(bent(case), dry=True)
    assert code >= 400, answer


@pytest.mark.parametrize("case", UPDATES)
def test_run_when_it_exists_then_an_update_of_what_counts_is_refused(case: str, platform: Any) -> None:
    """By replacement of the whole object, old and new compared; an annotation may come and go."""
    stored = platform.must(platform.create(filled(CHANGES["pause-trading"], ACTUATION)), "run")
    path = platform.path(stored)
    changed = copy.deepcopy(stored)
    UPDATES[case](changed)
    code, answer, _ = platform.call("PUT", path, changed)
    assert code >= 400, answer
    annotated = copy.deepcopy(stored)
    annotated["metadata"]["annotations"] = {"agents.proompteng.ai/retain": "true"}
    annotated["metadata"]["finalizers"] = ["agents.proompteng.ai/runtime-cleanup"]
    assert platform.call("PUT", path, annotated)[0] == 200
    assert platform.patch(path + "/status", {"status": {"phase": "Running"}})[0] == 200


def test_run_when_it_is_not_ours_then_the_server_takes_it(platform: Any) -> None:
    """Other people's runs pass."""
    run = filled(CHANGES["pause-trading"], ACTUATION)
    run["metadata"] = {"generateName": "tidy-", "namespace": "agents"}
    run["spec"] = {
        "agentRef": {"name": "codex-agent"},
        "implementation": {"inline": {"text": "tidy the documents"}},
        "runtime": {"type": "workflow"},
        "workflow": {"steps": [{"name": "one"}]},
    }
    code, answer, _ = platform.create(run, dry=True)
    assert code == 201, answer


@pytest.mark.parametrize("account", ["torghut-diagnostics", "torghut-actuation"])
def test_account_when_used_then_it_may_get_its_run_and_nothing_else_there(
    account: str, platform: Any, tmp_path: Any
) -> None:
    """Not list, not write, no Secret, by the server's own answer."""

    def may(verb: str, group: str, resource: str, namespace: str) -> bool:
        attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": resource}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": f"system:serviceaccount:agents:{account}", "resourceAttributes": attributes},
        }
        answer = platform.must(platform.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body), verb)
        return bool(answer["status"]["allowed"])

    ours = "agents.proompteng.ai"
    asked = [
        (verb, ours, "agentruns", "agents") for verb in ("get", "list", "watch", "create", "update", "patch", "delete")
    ]
    assert [verb for verb, *rest in asked if may(verb, *rest)] == ["get"]
    for namespace in ("agents", "torghut", "kafka", "argocd"):
        assert not any(may(verb, "", "secrets", namespace) for verb in ("get", "list", "watch"))
    assert may("get", "serving.knative.dev", "services", "torghut")
    assert not may("patch", "serving.knative.dev", "services", "torghut")
