"""Merged is not applied: follow a pull request to the effective state, with a deadline per stage.

merged → Argo CD is Synced at a revision that contains the commit → live object → newest revision → effective state
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torghutctl.actuation.engine import Seen, planning_input
from torghutctl.actuation.request import Request
from torghutctl.effects.forge import Forge
from torghutctl.errors import ConfigurationError, InputError, TorghutError, UnverifiedError
from torghutctl.procedures.verification import Stage, Verifier, check_all
from torghutctl.snapshot.model import Failure, Snapshot
from torghutctl.snapshot.repository import Repository, open_repository

POLL_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """How to wait: time and its passing are arguments."""

    timeout_seconds: float
    monotonic: Callable[[], float]
    pause: Callable[[float], None]
    tell: Callable[[str], None]
    sync: Callable[[bool], None] | None = None
    """Ask Argo CD: a refresh, and (True) an operation besides; None leaves it alone."""


def follow(request: Request, number: int, verifier: Verifier, waiting: Waiting) -> list[str]:
    """Follow pull request `number` until the effective state is as git wants it; return what was seen, a line a stage.

    Raises UnverifiedError when a stage's deadline passes or the pull request is closed without a merge; repeating the
    command with the same number goes on from wherever it is.
    """
    if request.read_snapshot is None or request.open_forge is None:
        raise ConfigurationError(
            "--wait: needs the system to look at", hint="--kubeconfig, --context, or an environment"
        )
    seen: list[str] = []
    with open_repository(request.repo, request.base, credential=request.credential) as repository:
        forge = request.open_forge(repository)
        merge = _until_merged(forge, number, waiting)
        seen.append(f"merged as {merge[:12]}")
        waiting.tell(seen[-1])
        seen.append(_until_synced(request, repository, merge, number, waiting))
        waiting.tell(seen[-1])
        for stage in Stage:
            held = _until_true(request, repository, verifier=verifier, stage=stage, number=number, waiting=waiting)
            if held:
                seen.append(held)
                waiting.tell(held)
    waiting.tell(f"done: {request.spec.name} is in effect")
    return seen


def _poll(stage: str, number: int, waiting: Waiting, look: Callable[[], tuple[bool, str]]) -> str:
    """Look until it is true; return what was seen. A failed look is told and looked at again."""
    started = waiting.monotonic()
    told = ""
    while True:
        try:
            ok, detail = look()
        except (ConfigurationError, InputError, UnverifiedError):
            raise  # what was asked for cannot come true by waiting
        except TorghutError as error:
            ok, detail = False, str(error)
        if ok:
            return detail
        if detail != told:
            waiting.tell(f"waiting for {stage}: {detail}")
            told = detail
        if waiting.monotonic() - started >= waiting.timeout_seconds:
            raise UnverifiedError(
                f"{stage}: not so after {waiting.timeout_seconds:.0f} s: {detail}",
                hint=f"repeat with --wait --pull-request {number} to go on from here",
            )
        waiting.pause(POLL_SECONDS)


def _until_merged(forge: Forge, number: int, waiting: Waiting) -> str:
    def look() -> tuple[bool, str]:
        pull = forge.pull_request(number)
        if pull.state == "closed":
            raise UnverifiedError(
                f"pull request {number} was closed without being merged: {pull.url}",
                hint="plan again if it is still wanted",
            )
        return pull.merge_commit is not None, pull.merge_commit or f"{pull.url} is {pull.state}"

    # A token without rights, a forge that is not there: told at once, not waited out.
    forge.pull_request(number)
    return _poll("the merge", number, waiting, look)


def _until_synced(request: Request, repository: Repository, merge: str, number: int, waiting: Waiting) -> str:
    asked: list[bool] = []

    def look() -> tuple[bool, str]:
        snapshot = _snapshot(request)
        reading = snapshot.reading("argocd/application")
        if reading.failure is Failure.NOT_PRESENT:
            return True, "this target has no Argo CD"
        app = reading.value or {}
        revision = app.get("revision")
        repository.fetch_base()
        contains = isinstance(revision, str) and repository.is_ancestor(merge, revision)
        if app.get("sync") == "Synced" and contains:
            return True, f"Argo CD is Synced at {str(revision)[:12]}"
        if waiting.sync is not None and len(asked) < (2 if contains else 1):
            asked.append(True)
            waiting.sync(contains or not app.get("isAutoSynced"))
        why = "contains it" if contains else "does not contain it"
        return (
            False,
            f"{app.get('sync') or reading.failure} at {str(revision)[:12]}, which {why}; operation {app.get('operation')}",
        )

    return _poll("Argo CD", number, waiting, look)


def _until_true(
    request: Request, repository: Repository, *, verifier: Verifier, stage: Stage, number: int, waiting: Waiting
) -> str:
    """Return what holds at a stage, nothing where there is nothing to look at."""

    def look() -> tuple[bool, str]:
        repository.fetch_base()
        given = planning_input(request, repository, Seen(snapshot=_snapshot(request)))
        checks = [check for check in check_all(verifier, given) if check.stage is stage]
        wrong = [f"{check.name}: {check.detail}" for check in checks if not check.ok]
        held = (
            f"{stage.value}, as git wants it: {', '.join(dict.fromkeys(check.name for check in checks))}"
            if checks
            else ""
        )
        return not wrong, "; ".join(wrong) or held

    return _poll(stage.value, number, waiting, look)


def _snapshot(request: Request) -> Snapshot:
    assert request.read_snapshot is not None
    return request.read_snapshot()
