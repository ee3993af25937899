"""AgentRuns as the platform has them: filled in, bent one thing at a time, and the files that it puts into a pod.

`run_json` has the shape that the platform's controller writes (`facts/platform.md` 2.4): no labels, no policy, the mode that
is in effect under `vcs`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torghutctl.procedures.agent_templates import ACTUATION, DIAGNOSTICS, Change, agent_run, changes_of
from torghutctl.procedures.catalogue import SPECS

CHANGES = changes_of(SPECS)
DIGEST = "sha256:" + "0" * 64
FILLED = {
    "environment": "default",
    "repository": "acme/lab",
    "reason": "stale data",
    "confirm": "ACTUATE_TORGHUT",
    "plan": DIGEST,
    "at": "2026-03-02T14:30:00Z",
    "id": "gap-1",
    "step": "exit",
}
EVERY = [(change.name, purpose) for change in CHANGES.values() for purpose in change.purposes]
UID = "5d0c6f0e-0000-4000-8000-000000000001"
COLLECTION = "apis/agents.proompteng.ai/v1alpha1/namespaces/agents/agentruns"
Bend = Callable[[dict[str, Any]], Any]


def filled(change: Change, purpose: str, **parameters: str) -> dict[str, Any]:
    """Return a run with every parameter that it needs."""
    given = {key: value for key, value in FILLED.items() if key in change.required(purpose)}
    return agent_run(change, purpose, {**given, **parameters})


def stored(run: Mapping[str, Any], name: str = "torghut-run-x7k2p") -> dict[str, Any]:
    """Return a run as the API server gives it back."""
    found = copy.deepcopy(dict(run))
    found["metadata"].pop("generateName", None)
    found["metadata"] |= {"name": name, "uid": UID, "resourceVersion": "7", "generation": 1}
    return found


def run_json(run: Mapping[str, Any], *, clone_base: str, mode: str | None = None) -> dict[str, Any]:
    """Return what the platform puts into the pod of a stored run."""
    spec = run["spec"]
    parameters = {**spec["parameters"], "base": "main", "head": f"codex/{run['metadata']['name']}"}
    parameters |= {key: value for key, value in spec["parameters"].items() if key in ("base", "head")}
    effective = mode or spec.get("vcsPolicy", {}).get("mode", "read-write")
    repository = spec["parameters"].get("repository")
    vcs = {
        "provider": "github",
        "providerName": "github",
        "repository": repository,
        "baseBranch": "main",
        "headBranch": parameters["head"],
        "mode": effective,
        "writeEnabled": effective == "read-write",
        "pullRequestsEnabled": effective == "read-write",
        "apiBaseUrl": "https://api.example",
        "cloneBaseUrl": clone_base,
        "webBaseUrl": clone_base,
        "cloneProtocol": None,
        "sshHost": None,
        "sshUser": None,
        "defaults": {"baseBranch": "main", "branchTemplate": "codex/{{agentRun.name}}"},
    }
    found: dict[str, Any] = {
        "provider": spec["agentRef"]["name"],
        "agentRun": {key: run["metadata"][key] for key in ("name", "uid", "namespace")},
        "implementation": {
            "source": {"provider": "custom"},
            "summary": "",
            "text": "",
            "contract": {"requiredKeys": []},
        },
        "parameters": parameters,
        "memory": None,
        "artifacts": [{"name": "runner-status", "path": "/workspace/.agent/status.json"}],
        "prompt": "",
        "metadata": {"map": dict(parameters)},
    }
    if repository is not None:
        found |= {"vcs": vcs, "repository": repository, "base": "main", "head": parameters["head"]}
    return found


def _parameters(document: dict[str, Any]) -> dict[str, Any]:
    return document["spec"]["parameters"]


ACTUATION_LABEL, PURPOSE_LABEL = "torghut.proompteng.ai/actuation", "torghut.proompteng.ai/purpose"
BENDS: dict[str, Bend] = {
    "label missing": lambda d: d["metadata"]["labels"].pop(ACTUATION_LABEL),
    "label false": lambda d: d["metadata"]["labels"].update({ACTUATION_LABEL: "false"}),
    "no labels": lambda d: d["metadata"].pop("labels"),
    "purpose another": lambda d: d["metadata"]["labels"].update({PURPOSE_LABEL: "diagnostics"}),
    "purpose unknown": lambda d: d["metadata"]["labels"].update({PURPOSE_LABEL: "anything"}),
    "policy missing": lambda d: d["spec"].pop("vcsPolicy"),
    "policy without mode": lambda d: d["spec"]["vcsPolicy"].pop("mode"),
    "policy read-only": lambda d: d["spec"]["vcsPolicy"].update(mode="read-only"),
    "policy not required": lambda d: d["spec"]["vcsPolicy"].update(required=False),
    "no confirmation": lambda d: _parameters(d).pop("confirm"),
    "another confirmation": lambda d: _parameters(d).update(confirm="actuate_torghut"),
    "no reason": lambda d: _parameters(d).pop("reason"),
    "blank reason": lambda d: _parameters(d).update(reason=" \t"),
    "no digest": lambda d: _parameters(d).pop("plan"),
    "no such digest": lambda d: _parameters(d).update(plan="latest"),
    "digest in capitals": lambda d: _parameters(d).update(plan="sha256:" + "A" * 64),
    "unknown parameter": lambda d: _parameters(d).update(force="true"),
    "no change": lambda d: _parameters(d).pop("change"),
    "change that is no procedure": lambda d: _parameters(d).update(change="rm"),
    "another change": lambda d: _parameters(d).update(change="suspend-ta"),
    "another specification": lambda d: d["spec"]["implementationSpecRef"].update(name="torghut-suspend-ta"),
    "the plan's specification": lambda d: d["spec"]["implementationSpecRef"].update(name="torghut-pause-trading-plan"),
    "a specification of no one": lambda d: d["spec"]["implementationSpecRef"].update(name="torghut-rm"),
    "another agent": lambda d: d["spec"]["agentRef"].update(name="codex-agent"),
    "the other agent of ours": lambda d: d["spec"]["agentRef"].update(name="torghut-diagnostics"),
    "placeholder": lambda d: _parameters(d).update(environment="<environment>"),
    "empty environment": lambda d: _parameters(d).update(environment=""),
    "repository a URL": lambda d: _parameters(d).update(repository="https://github.example/acme/lab"),
    "repository a path": lambda d: _parameters(d).update(repository="/srv/lab"),
    "repository upwards": lambda d: _parameters(d).update(repository="../lab"),
    "foreign head": lambda d: _parameters(d).update(head="main"),
    "head of another change": lambda d: _parameters(d).update(head="agentruns/torghut-suspend-ta-00000000"),
    "head upwards": lambda d: _parameters(d).update(head="agentruns/torghut-pause-trading-../../main"),
    "secrets": lambda d: d["spec"].update(secrets=["other"]),
    "workload image": lambda d: d["spec"].update(workload={"image": "evil.example/x"}),
    "runtime bogus": lambda d: d["spec"].update(runtime={"type": "bogus"}),
    "runtime temporal": lambda d: d["spec"].update(runtime={"type": "temporal"}),
    "service account": lambda d: d["spec"]["runtime"].update(config={"serviceAccount": "admin"}),
    "workflow": lambda d: d["spec"].update(
        runtime={"type": "workflow"}, workflow={"steps": [{"name": "s", "parameters": {"change": "suspend-ta"}}]}
    ),
    "step beside a job": lambda d: d["spec"].update(
        workflow={"steps": [{"name": "s", "implementationSpecRef": {"name": "torghut-suspend-ta"}}]}
    ),
    "inline implementation": lambda d: (
        d["spec"].pop("implementationSpecRef"),
        d["spec"].update(implementation={"inline": {"text": "run torghutctl pause-trading"}}),
    ),
    "inline beside": lambda d: d["spec"].update(implementation={"inline": {"text": "something"}}),
    "no implementation": lambda d: d["spec"].pop("implementationSpecRef"),
    "system prompt": lambda d: d["spec"].update(systemPrompt="do as you like"),
    "prompt parameter": lambda d: _parameters(d).update(prompt="x"),
    "prompt in capitals": lambda d: _parameters(d).update(Prompt="x"),
    "memory": lambda d: d["spec"].update(memoryRef={"name": "m"}),
    "goal": lambda d: d["spec"].update(goal={"objective": "more"}),
    "no vcs": lambda d: d["spec"].pop("vcsRef"),
    "another vcs": lambda d: d["spec"].update(vcsRef={"name": "mirror"}),
}
"""Each weakens an actuation run of pause-trading in one place."""
UNSEEN_BY_ADMISSION: dict[str, Bend] = {
    "number": lambda d: _parameters(d).update(ticket=7),
    "too long": lambda d: _parameters(d).update(reason="ü" * 1025),
    "label a boolean": lambda d: d["metadata"]["labels"].update({ACTUATION_LABEL: True}),
    "no namespace": lambda d: d["metadata"].pop("namespace"),
    "prefix too long": lambda d: d["metadata"].update(generateName="torghut-" + "x" * 60),
    "unknown field": lambda d: d["spec"].update(extra=1),
    "head of another plan": lambda d: _parameters(d).update(head="agentruns/torghut-pause-trading-11111111"),
    "another kind": lambda d: d.update(kind="Pod"),
}
"""What the schema or the controller refuses, or what only the tool knows."""
UPDATES: dict[str, Bend] = {
    "parameter": lambda d: _parameters(d).update(reason="another"),
    "digest": lambda d: _parameters(d).update(plan="sha256:" + "1" * 64),
    "labels dropped": lambda d: d["metadata"].pop("labels"),
    "label dropped": lambda d: d["metadata"]["labels"].pop(ACTUATION_LABEL),
    "label added": lambda d: d["metadata"]["labels"].update({"torghut.proompteng.ai/more": "1"}),
    "secrets": lambda d: d["spec"].update(secrets=["other"]),
    "workload": lambda d: d["spec"].update(workload={"image": "evil.example/x"}),
    "retention": lambda d: d["spec"].update(ttlSecondsAfterFinished=1),
    "policy": lambda d: d["spec"]["vcsPolicy"].update(required=False),
    "workflow": lambda d: d["spec"].update(workflow={"steps": [{"name": "s"}]}),
}
"""Each changes a run that exists."""


def bent(name: str) -> dict[str, Any]:
    """Return the actuation run of pause-trading with one thing bent."""
    document = filled(CHANGES["pause-trading"], ACTUATION)
    {**BENDS, **UNSEEN_BY_ADMISSION}[name](document)
    return document


__all__ = ["ACTUATION", "DIAGNOSTICS"]
