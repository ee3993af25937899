"""The one way from a procedure to an effect: read the newest base, plan, ask the gates, look for other changes, act.

A refused request has no effect at all. The base is looked at again right before publishing: when it has moved, the
procedure is planned anew, and only the same digest goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torghutctl.actuation.act_line import act_line
from torghutctl.actuation.conflicts import Conflict, find_conflict
from torghutctl.actuation.record import Record
from torghutctl.actuation.request import Effect, Outcome, Request
from torghutctl.effects.actions import Journal, Step, carry_out
from torghutctl.effects.commit import NewFile, create_branch, find_author, find_own_branch, make_commit
from torghutctl.effects.forge import PullRequest, PullRequestDraft
from torghutctl.errors import ConfigurationError, InputError, RefusedError, StalePlanError, TorghutError
from torghutctl.planning.gates import GateAnswer, ask_gates, require_open
from torghutctl.planning.plan import Action, Plan, Precondition, PullRequestResult, Result
from torghutctl.planning.review_text import branch_name, commit_message, pull_request_body, pull_request_title
from torghutctl.procedures.specification import Danger, PlanningInput, Spec
from torghutctl.snapshot.model import Snapshot
from torghutctl.snapshot.repository import Repository, open_repository

_MAX_BASE_MOVES = 5
_HISTORY = 300


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was read of the system, or why nothing was."""

    snapshot: Snapshot | None = None
    failure: str = ""


def run(request: Request) -> Outcome:
    """Plan the procedure and do what is asked with it.

    Raises RefusedError when a gate is closed, StalePlanError when the plan is not the one that was shown or another
    change is in the way, UpstreamError when something it needs fails.
    """
    seen = _read_snapshot(request)
    # What needs nothing but the repository must not wait for its remote either.
    may_be_offline = not request.spec.needs_cluster and request.effect in (Effect.SHOW, Effect.BRANCH)
    with open_repository(
        request.repo, request.base, credential=request.credential, may_be_offline=may_be_offline
    ) as repository:
        plan = make_plan(request, repository, seen)
        _require_digest(request, plan)
        notes = tuple(_offline(repository))
        if request.effect is Effect.SHOW or is_nothing_to_do(request.spec, plan):
            line = act_line(request, plan, has_remote=repository.location.remote is not None)
            return Outcome(plan=replace(plan, act=line), notes=notes)
        if request.ask_person is not None:
            request = replace(request, intent=request.ask_person(plan, request.intent))
        is_act = request.effect is Effect.ACT
        answers = ask_gates(
            plan,
            replace(request.intent, plan_digest=request.plan_digest),
            only_a_person=is_act or request.only_a_person,
            needs_plan=request.spec.is_start,
            second_phrase=request.second_phrase if is_act else "",
        )
        require_open(answers)
        if plan.is_empty:
            return Outcome(plan=plan)
        if request.effect is Effect.BRANCH:
            done = _to_branch(request, repository, plan, answers)
            return replace(done, notes=(*notes, *done.notes))
        if request.effect is Effect.PULL_REQUEST:
            return _to_pull_request(request, repository, plan, answers, seen)
        return _act(request, plan, answers)


def _offline(repository: Repository) -> Iterator[str]:
    if repository.offline_because:
        yield f"{repository.offline_because}; the plan stands on the base as this clone last had it, {repository.base[:12]}"


def is_nothing_to_do(spec: Spec, plan: Plan) -> bool:
    """Tell whether all is as wanted. An emergency step that could not look is no such thing."""
    has_not_looked = spec.danger is not Danger.GITOPS and bool(plan.refusals)
    return plan.is_empty and not plan.draft.skipped and not has_not_looked


def make_plan(request: Request, repository: Repository, seen: Seen) -> Plan:
    """Return the plan against the repository's base as it was last fetched."""
    given = planning_input(request, repository, seen)
    draft = request.planner(given)
    stale = tuple(
        Precondition(name="the base is the newest", ok=None, detail=note, refuses=False)
        for note in _offline(repository)
    )
    return Plan(
        procedure=request.spec.name,
        arguments=request.arguments,
        environment=request.environment.name,
        base=f"{request.base}@{repository.base}",
        draft=replace(draft, preconditions=(*stale, *draft.preconditions)),
    )


def observe(request: Request) -> PlanningInput:
    """Return the base's files and the system as it can be read now, to report on them."""
    seen = _read_snapshot(request)
    with open_repository(request.repo, request.base, credential=request.credential) as repository:
        return planning_input(request, repository, seen)


def plan_input(request: Request) -> PlanningInput:
    """Return what a plan would rest on, without the system, for listings."""
    with open_repository(request.repo, request.base, credential=request.credential) as repository:
        return planning_input(request, repository, Seen())


def planning_input(request: Request, repository: Repository, seen: Seen) -> PlanningInput:
    """Return the base's files, the system as seen, and the histories that the procedure asks for."""
    tree = repository.tree(request.gitops_path)
    if not tree.files:
        raise InputError(
            f"--gitops-path {request.gitops_path}: there is no such folder on {request.base}",
            hint="give the folder of the torghut application, argocd/applications/torghut by default",
        )
    prefix = f"{tree.folder}/" if tree.folder else ""
    spec = request.spec
    names = (*spec.needs_history, *(spec.history_of(tree) if spec.history_of is not None else ()))
    return PlanningInput(
        tree=tree,
        environment=request.environment,
        at_ns=request.at_ns,
        options=request.options,
        snapshot=seen.snapshot,
        snapshot_failure=seen.failure,
        history={name: tuple(repository.history(prefix + name, _HISTORY)) for name in names},
    )


def _read_snapshot(request: Request) -> Seen:
    if request.read_snapshot is None:
        return Seen(failure="nothing was read: neither a cluster nor --from-snapshot was given")
    try:
        return Seen(snapshot=request.read_snapshot())
    except TorghutError as error:
        # A stop goes on without it; for a start every question is then answered "not known", which refuses.
        return Seen(failure=str(error))


def _require_digest(request: Request, plan: Plan) -> None:
    if request.plan_digest is not None and request.plan_digest != plan.digest:
        turned = "; ".join(f"{item.name}: {item.detail}" for item in plan.refusals)
        because = f"; not so now: {turned}" if turned else ""
        raise StalePlanError(
            f"the plan is now {plan.digest}, not the {request.plan_digest} that --plan names, at base {plan.base}{because}",
            hint="plan again, look at what changed, and give the new digest",
        )


def _act(request: Request, plan: Plan, answers: tuple[GateAnswer, ...]) -> Outcome:
    """Carry out the plan's actions, each on record in the audit log before it begins and after it is done."""
    if plan.draft.edits or request.open_hands is None:
        raise ConfigurationError(
            f"--act: this step of {request.spec.name} changes git only", hint="use --branch or --pr"
        )
    record = Record(request)
    record.intent(plan, answers)

    def note(index: int, step: Step, event: str) -> None:
        fields = {"event": f"step {event}", "step": index, "target": step.target, "statement": step.statement}
        record.step(plan, fields)

    journal = Journal(request.audit_path.parent / "journals" / f"{plan.digest.removeprefix('sha256:')}.jsonl")
    count = carry_out([_step(action) for action in plan.draft.actions], request.open_hands(), journal, note)
    total = len(plan.draft.actions)
    done = plan.with_result(Result())
    record.result(done, "acted")
    note_done = f"{count} of {total} steps done now, {total - count} were done before"
    return Outcome(plan=done, gap=record.gap, notes=(note_done,))


def _step(action: Action) -> Step:
    return Step(
        target=action.target,
        statement=action.statement,
        same_objects_as=action.same_objects_as,
        harmless_failure=action.harmless_failure,
    )


def _to_branch(request: Request, repository: Repository, plan: Plan, answers: tuple[GateAnswer, ...]) -> Outcome:
    path = repository.location.path
    if path is None:
        raise ConfigurationError("--branch: needs a local repository at --repo", hint="give a path, or use --pr")
    _require_files_only(plan)
    record = Record(request)
    notes: list[str] = []
    branch, commit = _commit(request, repository, plan, answers, str(path), record=record, notes=notes)
    done = plan.with_result(Result(branch=branch, commit=commit))
    record.result(done, "branch")
    return Outcome(plan=done, gap=record.gap, notes=tuple(notes))


def _to_pull_request(
    request: Request, repository: Repository, plan: Plan, answers: tuple[GateAnswer, ...], seen: Seen
) -> Outcome:
    remote = repository.location.remote
    if remote is None or request.open_forge is None:
        raise ConfigurationError(
            f"--pr: {repository.location.given} has no remote named origin to open a pull request at",
            hint="use --branch, or give --repo a bare repository or a URL",
        )
    _require_files_only(plan)
    forge = request.open_forge(repository)
    notes: list[str] = []
    for _ in range(_MAX_BASE_MOVES):
        conflict = find_conflict(plan, repository, forge.open_pull_requests(request.base), is_stop=request.spec.is_stop)
        if conflict.adopt is not None:
            notes.extend(_contradictions(conflict))
            return _adopt(Record(request), plan, conflict.adopt, notes)
        planned_at = repository.base
        if repository.fetch_base() == planned_at:
            break
        plan = _plan_again(request, repository, plan, seen, planned_at)
        if plan.is_empty:
            return Outcome(plan=plan, notes=("the base moved and is as wanted now",))
        notes.append(f"the base moved to {repository.base[:12]}; the plan is the same")
    else:
        raise StalePlanError("the base keeps moving while this change is prepared", hint="try again in a moment")
    notes.extend(_contradictions(conflict))
    record = Record(request)
    branch, commit = _commit(request, repository, plan, answers, remote, record=record, notes=notes)
    pull = forge.open_pull_request(_pull_request_draft(request, plan, branch, conflict.note))
    earlier = [other for other in forge.open_pull_requests(request.base) if other.number < pull.number]
    raced = find_conflict(plan, repository, earlier, is_stop=True).adopt
    if raced is not None:
        # Another operator opened the same change in the meantime; the older one stays.
        forge.withdraw(pull.number)
        notes.append(f"withdrew pull request {pull.number}: {raced.number} has the same effect")
        return _adopt(record, plan, raced, notes)
    result = Result(
        branch=branch,
        commit=commit,
        pull_request=PullRequestResult(number=pull.number, url=pull.url, adopted=False),
    )
    done = plan.with_result(result)
    record.result(done, "pull request")
    return Outcome(plan=done, gap=record.gap, notes=tuple(notes))


def _contradictions(conflict: Conflict) -> list[str]:
    return [f"also changes the same setting: pull request {pull.number} {pull.url}" for pull in conflict.named]


def _adopt(record: Record, plan: Plan, pull: PullRequest, notes: list[str]) -> Outcome:
    result = Result(
        branch=pull.head_branch, pull_request=PullRequestResult(number=pull.number, url=pull.url, adopted=True)
    )
    done = plan.with_result(result)
    record.result(done, "adopted")
    return Outcome(plan=done, gap=record.gap, notes=(*notes, f"adopted pull request {pull.number}: {pull.url}"))


def _plan_again(request: Request, repository: Repository, plan: Plan, seen: Seen, planned_at: str) -> Plan:
    """Return the plan against the moved base. Raises StalePlanError when it is another one."""
    again = make_plan(request, repository, seen)
    if again.is_empty or again.digest == plan.digest:
        return again
    moved = repository.client.run("diff", "--name-only", planned_at, repository.base).text.splitlines()
    ours = {edit.path for edit in plan.draft.edits}
    touched = ", ".join(sorted(ours.intersection(moved))) or "files that the plan rests on"
    raise StalePlanError(
        f"{request.base} moved from {planned_at[:12]} to {repository.base[:12]} and changed {touched}; the plan is another one now",
        hint=f"plan again; the digest is {again.digest} now",
    )


def _pull_request_draft(request: Request, plan: Plan, branch: str, note: str) -> PullRequestDraft:
    return PullRequestDraft(
        title=pull_request_title(plan),
        body=pull_request_body(plan, request.spec.danger.value, request.intent.reason, request.ticket, note),
        head_branch=branch,
        base_branch=request.base,
        labels=request.labels,
        is_draft=request.is_draft,
    )


def _require_files_only(plan: Plan) -> None:
    if plan.draft.actions:
        raise RefusedError(
            "refused: this plan has steps outside git, which a branch or a pull request cannot carry",
            hint="a person does them at a terminal with --act",
        )


def _commit(
    request: Request,
    repository: Repository,
    plan: Plan,
    answers: tuple[GateAnswer, ...],
    destination: str,
    *,
    record: Record,
    notes: list[str],
) -> tuple[str, str]:
    """Write the audit line, then the commit that carries its hash, then the branch. Return branch and commit."""
    own_path = repository.location.path
    is_own_clone = not repository.location.is_bare and destination == str(own_path)
    branch = branch_name(plan, request.at_ns)
    files = [NewFile(path=edit.path, mode=edit.mode, data=edit.after) for edit in plan.draft.edits]
    client = repository.client

    def find_left() -> str | None:
        return find_own_branch(
            client, destination, branch=branch, base=repository.base, digest=plan.digest, files=files
        )

    head = record.intent(plan, answers)
    left = find_left()
    if left is not None:
        return branch, left
    made = make_commit(
        client,
        base=repository.base,
        files=files,
        message=commit_message(plan, request.intent.reason, request.ticket, head),
        author=find_author(repository.location.path),
        at_seconds=request.now_ns // 1_000_000_000,
        may_be_unsigned=request.spec.is_stop,
    )
    commit = made.id
    if made.unsigned_because is not None:
        notes.append(f"the commit is not signed: {made.unsigned_because}")
    try:
        create_branch(client, destination, branch=branch, commit=commit, is_own_clone=is_own_clone)
    except StalePlanError:
        # Another operator pushed the same plan in the same minute: theirs is as good.
        theirs = find_left()
        if theirs is None:
            raise
        return branch, theirs
    return branch, commit
