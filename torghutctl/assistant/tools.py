"""The tools of the Model Context Protocol server: each one a command line that reads or plans, and can be nothing else.

A tool's arguments become options by a fixed table, one word each with `=`, so that a value can never become an option.
No tool has an argument for a reason, a confirmation, a branch, a pull request or an act.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torghutctl.procedures.catalogue import SPECS

_TARGET = {
    "environment": ("--environment", "entry of the environments file"),
    "config": ("--config", "environments file"),
    "kubeconfig": ("--kubeconfig", "kubeconfig file to read the cluster with"),
    "context": ("--context", "context in the kubeconfig"),
    "fromSnapshot": ("--from-snapshot", "bundle to read instead of anything live"),
    "at": ("--at", "RFC 3339 time to take for the time now"),
    "repo": ("--repo", "path or URL of the GitOps repository"),
    "base": ("--base", "branch that is deployed"),
    "gitopsPath": ("--gitops-path", "folder of the application in the repository"),
    "namespace": ("--namespace", "namespace of the system"),
    "service": ("--service", "Knative Service that trades"),
    "wsDeployment": ("--ws-deployment", "Deployment of the forwarder"),
    "flinkDeployment": ("--flink-deployment", "FlinkDeployment of the TA job"),
    "clickhouseService": ("--clickhouse-service", "Service of ClickHouse"),
    "cnpgCluster": ("--cnpg-cluster", "CloudNativePG Cluster"),
}
_LOCAL = {"local": ("--local", "folder of `up` or `demo` on this machine")}
_DIGEST = {"plan": ("--plan", "digest: fail when the plan is not this one any more")}
_OWN: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "rollback-image": {"to": ("--to", "digest to go back to, or how it begins")},
    "replay-ta": {
        "id": ("--id", "name of the replay"),
        "mode": ("--mode", "backfill or from-scratch"),
        "since": ("--since", "RFC 3339 begin of the wanted window"),
        "ticket": ("--ticket", "ticket of the change"),
        "kafkaPod": ("--kafka-pod", "from scratch: name of a Kafka broker's pod"),
        "minioPod": ("--minio-pod", "from scratch: name of the MinIO pod"),
    },
}
_FLAGS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "pause-trading": {"cancelOrders": ("--cancel-orders", "turn the kill switch on, which cancels open orders")},
    "resume-ta": {"restart": ("--restart", "raise the restart nonce too")},
    "rollback-image": {"list": ("--list", "list the last images instead of planning")},
}
_REPLAY_STEPS = ("start", "exit", "status")


class ArgumentError(ValueError):
    """An argument that the tool does not take, or not like this."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One tool: what it is for, and the command line it stands for."""

    name: str
    description: str
    command: str
    options: Mapping[str, tuple[str, str]]
    flags: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    """Sub-commands, one of which the argument `step` names."""
    is_report: bool = True
    """Whether the command writes a report, which is then asked for as JSON."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Arguments that are words of the command line by themselves, with what they mean."""

    def describe(self) -> dict[str, Any]:
        """Return the tool as `tools/list` tells of it."""
        properties: dict[str, Any] = {
            name: {"type": "string", "description": text} for name, (_, text) in self.options.items()
        }
        properties |= {name: {"type": "string", "description": text} for name, text in self.words.items()}
        properties |= {name: {"type": "boolean", "description": text} for name, (_, text) in self.flags.items()}
        if self.steps:
            properties["step"] = {"type": "string", "enum": list(self.steps), "description": "which step"}
        return {
            "name": self.name,
            "description": self.description,
            "inputSchema": {
                "type": "object",
                "properties": properties,
                "required": [*self.required, *(["step"] if self.steps else [])],
                "additionalProperties": False,
            },
            "annotations": {"readOnlyHint": True, "destructiveHint": False},
        }

    def command_line(self, arguments: Mapping[str, Any]) -> list[str]:
        """Return the arguments of torghutctl. Raises ArgumentError."""
        known = {*self.options, *self.flags, *self.words, *(["step"] if self.steps else [])}
        for name, value in arguments.items():
            if name not in known:
                raise ArgumentError(f"{name}: {self.name} has no such argument")
            wanted = bool if name in self.flags else str
            if not isinstance(value, wanted) or (isinstance(value, str) and (not value or "\0" in value)):
                kind = "true or false" if wanted is bool else "a text that is not empty"
                raise ArgumentError(f"{name}={value!r}: must be {kind}")
        for name in (*self.required, *(["step"] if self.steps else [])):
            if name not in arguments:
                raise ArgumentError(f"{name}: must be given")
        line = [self.command]
        if self.steps:
            if arguments["step"] not in self.steps:
                raise ArgumentError(f"step={arguments['step']!r}: must be one of {', '.join(self.steps)}")
            line.append(arguments["step"])
        line += [f"{option}={arguments[name]}" for name, (option, _) in self.options.items() if name in arguments]
        line += [flag for name, (flag, _) in self.flags.items() if arguments.get(name)]
        # Behind `--` a word can be no option.
        words = [arguments[name] for name in self.words if name in arguments]
        return [*line, *(["--output=json"] if self.is_report else []), *(["--", *words] if words else [])]


def _tools() -> list[Tool]:
    reading = {**_TARGET, **_LOCAL}
    tools = [
        Tool(
            name="health-report",
            description="Classify the whole system, name the top cause and the next procedure.",
            command="health-report",
            options=reading,
        ),
        Tool(
            name="status",
            description="Effective trading state: git, Argo CD, live spec, newest revision, service, side by side.",
            command="status",
            options=reading,
        ),
        Tool(
            name="explain",
            description="Explain a reason of the health report: what shows it, what would change it, what to do.",
            command="health-report",
            options={"reason": ("--why", "reason code, such as ta_stalled"), **reading},
            required=("reason",),
        ),
        Tool(
            name="runbook",
            description="A runbook's text, or without a name the list of them.",
            command="runbook",
            options={},
            words={"name": "as the health report names it"},
        ),
        Tool(
            name="snapshot",
            description="Write what a health report would read to a bundle, redacted, to judge again offline.",
            command="snapshot",
            options={name: option for name, option in reading.items() if name != "fromSnapshot"},
            words={"path": "folder or .tar.gz to write, which must not exist"},
            required=("path",),
            is_report=False,
        ),
    ]
    tools += [
        Tool(
            name=f"plan-{spec.name}",
            description=f"{spec.summary} Shows the plan and changes nothing. When: {spec.when} Needs: {spec.needs}",
            command=spec.name,
            options={**_TARGET, **_DIGEST, **_OWN.get(spec.name, {})},
            flags=_FLAGS.get(spec.name, {}),
            steps=_REPLAY_STEPS if spec.name == "replay-ta" else (),
        )
        for spec in SPECS.values()
    ]
    return tools


TOOLS: dict[str, Tool] = {tool.name: tool for tool in _tools()}
