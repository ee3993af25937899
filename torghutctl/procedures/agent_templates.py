"""AgentRun and ImplementationSpec documents for every procedure, made from its `SPEC` alone.

A procedure that acts through git gets an actuation run; one that deletes or acts at once gets diagnostics and nothing
else. The platform compares no values: the gates here and the admission policy beside the templates do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torghutctl.planning.gates import ACTUATION_LABEL, CONFIRM_PHRASE, PURPOSE_LABEL
from torghutctl.procedures.specification import Danger, Spec

API_VERSION = "agents.proompteng.ai/v1alpha1"
MAX_NAME, MAX_PARAMETERS, MAX_VALUE_BYTES, MAX_TEXT, MAX_SUMMARY = 63, 100, 2048, 131_072, 256
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
OPTIONS: dict[str, str] = {
    "environment": "--environment",
    "repo": "--repo",
    "base": "--base",
    "gitopsPath": "--gitops-path",
    "reason": "--reason",
    "confirm": "--confirm",
    "plan": "--plan",
    "at": "--at",
    "ticket": "--ticket",
    "to": "--to",
    "id": "--id",
    "since": "--since",
}
"""Parameters of a run that become options of the command; any other one is refused."""
FLAGS: dict[str, str] = {"cancelOrders": "--cancel-orders", "restart": "--restart"}
_OWN = {"change", "head", "issueNumber", "step"}
_STEPS = {"replay-ta": ("start", "exit", "status")}
_SYSTEM_PROMPT = (
    "You operate Torghut. Run exactly the command that the implementation names, once, and report its output. Never merge "
    "a pull request, never edit a file or a branch by hand, never repeat a refused command with other values."
)


def is_actuation(spec: Spec) -> bool:
    """Tell whether an agent may act with this procedure at all."""
    return spec.danger is Danger.GITOPS


def implementation_spec(spec: Spec) -> dict[str, Any]:
    """Return the ImplementationSpec: what the agent is told to do and when it is done."""
    acts = is_actuation(spec)
    command = "torghutctl agentruns exec"
    text = "\n".join(
        (
            f"{spec.summary}",
            "",
            f"When: {spec.when}",
            f"Needs: {spec.needs}",
            f"Does: {spec.does}" if acts else "Does: reads and plans only. A person acts at a terminal.",
            f"Verify: {spec.verify}",
            f"Undo: {spec.undo}",
            "",
            f"Run `{command}`. It takes everything from this run's parameters and opens a pull request."
            if acts
            else f"Run `{command}`. It takes everything from this run's parameters and shows a plan.",
            "Exit code 0: report the pull request and the digest. 6: report the refusal and stop. 7: report what moved and "
            "stop. Anything else: report the message and stop.",
        )
    )
    criteria = [
        "the command ran once and its whole output is reported",
        "a pull request with the plan's digest is open, and nothing was merged" if acts else "nothing was changed",
    ]
    return {
        "apiVersion": API_VERSION,
        "kind": "ImplementationSpec",
        "metadata": {"name": f"torghut-{spec.name}"},
        "spec": {
            "source": {"provider": "custom", "externalId": f"torghutctl/{spec.name}"},
            "summary": spec.summary[:MAX_SUMMARY],
            "text": text + "\n",
            "acceptanceCriteria": criteria,
            "contract": {"requiredKeys": sorted(_required(spec))},
        },
    }


def agent_run(spec: Spec, parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the AgentRun; values to be filled in are in angle brackets."""
    acts = is_actuation(spec)
    purpose = "actuation" if acts else "diagnostics"
    given = {key: f"<{key}>" for key in sorted(_required(spec))}
    given |= {"change": spec.name, "head": f"agentruns/torghut-{spec.name}", "issueNumber": "0"}
    given.update(parameters or {})
    labels = {PURPOSE_LABEL: purpose, **({ACTUATION_LABEL: "true"} if acts else {})}
    return {
        "apiVersion": API_VERSION,
        "kind": "AgentRun",
        "metadata": {"generateName": f"torghut-{spec.name}-", "labels": labels},
        "spec": {
            "agentRef": {"name": "codex-agent"},
            "implementationSpecRef": {"name": f"torghut-{spec.name}"},
            "runtime": {"type": "workflow"},
            "workflow": {"steps": [{"name": spec.name, "retries": 0, "timeoutSeconds": 1800}]},
            "systemPrompt": _SYSTEM_PROMPT,
            "parameters": dict(sorted(given.items())),
            "vcsRef": {"name": "github"},
            "vcsPolicy": {"required": True, "mode": "read-write"} if acts else {"required": False, "mode": "read-only"},
            "ttlSecondsAfterFinished": 2_592_000,
        },
    }


def _required(spec: Spec) -> set[str]:
    required = {"environment", "repo"}
    if is_actuation(spec):
        required |= {"reason", "confirm", "plan"}
    return required | ({"id", "step"} if spec.name in _STEPS else set())


def command_line(spec: Spec, parameters: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the arguments of torghutctl for a run's parameters, and what is wrong with them."""
    problems = [f"parameters.{key}: is not known" for key in sorted(set(parameters) - set(OPTIONS) - set(FLAGS) - _OWN)]
    arguments = [spec.name]
    if spec.name in _STEPS:
        step = str(parameters.get("step", ""))
        if step not in _STEPS[spec.name]:
            problems.append(f"parameters.step={step!r}: must be one of {', '.join(_STEPS[spec.name])}")
        arguments.append(step)
    for key, option in OPTIONS.items():
        value = parameters.get(key)
        if value not in (None, "") and not (not is_actuation(spec) and key in ("reason", "confirm")):
            # One word with `=`, so that a value can never become an option.
            arguments.append(f"{option}={value}")
    if parameters.get("at") and is_actuation(spec) and spec.needs_cluster:
        problems.append("parameters.at: is for a mere plan; what this starts is decided by the clock")
    arguments += [flag for key, flag in FLAGS.items() if str(parameters.get(key, "")).lower() == "true"]
    return [*arguments, *(["--pr"] if is_actuation(spec) else [])], problems


def problems_of(document: Mapping[str, Any], specs: Mapping[str, Spec]) -> list[str]:
    """Return what is wrong with an AgentRun or ImplementationSpec, by the platform's limits and by the gates."""
    kind = document.get("kind")
    if document.get("apiVersion") != API_VERSION or kind not in ("AgentRun", "ImplementationSpec"):
        return [f"apiVersion, kind: must be {API_VERSION} AgentRun or ImplementationSpec"]
    body = _mapping(document.get("spec"))
    if kind == "ImplementationSpec":
        text, summary = body.get("text"), body.get("summary", "")
        found = (
            []
            if isinstance(text, str) and 0 < len(text) <= MAX_TEXT
            else [f"spec.text: needs 1 to {MAX_TEXT} characters"]
        )
        return found + ([f"spec.summary: at most {MAX_SUMMARY} characters"] if len(str(summary)) > MAX_SUMMARY else [])
    return _run_problems(_mapping(document.get("metadata")), body, specs)


def _run_problems(metadata: Mapping[str, Any], body: Mapping[str, Any], specs: Mapping[str, Spec]) -> list[str]:
    found: list[str] = []
    if len(str(metadata.get("name", ""))) > MAX_NAME:
        found.append(f"metadata.name: at most {MAX_NAME} characters")
    if not _mapping(body.get("agentRef")).get("name"):
        found.append("spec.agentRef.name: must be given")
    steps = _mapping(body.get("workflow")).get("steps")
    if _mapping(body.get("runtime")).get("type") == "workflow" and not steps:
        found.append("spec.workflow.steps: a workflow without steps fails (MissingWorkflowSteps)")
    parameters = _mapping(body.get("parameters"))
    if len(parameters) > MAX_PARAMETERS:
        found.append(f"spec.parameters: at most {MAX_PARAMETERS}")
    for key, value in parameters.items():
        if not isinstance(value, str) or len(value.encode()) > MAX_VALUE_BYTES:
            found.append(f"spec.parameters.{key}: must be a string of at most {MAX_VALUE_BYTES} bytes")
    spec = specs.get(str(parameters.get("change")))
    if spec is None:
        return [*found, f"spec.parameters.change: must be one of {', '.join(specs)}"]
    found += command_line(spec, parameters)[1]
    labels, policy = _mapping(metadata.get("labels")), _mapping(body.get("vcsPolicy"))
    if not is_actuation(spec):
        if ACTUATION_LABEL in labels or policy.get("mode") not in ("read-only", "none"):
            found.append(f"{spec.name}: diagnostics only; no label {ACTUATION_LABEL}, vcsPolicy.mode read-only")
        return found
    if labels.get(ACTUATION_LABEL) != "true" or labels.get(PURPOSE_LABEL) != "actuation":
        found.append(f'metadata.labels: needs {ACTUATION_LABEL}: "true" and {PURPOSE_LABEL}: actuation')
    if policy.get("required") is not True or policy.get("mode") != "read-write":
        found.append("spec.vcsPolicy: must be {required: true, mode: read-write}")
    if not str(parameters.get("reason", "")).strip():
        found.append("spec.parameters.reason: must be given")
    if parameters.get("confirm") != CONFIRM_PHRASE:
        found.append(f"spec.parameters.confirm: must be {CONFIRM_PHRASE}")
    if DIGEST.fullmatch(str(parameters.get("plan", ""))) is None:
        found.append("spec.parameters.plan: must be the digest of the plan that was reviewed (parameters stay mutable)")
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
