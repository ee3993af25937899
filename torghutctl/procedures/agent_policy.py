"""The rules that a run of ours has to keep, in CEL: enforced on the cluster by admission, and here before it gets there.

The platform compares no values and lets parameters, policy and labels change after a run was accepted, so a
ValidatingAdmissionPolicy does. It is written from these rows (scripts/write_agent_templates.py), and `agentruns validate`,
`render` and `exec` evaluate the same rows: what one lets pass, the other does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torghutctl.adapters.cel_client import CelError, evaluate
from torghutctl.planning.gates import ACTUATION_LABEL, CONFIRM_PHRASE, PURPOSE_LABEL
from torghutctl.procedures.agent_schema import MAX_VALUE_BYTES
from torghutctl.procedures.agent_templates import (
    ACTING_STEPS,
    ACTUATION,
    AGENTS,
    BACKFILL,
    DIAGNOSTICS,
    REPOSITORY,
    STEPS,
    VCS_PROVIDER,
    Change,
)

NAME = "torghut-actuation"
_LABELS = "torghut.proompteng.ai/"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule: what must be true, and what is said when it is not."""

    expression: str
    message: str


def _in(values: Iterable[str]) -> str:
    return "[" + ", ".join(f"'{value}'" for value in values) + "]"


def _ours(run: str) -> str:
    """Return whether `run` has to do with us: by label, Agent, specification at any level, or an inline order to run us."""
    steps = f"has({run}.spec.workflow) && {run}.spec.workflow.steps.exists(step, "
    inline = "{0}.implementation.inline.text.contains('torghutctl') || has({0}.implementation.inline.source) && "
    inline += "has({0}.implementation.inline.source.externalId) && "
    inline += "{0}.implementation.inline.source.externalId.startsWith('torghutctl/')"
    return (
        f"(has({run}.metadata.labels) && {run}.metadata.labels.exists(key, key.startsWith('{_LABELS}')))"
        f" || {run}.spec.agentRef.name.startsWith('torghut-')"
        f" || (has({run}.spec.implementationSpecRef) && {run}.spec.implementationSpecRef.name.startsWith('torghut-'))"
        f" || (has({run}.spec.implementation) && ({inline.format(f'{run}.spec')}))"
        f" || ({steps}has(step.implementationSpecRef) && step.implementationSpecRef.name.startsWith('torghut-')"
        f" || has(step.implementation) && ({inline.format('step')})))"
    )


def match_conditions() -> list[dict[str, str]]:
    """Return the condition under which a run is looked at: what it is, or what it was, is ours."""
    return [
        {
            "name": "is-torghut",
            "expression": f"{_ours('object')} || (oldObject != null && ({_ours('oldObject')}))",
        }
    ]


VARIABLES: Mapping[str, str] = {
    "labels": "has(object.metadata.labels) ? object.metadata.labels : {}",
    "parameters": "has(object.spec.parameters) ? object.spec.parameters : {}",
    "specification": "has(object.spec.implementationSpecRef) ? object.spec.implementationSpecRef.name : ''",
    "change": "has(object.spec.parameters) && 'change' in object.spec.parameters ? object.spec.parameters['change'] : ''",
    "purpose": f"has(object.metadata.labels) && '{PURPOSE_LABEL}' in object.metadata.labels"
    f" ? object.metadata.labels['{PURPOSE_LABEL}'] : ''",
    "mode": "has(object.spec.vcsPolicy) && has(object.spec.vcsPolicy.mode) ? object.spec.vcsPolicy.mode : 'read-write'",
}
"""In the order in which they are evaluated; a mode that is left out is read-write on the platform."""


def _when(key: str, test: str) -> str:
    """Return a test of a parameter that holds where it is not given."""
    place = f"variables.parameters['{key}']"
    return f"!('{key}' in variables.parameters) || {test.format(value=place)}"


def rules(changes: Mapping[str, Change]) -> list[Rule]:
    """Return every rule of a run, in the order in which they are told."""
    acting = [name for name, change in changes.items() if change.may_act]
    of_specification = {
        change.specification(purpose): (change, purpose) for change in changes.values() for purpose in change.purposes
    }
    pairs = _in(f"{name} {change.name} {purpose}" for name, (change, purpose) in of_specification.items())
    found = [
        Rule(
            expression="!has(object.spec.implementation) && !has(object.spec.workflow) && object.spec.runtime.type == 'job'"
            " && !has(dyn(object.spec.runtime).config)",
            message="spec: runtime.type must be job without config, and the implementation one of ours by "
            "implementationSpecRef; no inline implementation, no workflow",
        ),
        Rule(
            expression="!has(object.spec.secrets) && !has(object.spec.workload) && !has(object.spec.goal)"
            " && !has(object.spec.memoryRef)",
            message="spec: secrets, workload, goal and memoryRef must not be given",
        ),
        Rule(
            expression=f"variables.specification + ' ' + variables.change + ' ' + variables.purpose in {pairs}",
            message="spec.implementationSpecRef, spec.parameters.change and the label "
            f"{PURPOSE_LABEL} must belong together (torghut-CHANGE-plan for diagnostics, torghut-CHANGE for actuation)",
        ),
        Rule(
            expression=f"variables.purpose == '{ACTUATION}' ? object.spec.agentRef.name == '{AGENTS[ACTUATION]}'"
            f" : object.spec.agentRef.name == '{AGENTS[DIAGNOSTICS]}'",
            message=f"spec.agentRef.name: must be {AGENTS[DIAGNOSTICS]} for diagnostics, {AGENTS[ACTUATION]} for actuation",
        ),
        Rule(
            expression=f"has(object.spec.vcsRef) && object.spec.vcsRef.name == '{VCS_PROVIDER}'",
            message=f"spec.vcsRef.name: must be {VCS_PROVIDER}",
        ),
        Rule(
            expression=f"variables.purpose == '{ACTUATION}'"
            f" ? '{ACTUATION_LABEL}' in variables.labels && variables.labels['{ACTUATION_LABEL}'] == 'true'"
            f" : !('{ACTUATION_LABEL}' in variables.labels)",
            message=f"metadata.labels: {ACTUATION_LABEL} must be 'true' for actuation, and absent for diagnostics",
        ),
        Rule(
            expression=f"variables.purpose == '{ACTUATION}'"
            " ? variables.mode == 'read-write' && has(object.spec.vcsPolicy) && has(object.spec.vcsPolicy.mode)"
            " && has(object.spec.vcsPolicy.required) && object.spec.vcsPolicy.required"
            " : variables.mode != 'read-write'",
            message="spec.vcsPolicy: must be {required: true, mode: read-write} for actuation, and read-only or none for "
            "diagnostics",
        ),
        Rule(
            expression=f"variables.purpose != '{ACTUATION}' || variables.change in {_in(acting)}",
            message="spec.parameters.change: this step is for a person at a terminal",
        ),
        Rule(
            expression=f"variables.purpose != '{ACTUATION}'"
            f" || 'confirm' in variables.parameters && variables.parameters['confirm'] == '{CONFIRM_PHRASE}'",
            message=f"spec.parameters.confirm: must be {CONFIRM_PHRASE}",
        ),
        Rule(
            expression=f"variables.purpose != '{ACTUATION}'"
            " || 'reason' in variables.parameters && variables.parameters['reason'].matches('[^\\\\s]')",
            message="spec.parameters.reason: must say why",
        ),
        Rule(
            expression=f"variables.purpose != '{ACTUATION}'"
            " || 'plan' in variables.parameters && variables.parameters['plan'].matches('^sha256:[0-9a-f]{64}$')",
            message="spec.parameters.plan: must be the digest of the reviewed plan, sha256: and 64 hexadecimal digits",
        ),
        Rule(
            expression=_when(
                "head",
                "({value}.startsWith('agentruns/torghut-' + variables.change + '-') && "
                "{value}.matches('^[A-Za-z0-9._/-]+$') && !{value}.contains('..'))",
            ),
            message="spec.parameters.head: must begin with agentruns/torghut-CHANGE-",
        ),
        Rule(
            expression=_when("repository", f"{{value}}.matches('^{REPOSITORY.pattern}$')"),
            message="spec.parameters.repository: must be owner/name",
        ),
        Rule(
            expression=_when(
                "at", "{value}.matches('^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}Z$')"
            ),
            message="spec.parameters.at: must be a UTC time such as 2026-03-02T14:30:00Z",
        ),
        Rule(
            expression="variables.parameters.all(key, !variables.parameters[key].matches('^<.*>$')"
            f" && size(variables.parameters[key]) <= {MAX_VALUE_BYTES})",
            message=f"spec.parameters: a placeholder is left, or a value is longer than {MAX_VALUE_BYTES}",
        ),
    ]
    for name, steps in STEPS.items():
        acting_steps = ACTING_STEPS[name]
        found.append(
            Rule(
                expression=f"variables.change != '{name}' || 'step' in variables.parameters"
                f" && variables.parameters['step'] in (variables.purpose == '{ACTUATION}' ? {_in(acting_steps)} : {_in(steps)})",
                message=f"spec.parameters.step: must be one of {', '.join(steps)}; {', '.join(acting_steps)} for actuation",
            )
        )
        found.append(
            Rule(
                expression=f"variables.change != '{name}' || variables.purpose != '{ACTUATION}'"
                f" || !('mode' in variables.parameters) || variables.parameters['mode'] == '{BACKFILL}'",
                message=f"spec.parameters.mode: only {BACKFILL}; a replay from scratch is for a person at a terminal",
            )
        )
    for change in changes.values():
        for purpose in change.purposes:
            missing = _in(change.required(purpose))
            known = _in(change.known(purpose))
            scope = f"variables.specification != '{change.specification(purpose)}'"
            found.append(
                Rule(
                    expression=f"{scope} || {missing}.all(key, key in variables.parameters"
                    f" && variables.parameters[key] != '') && variables.parameters.all(key, key in {known})",
                    message=f"spec.parameters of {change.specification(purpose)}: needs {', '.join(change.required(purpose))}, "
                    f"may have {', '.join(change.known(purpose))}, and no other",
                )
            )
    return [*found, *UPDATES]


UPDATES = (
    Rule(
        expression="oldObject == null || object.spec == oldObject.spec",
        message="spec: does not change once a run exists",
    ),
    Rule(
        expression="oldObject == null || ("
        "(has(object.metadata.labels) ? object.metadata.labels : {}).all(key, "
        f"!key.startsWith('{_LABELS}') || has(oldObject.metadata.labels) && key in oldObject.metadata.labels"
        " && oldObject.metadata.labels[key] == object.metadata.labels[key])"
        " && (has(oldObject.metadata.labels) ? oldObject.metadata.labels : {}).all(key, "
        f"!key.startsWith('{_LABELS}') || has(object.metadata.labels) && key in object.metadata.labels))",
        message=f"metadata.labels: those of {_LABELS} do not change once a run exists",
    ),
)


def policy(changes: Mapping[str, Change]) -> list[dict[str, Any]]:
    """Return the admission policy and its binding."""
    head = {"apiVersion": "admissionregistration.k8s.io/v1"}
    body = {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": ["agents.proompteng.ai"],
                    "apiVersions": ["v1alpha1"],
                    "operations": ["CREATE", "UPDATE"],
                    "resources": ["agentruns"],
                }
            ]
        },
        "matchConditions": match_conditions(),
        "variables": [{"name": name, "expression": expression} for name, expression in VARIABLES.items()],
        "validations": [{"expression": rule.expression, "message": rule.message} for rule in rules(changes)],
    }
    binding = {"policyName": NAME, "validationActions": ["Deny", "Audit"]}
    return [
        {**head, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": NAME}, "spec": body},
        {**head, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": NAME}, "spec": binding},
    ]


def broken_rules(
    run: Mapping[str, Any], changes: Mapping[str, Change], *, before: Mapping[str, Any] | None = None
) -> list[str]:
    """Return the messages of the rules that a run breaks, as admission would; none for a run that is not ours.

    `before` is the run as it was, of an update. An expression without a value is a broken rule, as `failurePolicy: Fail`
    has it.
    """
    values: dict[str, Any] = {"object": run, "oldObject": before}
    try:
        if not all(evaluate(condition["expression"], values) for condition in match_conditions()):
            return []
        variables: dict[str, Any] = {}
        for name, expression in VARIABLES.items():
            variables[name] = evaluate(expression, {**values, "variables": variables})
    except CelError as error:
        return [f"the run cannot be judged: {error}"]
    values["variables"] = variables
    broken = []
    for rule in rules(changes):
        try:
            holds = evaluate(rule.expression, values) is True
        except CelError:
            holds = False
        if not holds:
            broken.append(rule.message)
    return broken
