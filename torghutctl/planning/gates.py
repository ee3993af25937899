"""Gates for acting: each looks at what was given and says yes, or no and what would open it.

Pure. Absent, empty or unreadable input is a no; nothing forces a gate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from torghutctl.errors import RefusedError
from torghutctl.planning.plan import Plan
from torghutctl.snapshot.agent_run import AgentRun

_UNREAD = re.compile(r"\S+: (?P<cause>[a-z ]+ \(.+\))")
"""How a precondition says that a source could not be read."""
CONFIRM_PHRASE = "ACTUATE_TORGHUT"
ACTUATION_LABEL = "torghut.proompteng.ai/actuation"
PURPOSE_LABEL = "torghut.proompteng.ai/purpose"


@dataclass(frozen=True, kw_only=True)
class Intent:
    """What the person or the agent gave along with the request to act."""

    reason: str
    confirm: str
    is_environment_named: bool
    is_production: bool
    agent_run: AgentRun | None
    is_person_at_terminal: bool = False
    plan_digest: str | None = None
    """The digest of the plan that was looked at, as --plan gave it."""
    typed: str = ""
    """What was typed as the second confirmation of a destructive step."""


@dataclass(frozen=True, kw_only=True)
class GateAnswer:
    """One gate's answer, as the audit log keeps it."""

    name: str
    is_open: bool
    detail: str
    opens_with: str
    """What to give; empty where the world has to be another, or to be read."""


def ask_gates(
    plan: Plan,
    intent: Intent,
    *,
    only_a_person: bool = False,
    needs_plan: bool = False,
    second_phrase: str = "",
) -> tuple[GateAnswer, ...]:
    """Return every gate's answer, in the order in which they are asked.

    `needs_plan` says that off a terminal nobody confirms what he was not shown: --plan must name this very plan.
    `second_phrase` is what has to be typed besides, for a step that deletes.
    """
    answers = [_reason(intent), _confirm(intent), _production(intent)]
    if intent.agent_run is not None:
        answers.extend(_agent_run(intent.agent_run, plan))
    if only_a_person:
        answers.append(_person(intent))
    if needs_plan and not intent.is_person_at_terminal:
        answers.append(_plan(intent, plan))
    if second_phrase:
        typed = intent.typed == second_phrase
        detail = "typed" if typed else "the names were not typed exactly"
        answers.append(
            GateAnswer(name="second confirmation", is_open=typed, detail=detail, opens_with=f"type: {second_phrase}")
        )
    answers.extend(
        GateAnswer(
            name=item.name,
            is_open=item.ok is True,
            detail=item.detail,
            opens_with="",
        )
        for item in plan.draft.preconditions
        if item.refuses
    )
    return tuple(answers)


def require_open(answers: Iterable[GateAnswer]) -> None:
    """Raise RefusedError that names every closed gate and what would open it."""
    closed = [answer for answer in answers if not answer.is_open]
    if closed:
        raise RefusedError(
            f"refused, nothing was changed: {told((answer.name, answer.detail) for answer in closed)}",
            hint="; ".join([answer.opens_with for answer in closed if answer.opens_with] + _evidence(closed)),
        )


def _evidence(closed: Iterable[GateAnswer]) -> list[str]:
    names = [answer.name for answer in closed if not answer.opens_with]
    return [f"make it so, or find out why it cannot be read: {', '.join(names)}"] if names else []


def told(closed: Iterable[tuple[str, str]]) -> str:
    """Return what is closed and why in one line; a cause that several share is told once."""
    reasons: dict[str, list[str]] = {}
    for name, detail in closed:
        unread = _UNREAD.fullmatch(detail)
        reasons.setdefault(unread["cause"] if unread else f"{name}\0{detail}", []).append(name)
    parts = []
    for cause, names in reasons.items():
        name, separator, detail = cause.partition("\0")
        parts.append(f"{name}: {detail}" if separator else f"{', '.join(names)}: not known, {cause}")
    return "; ".join(parts)


def _reason(intent: Intent) -> GateAnswer:
    # Blanks of any kind, and characters that show nothing, are no reason.
    given = any(character.isprintable() and not character.isspace() for character in intent.reason)
    return GateAnswer(
        name="reason", is_open=given, detail="given" if given else "no reason was given", opens_with="--reason TEXT"
    )


def _confirm(intent: Intent) -> GateAnswer:
    exact = intent.confirm == CONFIRM_PHRASE
    detail = "exact" if exact else "not given" if not intent.confirm else "is not the exact phrase"
    return GateAnswer(name="confirm", is_open=exact, detail=detail, opens_with=f"--confirm {CONFIRM_PHRASE}")


def _production(intent: Intent) -> GateAnswer:
    is_open = intent.is_environment_named or not intent.is_production
    detail = "named or not production" if is_open else "a production environment must be named"
    return GateAnswer(name="environment", is_open=is_open, detail=detail, opens_with="-e NAME")


def _plan(intent: Intent, plan: Plan) -> GateAnswer:
    is_open = intent.plan_digest == plan.digest
    detail = "is this one" if is_open else "off a terminal only a plan that was looked at is carried out"
    return GateAnswer(name="plan", is_open=is_open, detail=detail, opens_with="--plan DIGEST, as the plan shows it")


def _person(intent: Intent) -> GateAnswer:
    is_open = intent.is_person_at_terminal and intent.agent_run is None
    return GateAnswer(
        name="person",
        is_open=is_open,
        detail="at a terminal" if is_open else "this step is for a person at a terminal",
        opens_with="run it yourself in a terminal",
    )


def _agent_run(run: AgentRun, plan: Plan) -> list[GateAnswer]:
    """Return the gates of a run: it is known, says that it actuates, may write, and is about this very plan."""
    labels, policy, parameters = (
        run.part("metadata", "labels"),
        run.part("spec", "vcsPolicy"),
        run.part("spec", "parameters"),
    )
    answers = [
        GateAnswer(
            name="agent run",
            is_open=run.document is not None,
            detail=f"{run.source}: {run.failure or 'read'}",
            opens_with="" if run.document is not None else "a run that its ServiceAccount may get",
        )
    ]
    wanted_labels = {ACTUATION_LABEL: "true", PURPOSE_LABEL: "actuation"}
    answers += [
        GateAnswer(
            name=f"agent run label {key}",
            is_open=labels.get(key) == value,
            detail=f"{'is' if labels.get(key) == value else 'is not'} {value!r} in {run.source}",
            opens_with=f"an AgentRun with the label {key}: {value!r}",
        )
        for key, value in wanted_labels.items()
    ]
    is_allowed = policy.get("required") is True and policy.get("mode") == "read-write" and run.may_write
    answers.append(
        GateAnswer(
            name="agent run vcsPolicy",
            is_open=is_allowed,
            detail="required and read-write" if is_allowed else "is not required and read-write, in policy and effect",
            opens_with="an AgentRun with vcsPolicy {required: true, mode: read-write}",
        )
    )
    for key, value in (("change", plan.procedure), ("plan", plan.digest)):
        is_same = parameters.get(key) == value
        answers.append(
            GateAnswer(
                name=f"agent run parameter {key}",
                is_open=is_same,
                detail=f"is {value}" if is_same else f"is {parameters.get(key)!r}, not {value}",
                opens_with=f"an AgentRun with parameters.{key}: {value}",
            )
        )
    return answers
