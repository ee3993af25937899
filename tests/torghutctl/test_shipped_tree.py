"""The shipped GitOps tree, looked at without a server: who runs as what, and that budgets select something."""

from __future__ import annotations

from typing import Any

import pytest

from tests.torghutctl.test_shipped_environment import documents

DOCUMENTS = list(documents())
CLUSTER_SCOPED = {"Kustomization"}
"""Kinds of the tree that have no namespace."""
OPERATORS_PODS = [
    {"clickhouse.altinity.com/chi": "torghut-clickhouse", "clickhouse.altinity.com/cluster": "default"},
    {"clickhouse-keeper.altinity.com/chk": "torghut-keeper"},
    {"cnpg.io/cluster": "torghut-db"},
    {"serving.knative.dev/service": "torghut"},
]
"""Labels of the pods that operators make of the tree's custom resources."""


def of(kind: str) -> list[dict[str, Any]]:
    return [item for item in DOCUMENTS if item["kind"] == kind]


def pod(document: dict[str, Any]) -> dict[str, Any]:
    """Return the pod's spec of a Deployment or a Knative Service."""
    spec: dict[str, Any] = document["spec"]["template"]["spec"]
    return spec


WORKLOADS = [*of("Deployment"), *(item for item in of("Service") if "template" in item["spec"])]
NAMES = [item["metadata"]["name"] for item in WORKLOADS]


def pods_labels() -> list[dict[str, str]]:
    """Return the labels of every pod that the tree leads to, as far as they are known before a run."""
    own: list[dict[str, str]] = [item["spec"]["template"]["metadata"]["labels"] for item in of("Deployment")]
    return [*own, *OPERATORS_PODS]


def is_selected(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector takes a pod with these labels."""
    if not all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for row in selector.get("matchExpressions", []):
        assert row["operator"] == "In", row
        if labels.get(row["key"]) not in row["values"]:
            return False
    return True


def test_documents_when_they_are_namespaced_then_each_states_its_own() -> None:
    """The root kustomization sets none: it would move the Roles that belong to other namespaces."""
    silent = [
        (item["kind"], item["metadata"]["name"])
        for item in DOCUMENTS
        if item["kind"] not in CLUSTER_SCOPED and not item["metadata"].get("namespace")
    ]
    assert silent == []


@pytest.mark.parametrize("workload", WORKLOADS, ids=NAMES)
def test_workload_when_it_runs_then_with_an_account_of_its_own_and_no_token(workload: dict[str, Any]) -> None:
    """Nothing that is shipped talks to the Kubernetes API; the account named exists and mounts no token."""
    accounts = {item["metadata"]["name"]: item for item in of("ServiceAccount")}
    account = accounts[pod(workload)["serviceAccountName"]]
    assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize("workload", WORKLOADS, ids=NAMES)
def test_workload_when_it_runs_then_it_is_confined(workload: dict[str, Any]) -> None:
    """Not root, no capability, the runtime's seccomp profile, a root that cannot be written and a /tmp that can."""
    spec = pod(workload)
    (container,) = spec["containers"]
    own = container["securityContext"]
    found = {**spec.get("securityContext", {}), **own}
    assert {
        "runAsNonRoot": found["runAsNonRoot"],
        "runAsUser": found["runAsUser"],
        "seccomp": found["seccompProfile"]["type"],
        "readOnlyRootFilesystem": own["readOnlyRootFilesystem"],
        "allowPrivilegeEscalation": own["allowPrivilegeEscalation"],
        "drop": own["capabilities"]["drop"],
    } == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "seccomp": "RuntimeDefault",
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "drop": ["ALL"],
    }
    (volume,) = [row["name"] for row in container["volumeMounts"] if row["mountPath"] == "/tmp"]
    assert {"name": volume, "emptyDir": {}} in spec["volumes"]
    assert {"cpu", "memory"} == set(container["resources"]["requests"])
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("budget", of("PodDisruptionBudget"), ids=lambda item: item["metadata"]["name"])
def test_budget_when_a_node_is_drained_then_it_selects_pods_and_never_blocks_the_only_one(
    budget: dict[str, Any],
) -> None:
    """A selector that no pod has protects nothing; `minAvailable: 1` of one replica stops every drain."""
    chosen = [labels for labels in pods_labels() if is_selected(budget["spec"]["selector"], labels)]
    assert (len(chosen), budget["spec"]["maxUnavailable"]) == (1, 1)
    assert "minAvailable" not in budget["spec"]


FLOWS = [
    ("torghut-ta", "clickhouse.altinity.com/chi", 8123),
    ("torghut-scheduler", "clickhouse.altinity.com/chi", 8123),
    ("torghut-visuals", "clickhouse.altinity.com/chi", 8123),
    ("torghut-clickhouse-guardrails-exporter", "clickhouse.altinity.com/chi", 8123),
    ("torghut", "clickhouse.altinity.com/chi", 8123),
    ("torghut-scheduler", "cnpg.io/cluster", 5432),
    ("torghut-visuals", "cnpg.io/cluster", 5432),
    ("torghut", "cnpg.io/cluster", 5432),
    ("torghut-scheduler", "torghut-visuals", 8090),
    ("torghut-ws", "torghut-visuals", 8090),
    ("torghut-clickhouse", "clickhouse-keeper.altinity.com/chk", 2181),
    ("torghut-db", "cnpg.io/cluster", 5432),
    ("anybody", "torghut-ws", 8080),
    ("anybody", "torghut-ws", 9090),
    ("anybody", "torghut-ta", 8080),
    ("anybody", "torghut-ta", 9090),
    ("anybody", "torghut-scheduler", 8183),
    ("anybody", "torghut-clickhouse-guardrails-exporter", 9108),
]
"""Who calls whom at which port: a runtime's environment names the address, `health-report` and Prometheus the rest."""
SHUT = [
    ("anybody", "clickhouse.altinity.com/chi", 8123),
    ("torghut-ws", "clickhouse.altinity.com/chi", 9000),
    ("anybody", "cnpg.io/cluster", 5432),
    ("torghut-ws", "cnpg.io/cluster", 5432),
    ("torghut-ta", "clickhouse-keeper.altinity.com/chk", 2181),
    ("anybody", "torghut-visuals", 22),
]


def labels_of(name: str) -> dict[str, str]:
    """Return the labels of a workload's pods; an operator's are found by its object's name or by its label's key."""
    for labels in OPERATORS_PODS:
        if name in labels or name in labels.values():
            return labels
    return next((labels for labels in pods_labels() if labels.get("app") == name), {"app": name})


def is_let_in(source: dict[str, str], target: dict[str, str], port: int) -> bool:
    """Whether a pod of the namespace reaches another at a port, by the policies' rules: any of them is enough."""
    for policy in of("NetworkPolicy"):
        if not is_selected(policy["spec"]["podSelector"], target):
            continue
        for rule in policy["spec"].get("ingress", []):
            peers = rule.get("from")
            is_known = peers is None or any(is_selected(peer["podSelector"], source) for peer in peers)
            ports = [row["port"] for row in rule.get("ports", [])]
            if is_known and (not ports or port in ports):
                return True
    return False


@pytest.mark.parametrize(("source", "target", "port"), FLOWS)
def test_policies_when_a_part_calls_another_then_it_is_let_in(source: str, target: str, port: int) -> None:
    """Each call that the system makes has a rule, or a part would starve once the policies are applied."""
    assert is_let_in(labels_of(source), labels_of(target), port)


@pytest.mark.parametrize(("source", "target", "port"), SHUT)
def test_policies_when_nobody_has_business_there_then_it_is_shut(source: str, target: str, port: int) -> None:
    """The data stores take their own clients alone."""
    assert not is_let_in(labels_of(source), labels_of(target), port)


@pytest.mark.parametrize("policy", of("NetworkPolicy"), ids=lambda item: item["metadata"]["name"])
def test_policy_when_applied_then_it_selects_pods(policy: dict[str, Any]) -> None:
    """A policy for pods that are not there opens and shuts nothing."""
    assert any(is_selected(policy["spec"]["podSelector"], labels) for labels in pods_labels())


def test_policies_when_a_pod_is_named_by_none_then_nothing_is_let_in() -> None:
    """One policy selects every pod of the namespace and lets nothing in."""
    (default,) = [item for item in of("NetworkPolicy") if item["spec"]["podSelector"] == {}]
    assert (default["spec"]["policyTypes"], default["spec"].get("ingress")) == (["Ingress"], None)


@pytest.mark.parametrize("workload", WORKLOADS, ids=NAMES)
def test_policies_when_a_container_has_ports_then_each_is_reachable(workload: dict[str, Any]) -> None:
    """A port that is declared is read by somebody."""
    name = workload["metadata"]["name"]
    (container,) = pod(workload)["containers"]
    shut = [
        row["containerPort"]
        for row in container["ports"]
        if not is_let_in({"app": "anybody"}, labels_of(name), row["containerPort"])
    ]
    assert shut == []


def test_documents_when_built_together_then_no_two_have_one_identity() -> None:
    """kustomize refuses a tree with the same object twice; the TA's two engines are of different kinds."""
    seen = [
        (item["apiVersion"].partition("/")[0], item["kind"], item["metadata"]["namespace"], item["metadata"]["name"])
        for item in DOCUMENTS
        if item["kind"] not in CLUSTER_SCOPED
    ]
    assert sorted({each for each in seen if seen.count(each) > 1}) == []
    assert len(seen) > 50


def test_kustomizations_when_they_list_then_nothing_is_moved_to_another_namespace() -> None:
    """A `namespace:` above would rewrite the Roles for kafka and argocd."""
    assert [item for item in of("Kustomization") if "namespace" in item] == []
    (root,) = [item for item in of("Kustomization") if "knative-service.yaml" in item["resources"]]
    assert {"rbac", "network", "observability"} <= set(root["resources"])
    assert {"kafka", "argocd"}.isdisjoint(root["resources"])
