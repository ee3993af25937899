"""The plan: everything a procedure would do, frozen, with a digest that binds what is carried out to what was shown."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from torghutctl.planning.unified_diff import unified_diff
from torghutctl.planning.yaml_document import Address
from torghutctl.render.redaction import MASK, SECRET_KEY, redact_text

SCHEMA_VERSION = "torghut.plan/v1"
_NAMED_VALUE = re.compile(
    r"\bname[\"']?[ \t]*:[ \t]*[\"']?([\w.-]+)[\"']?[ \t]*(?:,|#[^\n]*)?\s*[\"']?value[\"']?[ \t]*:[ \t]*(\"[^\"\n]*\"|'[^'\n]*'|[^\s,}]+)"
)
_MIN_SECRET = 6


@dataclass(frozen=True, kw_only=True)
class ScalarChange:
    """One planned scalar: where, from what, to what."""

    path: str
    address: Address
    label: str
    """What a person calls it: `TRADING_ENABLED of container user-container`."""
    before: str | None
    after: str
    is_restart: bool = False
    """Whether any other value has the same effect: a nonce, a restart time."""


@dataclass(frozen=True, kw_only=True)
class FileEdit:
    """One file before and after. `blob` is the git object id of what was read."""

    path: str
    blob: str
    mode: str
    before: bytes = field(repr=False)
    after: bytes = field(repr=False)

    @cached_property
    def diff(self) -> str:
        """The unified diff; its context leaves out what would have to be masked, and what cannot be left out is masked."""
        hidden = [value for data in (self.before, self.after) for value in secret_values(data.decode("utf-8"))]

        def is_showable(text: str) -> bool:
            return redact_text(text, secrets=()) == text and not any(value in text for value in hidden)

        text = unified_diff(self.path, self.before, self.after, is_showable=is_showable)
        for value in hidden:
            text = text.replace(value, MASK)
        return text


def secret_values(text: str) -> list[str]:
    """Return the literal values of `{name, value}` entries whose names say that they are secret, longest first."""
    found = (match[2].strip("\"'") for match in _NAMED_VALUE.finditer(text) if SECRET_KEY.search(match[1]))
    return sorted({value for value in found if len(value) >= _MIN_SECRET}, key=len, reverse=True)


@dataclass(frozen=True, kw_only=True)
class Action:
    """A step outside git, done only with --act: what it touches and the exact statement."""

    target: str
    """`pod NAMESPACE/NAME`, where the statement is a command line, or `KafkaTopic NAMESPACE/NAME`."""
    statement: str
    same_objects_as: str | None = None
    """A second listing that must show as many objects and bytes; nothing goes on before it does."""
    harmless_failure: str | None = None
    """What a failure says when there was nothing left to do."""


@dataclass(frozen=True, kw_only=True)
class Precondition:
    """What was asked before planning, and the answer."""

    name: str
    ok: bool | None
    """None says that it could not be known; a refusing precondition takes that as a no."""
    detail: str
    refuses: bool = True
    """False for advice: shown, and neither refusing nor part of the digest."""
    value: str = ""
    """What the decision rests on, in the digest: coarse enough that the same state gives the same digest."""

    @property
    def is_refusing(self) -> bool:
        return self.refuses and self.ok is not True


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What a procedure hands over: the plan before it is bound to a base and a digest."""

    edits: tuple[FileEdit, ...] = ()
    changes: tuple[ScalarChange, ...] = ()
    actions: tuple[Action, ...] = ()
    preconditions: tuple[Precondition, ...] = ()
    verification: tuple[str, ...] = ()
    rollback: tuple[str, ...] = ()
    summary: str = ""
    """The commit's subject: imperative, lower case."""
    risk: str = ""
    skipped: tuple[str, ...] = ()
    """Files that had to be left as they are, with the reason: the rest is still changed, the exit code is 6."""


@dataclass(frozen=True, kw_only=True)
class PullRequestResult:
    number: int
    url: str
    adopted: bool


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was carried out."""

    branch: str | None = None
    commit: str | None = None
    pull_request: PullRequestResult | None = None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An error beside a plan that was shown, or beside what was done."""

    exit_code: int
    message: str
    hint: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A draft bound to procedure, arguments, environment and base."""

    procedure: str
    arguments: Mapping[str, str]
    environment: str
    base: str
    """The branch and the commit it was read at, `main@<40 hex>`. Not part of the digest."""
    draft: Draft
    result: Result | None = None
    act: str | None = None
    """The command line that carries this plan out, but for the confirmation; None where nothing else is wanting or
    something besides it is."""
    error: Failure | None = None
    """Why the command that shows this plan ends otherwise than with 0."""

    @property
    def digest(self) -> str:
        """`sha256:…` of what the plan does and of what it was decided on."""
        material = {
            "schemaVersion": SCHEMA_VERSION,
            "procedure": self.procedure,
            "arguments": dict(sorted(self.arguments.items())),
            "environment": self.environment,
            "files": [[edit.path, edit.blob, edit.diff] for edit in self.draft.edits],
            "actions": [[a.target, a.statement, a.same_objects_as] for a in self.draft.actions],
            "decided": [[item.name, item.ok, item.value] for item in self.draft.preconditions if item.refuses],
            "skipped": list(self.draft.skipped),
        }
        text = json.dumps(material, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to change."""
        return not self.draft.edits and not self.draft.actions

    @property
    def refusals(self) -> tuple[Precondition, ...]:
        return tuple(item for item in self.draft.preconditions if item.is_refusing)

    def with_result(self, result: Result) -> Plan:
        """Return the same plan with what came of it."""
        return replace(self, result=result, act=None)

    def report(self) -> dict[str, Any]:
        """Return the plan in the contract's shape."""
        draft = self.draft
        return {
            "schemaVersion": SCHEMA_VERSION,
            "procedure": self.procedure,
            "environment": self.environment,
            "base": self.base,
            "digest": self.digest,
            "files": [{"path": edit.path, "diff": edit.diff} for edit in draft.edits],
            "actions": [{"target": a.target, "statement": _statement(a)} for a in draft.actions],
            "preconditions": [
                {"name": p.name, "ok": p.ok, "detail": p.detail, "refuses": p.refuses} for p in draft.preconditions
            ],
            "verification": list(draft.verification),
            "rollback": list(draft.rollback),
            "act": self.act,
            "result": _result(self.result),
            **({} if self.error is None else {"error": _failure(self.error)}),
        }


def _failure(error: Failure) -> dict[str, Any]:
    return {"exitCode": error.exit_code, "message": error.message, "hint": error.hint}


def _statement(action: Action) -> str:
    """Return the statement as it is shown; a comparison says what it compares."""
    if action.same_objects_as is None:
        return action.statement
    return f"{action.statement}  # same count and bytes as: {action.same_objects_as}"


def _result(result: Result | None) -> dict[str, Any] | None:
    if result is None:
        return None
    pull = result.pull_request
    return {
        "branch": result.branch,
        "commit": result.commit,
        "pullRequest": None if pull is None else {"number": pull.number, "url": pull.url, "adopted": pull.adopted},
    }
