"""AgentRun documents for every procedure and for the health report, made from the procedures' `SPEC`s alone.

A procedure has two runs in two phases. The diagnostics run may not write: it plans, and reports the digest and the
parameters of the second. The actuation run carries that digest and opens the pull request. What deletes, or acts outside
git, has the first alone. Both are carried out by the program itself in a pod of its own image, with an Agent and an
AgentProvider of its own: no language model stands between the parameters and the command.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torghutctl.planning.gates import ACTUATION_LABEL, PURPOSE_LABEL
from torghutctl.procedures.agent_schema import API_VERSION
from torghutctl.procedures.specification import Danger, Spec

NAMESPACE = "agents"
"""The controller looks at runs of its own namespaces alone."""
HEALTH_REPORT = "health-report"
DIAGNOSTICS, ACTUATION = "diagnostics", "actuation"
AGENTS = {DIAGNOSTICS: "torghut-diagnostics", ACTUATION: "torghut-actuation"}
"""Name of Agent, AgentProvider and ServiceAccount of a kind of run."""
VCS_PROVIDER = "github"
IMAGE = "registry.example/torghut/torghutctl@sha256:" + "0" * 64
"""Stands for the image until a release pins it."""
CONFIG_FOLDER = "/workspace/config"
OPTIONS: Mapping[str, str] = {
    "environment": "--environment",
    "base": "--base",
    "gitopsPath": "--gitops-path",
    "reason": "--reason",
    "confirm": "--confirm",
    "plan": "--plan",
    "at": "--at",
    "ticket": "--ticket",
    "to": "--to",
    "id": "--id",
    "mode": "--mode",
    "since": "--since",
    "namespace": "--namespace",
    "service": "--service",
    "wsDeployment": "--ws-deployment",
    "flinkDeployment": "--flink-deployment",
    "clickhouseService": "--clickhouse-service",
    "cnpgCluster": "--cnpg-cluster",
}
"""Parameters of a run that become options of the command; any other one is refused."""
FLAGS: Mapping[str, str] = {"cancelOrders": "--cancel-orders", "restart": "--restart", "all": "--all"}
OWN = ("change", "head", "repository", "step")
"""Parameters that are no option by themselves."""
KNOWN = (*OPTIONS, *FLAGS, *OWN)
_OF_PROCEDURE: Mapping[str, tuple[str, ...]] = {
    "pause-trading": ("cancelOrders",),
    "rollback-image": ("to",),
    "resume-ta": ("restart",),
    "suspend-ta": ("all",),
    "replay-ta": ("id", "mode", "since", "step"),
}
"""What only these procedures take."""
_OF_ACTING = ("reason", "confirm", "plan", "ticket", "head")
_NOT_OF_REPORT = ("at", "ticket")
STEPS: Mapping[str, tuple[str, ...]] = {"replay-ta": ("start", "exit", "status")}
_OF_STEP: Mapping[str, tuple[str, ...]] = {"start": ("id", "mode", "since"), "status": ("id",), "exit": ()}
ACTING_STEPS: Mapping[str, tuple[str, ...]] = {"replay-ta": ("start", "exit")}
BACKFILL = "backfill"
"""The only mode of a replay that a run may act with; from scratch deletes, and is for a person at a terminal."""
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_SECONDS = 1800
_RETENTION_SECONDS = 2_592_000
_PROMPTS = {
    DIAGNOSTICS: "This Agent runs torghutctl and nothing else, to read and to plan. It changes nothing: no branch, no pull "
    "request, no object of the cluster. A run that asks for more is refused.",
    ACTUATION: "This Agent runs torghutctl and nothing else, once a run. It opens one pull request for one reviewed plan and "
    "never merges one, never edits a file or a branch by hand, never pushes to the base branch, never repeats a refused "
    "command with other values. Live trading, secrets and whatever deletes are not within its reach.",
}


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing that a run may be about."""

    name: str
    spec: Spec | None
    """None for the health report."""

    @property
    def may_act(self) -> bool:
        """Whether an agent may act with it at all."""
        return self.spec is not None and (self.spec.danger is Danger.GITOPS or self.name in ACTING_STEPS)

    @property
    def purposes(self) -> tuple[str, ...]:
        return (DIAGNOSTICS, ACTUATION) if self.may_act else (DIAGNOSTICS,)

    def specification(self, purpose: str) -> str:
        """Return the name of its ImplementationSpec."""
        return f"torghut-{self.name}" if purpose == ACTUATION or self.spec is None else f"torghut-{self.name}-plan"

    def required(self, purpose: str) -> tuple[str, ...]:
        """Return the parameters that a run must have, by `contract.requiredKeys`."""
        keys = {"change", "environment"}
        if self.spec is not None:
            keys |= {"repository"}
        if self.name in STEPS:
            keys |= {"step"}
        if purpose == ACTUATION:
            keys |= {"reason", "confirm", "plan"}
            if self.spec is not None and self.spec.is_stamped:
                keys |= {"at"}
        return tuple(sorted(keys))

    def known(self, purpose: str) -> tuple[str, ...]:
        """Return every parameter that a run may have."""
        foreign = {key for name, keys in _OF_PROCEDURE.items() if name != self.name for key in keys}
        if purpose == DIAGNOSTICS:
            foreign |= set(_OF_ACTING) - {"head"}
        if self.spec is None:
            foreign |= set(_NOT_OF_REPORT)
        elif purpose == ACTUATION and self.spec.needs_cluster and not self.spec.is_stamped:
            foreign |= {"at"}
        return tuple(key for key in KNOWN if key not in foreign)


def changes_of(specs: Mapping[str, Spec]) -> dict[str, Change]:
    """Return everything a run may be about, by name."""
    found = {name: Change(name=name, spec=spec) for name, spec in specs.items()}
    return {**found, HEALTH_REPORT: Change(name=HEALTH_REPORT, spec=None)}


def head_prefix(change: str) -> str:
    """Return the beginning of every branch that the program pushes for a change."""
    return f"agentruns/torghut-{change}-"


def implementation_spec(change: Change, purpose: str) -> dict[str, Any]:
    """Return the ImplementationSpec: what a run is for, what it takes, runs and tells, and what it never does."""
    spec, acts = change.spec, purpose == ACTUATION
    summary = (
        spec.summary if spec is not None else "Classify the whole system; name the top cause and the next procedure."
    )
    if not acts and spec is not None:
        summary = f"Plan, changing nothing: {summary[0].lower()}{summary[1:]}"
    lines = [f"Objective: {summary}"]
    if spec is not None:
        lines += [
            f"When: {spec.when}",
            f"Needs: {spec.needs}",
            f"Does: {spec.does if acts else 'reads and plans only.'}",
        ]
        lines += [f"Verify: {spec.verify}", f"Undo: {spec.undo}"] if acts else []
    if not change.may_act and spec is not None:
        lines.append("Acting: a person does it at a terminal; no run may.")
    lines += [
        "",
        f"Inputs (parameters): {', '.join(change.required(purpose))}; optional: "
        + ", ".join(key for key in change.known(purpose) if key not in change.required(purpose) and key != "head")
        + ".",
        "",
        "Commands: the provider runs `torghutctl agentruns exec`, which validates the run, asks the gates and then runs "
        "exactly this:",
        "",
        f"    {shown_command(change, purpose)}",
        "",
        "Output: a markdown report, and in the run's status the exit code, the refusal if any, the plan's digest"
        + (" and the pull request." if acts else ", and the parameters of the actuation run that carries it out.")
        if spec is not None
        else "Output: the report in markdown; its exit code is 0 healthy, 3 degraded, 4 down, 5 unknown.",
        "",
        "Never: merge a pull request; push to the base branch; edit a file by hand; run another procedure than the one "
        "named by `change`; repeat a refused command with other values; show a secret.",
    ]
    return {
        "apiVersion": API_VERSION,
        "kind": "ImplementationSpec",
        "metadata": {"name": change.specification(purpose), "namespace": NAMESPACE},
        "spec": {
            "source": {"provider": "custom", "externalId": f"torghutctl/{change.name}/{purpose}"},
            "summary": summary[:256],
            "text": "\n".join(lines) + "\n",
            "acceptanceCriteria": [
                "the command ran once and its whole output is reported",
                "one pull request with the plan's digest is open, and nothing was merged"
                if acts
                else "nothing was changed",
            ],
            "contract": {"requiredKeys": list(change.required(purpose))},
        },
    }


def agent_run(change: Change, purpose: str, parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the AgentRun; values that are to be filled in stand in angle brackets, and no check lets them pass."""
    acts = purpose == ACTUATION
    given = {key: f"<{key}>" for key in change.required(purpose)}
    given["change"] = change.name
    if change.spec is not None:
        given["base"] = "main"
    if acts:
        given["head"] = _head(change.name, {**given, **(parameters or {})})
    given.update(parameters or {})
    labels = {PURPOSE_LABEL: purpose, **({ACTUATION_LABEL: "true"} if acts else {})}
    policy = {"required": True, "mode": "read-write"} if acts else {"required": False, "mode": "read-only"}
    body: dict[str, Any] = {
        "agentRef": {"name": AGENTS[purpose]},
        "implementationSpecRef": {"name": change.specification(purpose)},
        "runtime": {"type": "job"},
        "parameters": dict(sorted(given.items())),
        "vcsRef": {"name": VCS_PROVIDER},
        "vcsPolicy": policy,
        "ttlSecondsAfterFinished": _RETENTION_SECONDS,
    }
    if change.spec is None:
        body["vcsPolicy"] = {"required": False, "mode": "none"}
    suffix = "" if acts or change.spec is None else "plan-"
    return {
        "apiVersion": API_VERSION,
        "kind": "AgentRun",
        "metadata": {"generateName": f"torghut-{change.name}-{suffix}", "namespace": NAMESPACE, "labels": labels},
        "spec": body,
    }


def _head(change: str, parameters: Mapping[str, str]) -> str:
    """Return the branch as the program will name it, as far as its time and digest are known."""
    stamp = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):\d\dZ", parameters.get("at", ""))
    digest = re.fullmatch(r"sha256:([0-9a-f]{8})[0-9a-f]{56}", parameters.get("plan", ""))
    parts = ["".join(stamp.groups()[:3]) + "-" + "".join(stamp.groups()[3:])] if stamp else []
    return head_prefix(change) + "-".join([*parts, digest[1] if digest else "plan"])


def command_line(change: Change, purpose: str, parameters: Mapping[str, str], *, repo: str | None) -> list[str]:
    """Return the arguments of torghutctl for a run. `repo` is the address that `parameters.repository` means.

    One word with `=` each, so that a value can never become an option.
    """
    arguments = [change.name]
    if change.name in STEPS:
        arguments.append(parameters.get("step", ""))
    known = set(change.known(purpose))
    if change.name in STEPS:
        known -= set(_OF_PROCEDURE[change.name]) - set(_OF_STEP.get(parameters.get("step", ""), ()))
    arguments += [
        f"{option}={parameters[key]}" for key, option in OPTIONS.items() if key in known and parameters.get(key)
    ]
    if repo is not None:
        arguments.append(f"--repo={repo}")
    arguments += [flag for key, flag in FLAGS.items() if key in known and parameters.get(key) == "true"]
    return [*arguments, *(["--pr"] if purpose == ACTUATION else [])]


def shown_command(change: Change, purpose: str) -> str:
    """Return the command line of a run with its values in capitals, as the ImplementationSpec shows it."""
    values = {key: key.upper() for key in change.required(purpose)}
    if change.name in STEPS:
        values["step"] = STEPS[change.name][0]
        values["id"] = "ID"
    if "at" in values:
        values["at"] = "2026-03-02T14:30:00Z"
    if "plan" in values:
        values["plan"] = "sha256:" + "0" * 64
    return " ".join(["torghutctl", *command_line(change, purpose, values, repo=None if change.spec is None else "URL")])


def agents() -> list[dict[str, Any]]:
    """Return an Agent and an AgentProvider of each kind of run: our image, our ServiceAccount, nothing else in reach."""
    found: list[dict[str, Any]] = []
    for purpose, name in AGENTS.items():
        metadata = {"name": name, "namespace": NAMESPACE, "labels": {"app.kubernetes.io/part-of": "torghut"}}
        provider = {
            "binary": "/usr/local/bin/torghutctl",
            "argsTemplate": ["agentruns", "exec"],
            "envTemplate": {"XDG_CONFIG_HOME": CONFIG_FOLDER, "HOME": "/workspace"},
            "inputFiles": [{"path": f"{CONFIG_FOLDER}/torghut/environments.yaml", "content": _ENVIRONMENTS}],
            "outputArtifacts": [{"name": "report", "path": "/workspace/.agent/report.md"}],
            "adapter": {"type": "exec"},
            "workload": {
                "image": IMAGE,
                "serviceAccountName": name,
                "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
            },
            "health": {"capacityFailurePolicy": "block"},
        }
        agent = {
            "providerRef": {"name": name},
            "vcsRef": {"name": VCS_PROVIDER},
            "defaults": {"systemPrompt": _PROMPTS[purpose], "timeoutSeconds": _SECONDS, "retryLimit": 0},
            "security": {
                # The platform itself mounts these two into every run; none else may be named.
                "allowedSecrets": ["codex-auth", "github-token"],
                "allowedServiceAccounts": [name],
                "allowedImplementationSourceProviders": ["custom"],
            },
        }
        found.append({"apiVersion": API_VERSION, "kind": "AgentProvider", "metadata": metadata, "spec": provider})
        found.append({"apiVersion": API_VERSION, "kind": "Agent", "metadata": metadata, "spec": agent})
    return found


_ENVIRONMENTS = """# Who may be named by parameters.environment. Tokens never stand here.
environments:
  paper:
    namespace: torghut
    gitopsPath: argocd/applications/torghut
"""
