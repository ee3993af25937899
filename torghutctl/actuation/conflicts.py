"""Other open pull requests that touch the same scalars: adopt, refuse, or (for a stop) name them.

What a pull request does is read from its content, three ways (head, where it left the base, the base now), never from
its description.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from torghutctl.effects.forge import PullRequest
from torghutctl.errors import StalePlanError, UpstreamError
from torghutctl.planning.plan import FileEdit, Plan, ScalarChange
from torghutctl.planning.unified_diff import unified_diff
from torghutctl.planning.yaml_document import Address, UneditableError, YamlFile, parse
from torghutctl.snapshot.repository import Repository


class _Relation(StrEnum):
    UNRELATED = "unrelated"
    SAME = "same effect"
    OTHER = "sets it otherwise"


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """What the open pull requests mean for a plan."""

    adopt: PullRequest | None = None
    named: tuple[PullRequest, ...] = ()
    """Those that contradict a stop, which is opened all the same."""

    @property
    def note(self) -> str:
        return "; ".join(f"contradicts #{pull.number} {pull.url}" for pull in self.named)


def find_conflict(plan: Plan, repository: Repository, pulls: list[PullRequest], *, is_stop: bool) -> Conflict:
    """Return the pull request to adopt or those to name. Raises StalePlanError when one is in the way."""
    others: list[PullRequest] = []
    same: PullRequest | None = None
    try:
        heads = repository.fetch_heads({pull.head_ref: f"refs/torghut/head/{pull.number}" for pull in pulls})
    except UpstreamError:
        if not is_stop:
            raise
        # A stop does not wait for the others' branches to be readable.
        return Conflict()
    for pull in pulls:
        head = heads.get(pull.head_ref)
        relation = _relation(plan, repository, head) if head is not None else _Relation.UNRELATED
        if relation is _Relation.SAME and same is None:
            same = pull
        elif relation is _Relation.OTHER:
            others.append(pull)
    if same is not None:
        return Conflict(adopt=same, named=tuple(others))
    if others and not is_stop:
        names = ", ".join(f"#{pull.number} {pull.url}" for pull in others)
        raise StalePlanError(
            f"another open pull request sets the same value otherwise: {names}", hint="merge or close it first"
        )
    return Conflict(named=tuple(others))


def _relation(plan: Plan, repository: Repository, head: str) -> _Relation:
    fork = repository.merge_base(head, repository.base)
    if fork is None:
        return _Relation.UNRELATED
    changed = set(
        repository.client.run("diff", "--name-only", "-z", fork, head).stdout.decode("utf-8", "replace").split("\0")
    )
    relations = [
        _scalar_relation(change, edit, repository, head, fork)
        for edit in plan.draft.edits
        if edit.path in changed
        for change in plan.draft.changes
        if change.path == edit.path
    ]
    touched = [relation for relation in relations if relation is not _Relation.UNRELATED]
    if not touched:
        return _Relation.UNRELATED
    sets_all = len(touched) == len(plan.draft.changes) and all(relation is _Relation.SAME for relation in touched)
    if sets_all and (
        all(change.is_restart for change in plan.draft.changes)
        or _does_only_this(plan, repository, head, fork, changed)
    ):
        return _Relation.SAME
    return _Relation.OTHER


def _does_only_this(plan: Plan, repository: Repository, head: str, fork: str, changed: set[str]) -> bool:
    """Tell whether a pull request changes the same lines as the plan and no other: more than that is another effect."""
    if changed - {""} != {edit.path for edit in plan.draft.edits}:
        return False
    # Restart times and nonces differ between two restarts that are the same all the same.
    free = {str(change.address[-1]) for change in plan.draft.changes if change.is_restart}
    for edit in plan.draft.edits:
        theirs = _changed_lines(
            repository.file_at(fork, edit.path) or b"", repository.file_at(head, edit.path) or b"", free
        )
        if theirs != _changed_lines(edit.before, edit.after, free):
            return False
    return True


def _changed_lines(before: bytes, after: bytes, free: set[str]) -> list[str]:
    lines = unified_diff("x", before, after).splitlines()[3:]
    return [line for line in lines if line[:1] in ("+", "-") and not any(key in line for key in free)]


def _scalar_relation(change: ScalarChange, edit: FileEdit, repository: Repository, head: str, fork: str) -> _Relation:
    at_head = _scalar(repository.file_at(head, edit.path), change, edit)
    at_fork = _scalar(repository.file_at(fork, edit.path), change, edit)
    if at_head == at_fork:
        return _Relation.UNRELATED
    if change.is_restart:
        # A nonce or time that the base has by now restarts nothing when it is merged.
        return _Relation.SAME if at_head != change.before else _Relation.UNRELATED
    return _Relation.SAME if at_head == change.after else _Relation.OTHER


def _scalar(data: bytes | None, change: ScalarChange, edit: FileEdit) -> str | None:
    """Return the scalar's text in another version of the file, where list entries may stand elsewhere."""
    if data is None:
        return None
    try:
        theirs, ours = parse(edit.path, data), parse(edit.path, edit.after)
        address = _same_place(ours, theirs, change.address)
        return theirs.value(address) if address is not None else None
    except UneditableError:
        return None


def _same_place(ours: YamlFile, theirs: YamlFile, address: Address) -> Address | None:
    """Return the address translated: list items are matched by their `name`, by position where they have none."""
    if int(address[0]) >= len(theirs.documents):
        return None
    translated: Address = (address[0],)
    for depth, step in enumerate(address[1:], 1):
        place: str | int | None = step
        if isinstance(step, int) and (name := ours.value((*address[:depth], step, "name"))) is not None:
            place = _position(theirs, translated, name)
        if place is None:
            return None
        translated = (*translated, place)
    return translated


def _position(file: YamlFile, sequence: Address, name: str) -> int | None:
    """Return the position of the list item of this name."""
    node = file.node(sequence)
    length = len(node.value) if node is not None and isinstance(node.value, list) else 0
    return next((i for i in range(length) if file.value((*sequence, i, "name")) == name), None)
