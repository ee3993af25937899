"""Whether documents for the AgentRun platform would be accepted, and keep the rules of ours: schema, CEL, admission.

Pure. A document that passes is accepted by the API server with the deployed CRDs and the shipped policy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torghutctl.adapters.cel_client import CelError, evaluate
from torghutctl.adapters.json_schema import violations
from torghutctl.procedures.agent_policy import broken_rules
from torghutctl.procedures.agent_schema import API_VERSION, MAX_NAME, MAX_PREFIX, MAX_VALUE_BYTES, SPECS, Schema
from torghutctl.procedures.agent_templates import NAMESPACE, Change, head_prefix, implementation_spec

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9][a-z0-9.-]*")
_LABEL = re.compile(r"|[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
Schemas = Mapping[str, Schema]
"""The schema of a kind's `spec`, by kind."""


def problems_of(document: Any, changes: Mapping[str, Change], schemas: Schemas = SPECS) -> list[str]:
    """Return what is wrong with one document, each as `field: rule`; nothing where it is as it must be."""
    if not isinstance(document, Mapping):
        return ["is not a mapping"]
    kind = document.get("kind")
    if document.get("apiVersion") != API_VERSION or kind not in SPECS:
        return [f"apiVersion, kind: must be {API_VERSION} and one of {', '.join(SPECS)}"]
    schema = schemas.get(str(kind), SPECS[str(kind)])
    found = [
        f"{key}: unknown field" for key in document if key not in ("apiVersion", "kind", "metadata", "spec", "status")
    ]
    found += _of_metadata(document.get("metadata"), kind == "AgentRun")
    body = document.get("spec")
    found += violations(_strict(schema), body, at="spec")
    if found or not isinstance(body, Mapping):
        return found
    found += _cel(schema, body, "spec")
    if kind == "AgentRun":
        found += _of_parameters(body)
        found += broken_rules(document, changes)
        found += _of_head(body)
    elif kind == "ImplementationSpec":
        found += _of_specification(document, changes)
    return found


def problems_of_all(documents: Sequence[Any], changes: Mapping[str, Change], schemas: Schemas = SPECS) -> list[str]:
    """Return the problems of documents that are created in this order, each with the document's number."""
    found = [f"document {n}: {p}" for n, item in enumerate(documents, 1) for p in problems_of(item, changes, schemas)]
    names = [(item.get("kind"), _mapping(item.get("metadata")).get("name")) for item in map(_mapping, documents)]
    for number, item in enumerate(map(_mapping, documents), 1):
        wanted = ("ImplementationSpec", _mapping(_mapping(item.get("spec")).get("implementationSpecRef")).get("name"))
        if item.get("kind") == "AgentRun" and wanted in names[number:]:
            found.append(f"document {number}: stands before {wanted[0]} {wanted[1]}; a run that comes first is lost")
    return found


def _of_metadata(metadata: Any, is_run: bool) -> list[str]:
    if not isinstance(metadata, Mapping):
        return ["metadata: must be a mapping"]
    name, prefix = metadata.get("name"), metadata.get("generateName")
    found = []
    if name is None and not (is_run and prefix is not None):
        found.append("metadata.name: must be given" + (", or generateName" if is_run else ""))
    if name is not None and (not isinstance(name, str) or len(name) > MAX_NAME or not _NAME.fullmatch(name)):
        found.append(f"metadata.name={name!r}: must be a Kubernetes name of at most {MAX_NAME} characters")
    if prefix is not None and (
        not isinstance(prefix, str) or len(prefix) > MAX_PREFIX or not _PREFIX.fullmatch(prefix)
    ):
        found.append(f"metadata.generateName={prefix!r}: must begin a Kubernetes name, at most {MAX_PREFIX} characters")
    if metadata.get("namespace") != NAMESPACE:
        found.append(
            f"metadata.namespace={metadata.get('namespace')!r}: must be {NAMESPACE}, where the controller looks"
        )
    labels = metadata.get("labels", {})
    if not isinstance(labels, Mapping):
        return [*found, "metadata.labels: must be a mapping"]
    for key, value in labels.items():
        if not isinstance(value, str) or not _LABEL.fullmatch(value):
            found.append(
                f"metadata.labels.{key}={value!r}: must be a text that is a label's value (at most 63 characters)"
            )
    return found


def _of_parameters(body: Mapping[str, Any]) -> Iterable[str]:
    """Yield what the controller refuses after admission."""
    for key, value in _mapping(body.get("parameters")).items():
        if len(value.encode()) > MAX_VALUE_BYTES:
            yield f"spec.parameters.{key}: at most {MAX_VALUE_BYTES} bytes in UTF-8"
        if key.strip().lower() == "prompt":
            yield f"spec.parameters.{key}: no parameter may be called prompt, however it is written"


def _of_head(body: Mapping[str, Any]) -> Iterable[str]:
    """Yield where a head does not name the plan that the run carries out."""
    parameters = _mapping(body.get("parameters"))
    head, plan = str(parameters.get("head", "")), str(parameters.get("plan", ""))
    digest = plan.removeprefix("sha256:")[:8]
    if head.startswith(head_prefix(str(parameters.get("change")))) and plan and not head.endswith(f"-{digest}"):
        yield f"spec.parameters.head={head}: must end with -{digest}, the beginning of the plan's digest"


def _of_specification(document: Mapping[str, Any], changes: Mapping[str, Change]) -> Iterable[str]:
    """Yield where an ImplementationSpec that bears a name of ours is not ours."""
    name = _mapping(document.get("metadata")).get("name")
    for change in changes.values():
        for purpose in change.purposes:
            if (
                name == change.specification(purpose)
                and document.get("spec") != implementation_spec(change, purpose)["spec"]
            ):
                yield f"spec: is not the one of {name} that this version ships; torghutctl agentruns render writes it"
                return
    is_known = any(name == change.specification(purpose) for change in changes.values() for purpose in change.purposes)
    if str(name).startswith("torghut-") and not is_known:
        yield f"metadata.name={name!r}: this version knows no such specification"


def _strict(schema: Schema) -> dict[str, Any]:
    """Return an OpenAPI schema in which a field that it does not know is an error, as strict field validation has it."""
    found = dict(schema)
    if "properties" in found:
        found["properties"] = {key: _strict(value) for key, value in found["properties"].items()}
        if not found.get("x-kubernetes-preserve-unknown-fields"):
            found["additionalProperties"] = False
    if isinstance(found.get("items"), Mapping):
        found["items"] = _strict(found["items"])
    return found


def _cel(schema: Schema, value: Any, at: str) -> list[str]:
    """Return the messages of the CEL rules that `value` breaks, at every level of the schema."""
    found = []
    for rule in schema.get("x-kubernetes-validations", ()):
        try:
            holds = evaluate(rule["rule"], {"self": value}) is True
        except CelError:
            holds = False
        if not holds:
            found.append(f"{at}: {rule.get('message') or rule['rule']}")
    if isinstance(value, Mapping):
        for key, inner in schema.get("properties", {}).items():
            if key in value:
                found += _cel(inner, value[key], f"{at}.{key}")
    elif isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for index, item in enumerate(value):
            found += _cel(schema["items"], item, f"{at}[{index}]")
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
