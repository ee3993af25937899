"""The shape of the AgentRun platform's documents (`agents.proompteng.ai/v1alpha1`), and the rules beside it.

Written down from the platform's facts: field names, types, limits and CEL rules as its API server enforces them, plus the
limits that its controller checks after admission (bytes of a parameter's value, length of a name). A test holds it against
the deployed CRDs where they are at hand, and `agentruns validate --crds DIR` takes those themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

API_VERSION = "agents.proompteng.ai/v1alpha1"
MAX_NAME = 63
"""The platform puts a run's name into a pod label."""
MAX_PREFIX = 58
"""`metadata.generateName`: the API server adds five characters."""
MAX_VALUE_BYTES = 2048
"""Of a parameter's value, in UTF-8."""
Schema = Mapping[str, Any]


def _object(properties: Mapping[str, Schema], *required: str, rules: tuple[tuple[str, str], ...] = ()) -> Schema:
    found: dict[str, Any] = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    if required:
        found["required"] = list(required)
    if rules:
        found["x-kubernetes-validations"] = [{"rule": rule, "message": message} for rule, message in rules]
    return found


def _text(**limits: Any) -> Schema:
    return {"type": "string", **limits}


def _texts(most: int | None = None) -> Schema:
    return {"type": "array", "items": _text(), **({"maxItems": most} if most is not None else {})}


def _whole(least: int | None = None) -> Schema:
    return {"type": "integer", **({"minimum": least} if least is not None else {})}


def _choice(*words: str) -> Schema:
    return _text(enum=list(words))


_FREE: Schema = {"type": "object"}
_NAME_REF = _object({"name": _text()}, "name")
_TEXT_MAP: Schema = {"type": "object", "additionalProperties": _text()}
_PROMPT_REF = _object({"kind": _choice("Secret", "ConfigMap"), "name": _text(), "key": _text()}, "key", "kind", "name")
_PROMPT = {"systemPrompt": _text(maxLength=16_384), "systemPromptRef": _PROMPT_REF}
_RESOURCES = _object({"limits": _TEXT_MAP, "requests": _TEXT_MAP})
_VOLUME = _object(
    {
        "type": _choice("emptyDir", "pvc", "secret"),
        "name": _text(),
        "mountPath": _text(),
        "claimName": _text(),
        "secretName": _text(),
        "medium": _text(),
        "sizeLimit": _text(),
        "readOnly": {"type": "boolean"},
    },
    "mountPath",
    "name",
    "type",
)
_WORKLOAD = _object({"image": _text(), "resources": _RESOURCES, "volumes": {"type": "array", "items": _VOLUME}})
_IMPLEMENTATION = _object(
    {
        "source": _object(
            {
                "provider": _choice("github", "linear", "manual", "custom"),
                "externalId": _text(),
                "url": _text(),
            },
            "provider",
        ),
        "text": _text(maxLength=131_072),
        "summary": _text(maxLength=256),
        "description": _text(maxLength=131_072),
        "acceptanceCriteria": _texts(50),
        "labels": _texts(),
        "vcsRef": _NAME_REF,
        "contract": _object(
            {
                "requiredKeys": _texts(50),
                "mappings": {
                    "type": "array",
                    "maxItems": 100,
                    "items": _object({"from": _text(maxLength=256), "to": _text(maxLength=256)}, "from", "to"),
                },
            }
        ),
    },
    "text",
)
_INLINE = _object({"inline": _IMPLEMENTATION}, "inline")
_PARAMETERS: Schema = {"type": "object", "additionalProperties": _text(), "maxProperties": 100}
_LOOP = _object(
    {
        "maxIterations": _whole(1),
        "condition": _object(
            {
                "type": _choice("cel"),
                "expression": _text(),
                "source": _object(
                    {
                        "type": _choice("file"),
                        "path": _text(),
                        "onMissing": _choice("stop", "fail"),
                        "onInvalid": _choice("stop", "fail"),
                    }
                ),
            }
        ),
        "state": _object({"required": {"type": "boolean"}, "volumeNames": _texts(20)}),
    },
    "maxIterations",
)
_STEP = _object(
    {
        "name": _text(),
        "implementation": _INLINE,
        "implementationSpecRef": _NAME_REF,
        "parameters": {
            **_PARAMETERS,
            "x-kubernetes-validations": [
                {
                    "rule": "!('prompt' in self)",
                    "message": "workflow step parameters.prompt is not allowed; use ImplementationSpec.spec.text",
                }
            ],
        },
        "retries": _whole(),
        "retryBackoffSeconds": _whole(),
        "timeoutSeconds": _whole(0),
        "workload": _WORKLOAD,
        "loop": _LOOP,
    },
    "name",
)
SPECS: Mapping[str, Schema] = {
    "AgentRun": _object(
        {
            "agentRef": _NAME_REF,
            "implementationSpecRef": _NAME_REF,
            "implementation": _INLINE,
            "runtime": _object({"type": _choice("workflow", "job", "temporal", "custom"), "config": _FREE}, "type"),
            "workflow": _object({"steps": {"type": "array", "items": _STEP}}, "steps"),
            "workload": _WORKLOAD,
            "parameters": _PARAMETERS,
            "secrets": _texts(),
            **_PROMPT,
            "goal": _object({"objective": _text(minLength=1, maxLength=8192), "tokenBudget": _whole(1)}, "objective"),
            "memoryRef": _NAME_REF,
            "vcsRef": _NAME_REF,
            "vcsPolicy": _object({"required": {"type": "boolean"}, "mode": _choice("read-write", "read-only", "none")}),
            "idempotencyKey": _text(),
            "ttlSecondsAfterFinished": _whole(0),
        },
        "agentRef",
        "runtime",
        rules=(
            (
                "has(self.implementationSpecRef) || has(self.implementation)",
                "spec.implementationSpecRef or spec.implementation is required",
            ),
            (
                "!has(self.systemPrompt) && !has(self.systemPromptRef)",
                "AgentRun-level systemPrompt/systemPromptRef overrides are not allowed; configure Agent.spec.defaults instead",
            ),
            (
                "!has(self.parameters) || !('prompt' in self.parameters)",
                "spec.parameters.prompt is not allowed; use ImplementationSpec.spec.text",
            ),
        ),
    ),
    "ImplementationSpec": _IMPLEMENTATION,
    "Agent": _object(
        {
            "providerRef": _NAME_REF,
            "vcsRef": _NAME_REF,
            "memoryRef": _NAME_REF,
            "config": _FREE,
            "env": {"type": "array", "items": _object({"name": _text(), "value": _text()}, "name", "value")},
            "defaults": _object(
                {**_PROMPT, "timeoutSeconds": _whole(0), "retryLimit": _whole(0)},
                rules=(
                    (
                        "!(has(self.systemPrompt) && has(self.systemPromptRef))",
                        "Only one of systemPrompt or systemPromptRef may be set",
                    ),
                ),
            ),
            "security": _object(
                {
                    "allowedSecrets": _texts(),
                    "allowedServiceAccounts": _texts(),
                    "allowedImplementationSourceProviders": _texts(),
                }
            ),
        },
        "providerRef",
    ),
    "AgentProvider": _object(
        {
            "binary": _text(),
            "argsTemplate": _texts(),
            "envTemplate": _TEXT_MAP,
            "inputFiles": {
                "type": "array",
                "items": _object({"path": _text(), "content": _text()}, "content", "path"),
            },
            "outputArtifacts": {
                "type": "array",
                "items": _object(
                    {"name": _text(), "path": _text(), "key": _text(), "url": _text(maxLength=2048)}, "name"
                ),
            },
            "secretEnv": {
                "type": "array",
                "items": _object(
                    {"name": _text(), "secretName": _text(), "key": _text(), "optional": {"type": "boolean"}},
                    "key",
                    "name",
                    "secretName",
                ),
            },
            "workload": _object(
                {
                    "image": _text(),
                    "resources": _RESOURCES,
                    "serviceAccountName": _text(),
                    "serviceAccountToken": _object(
                        {
                            "audience": _text(minLength=1, maxLength=253),
                            "expirationSeconds": _whole(600),
                            "mountPath": _text(minLength=2, maxLength=1024, pattern="^/"),
                        },
                        "audience",
                        "expirationSeconds",
                        "mountPath",
                    ),
                }
            ),
            "adapter": _FREE,
            "health": _object({"capacityFailurePolicy": _choice("degrade", "block")}),
        },
        "binary",
    ),
}
"""The schema of `spec`, by kind."""
