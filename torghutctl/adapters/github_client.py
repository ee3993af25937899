"""GitHub's REST API through PyGithub, imported when it is used. Its errors leave as sentences, never as themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from torghutctl.errors import InputError, StalePlanError, UpstreamError

PUBLIC_HOST = "github.com"
PUBLIC_API = "https://api.github.com"
_TIMEOUT_SECONDS = 20
_PER_PAGE = 100
_MISREAD = (TypeError, KeyError, IndexError, AttributeError, ValueError, AssertionError)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class PullRecord:
    """One pull request as GitHub has it."""

    number: int
    url: str
    title: str
    body: str
    head_branch: str
    base_branch: str
    state: str
    """`open`, `merged` or `closed`."""
    merge_commit: str | None


def api_address(host: str) -> str:
    """Return the API's address for a host: github.com, or a GitHub Enterprise server."""
    return PUBLIC_API if host == PUBLIC_HOST else f"https://{host}/api/v3"


class GitHubClient:
    """Pull requests of one repository. Nothing is retried in silence: what fails says so."""

    def __init__(self, *, api: str, slug: str, token: str) -> None:
        from github import Auth, Github

        self.slug = slug
        self._client = Github(
            auth=Auth.Token(token),
            base_url=api,
            timeout=_TIMEOUT_SECONDS,
            retry=None,
            per_page=_PER_PAGE,
            seconds_between_requests=None,
            seconds_between_writes=None,
            lazy=True,
        )
        self._repository = self._client.get_repo(slug)

    def open_pulls(self, base: str) -> list[PullRecord]:
        """Return every open pull request into `base`, oldest first, all pages."""
        with self._errors("listing pull requests"):
            found = self._repository.get_pulls(state="open", base=base, sort="created", direction="asc")
            return [_record(pull) for pull in found]

    def pull(self, number: int) -> PullRecord:
        """Return one pull request. Raises InputError when there is none of that number."""
        with self._errors(f"reading pull request {number}", absent=f"pull request {number}: {self.slug} has none"):
            return _record(self._repository.get_pull(number))

    def create_pull(self, *, title: str, body: str, head: str, base: str, draft: bool) -> PullRecord:
        """Open a pull request of a branch in the same repository."""
        with self._errors("opening a pull request"):
            return _record(self._repository.create_pull(base=base, head=head, title=title, body=body, draft=draft))

    def close_pull(self, number: int) -> None:
        """Close a pull request without merging it; its branch stays."""
        with self._errors(f"closing pull request {number}"):
            self._client.requester.requestJsonAndCheck(
                "PATCH", f"/repos/{self.slug}/pulls/{number}", input={"state": "closed"}
            )

    def pulls_of(self, head: str) -> list[PullRecord]:
        """Return the open pull requests of one branch of this repository."""
        owner = self.slug.split("/", 1)[0]
        with self._errors("listing pull requests"):
            return [_record(pull) for pull in self._repository.get_pulls(state="open", head=f"{owner}:{head}")]

    def add_labels(self, number: int, labels: tuple[str, ...]) -> None:
        """Put labels on a pull request."""
        with self._errors("labelling the pull request"):
            # PyGithub sends a bare list here, which GitHub takes but its published description does not know.
            address = f"/repos/{self.slug}/issues/{number}/labels"
            self._client.requester.requestJsonAndCheck("POST", address, input={"labels": list(labels)})

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @contextmanager
    def _errors(self, action: str, *, absent: str | None = None) -> Iterator[None]:
        import requests
        from github import (
            BadAttributeException,
            BadCredentialsException,
            GithubException,
            IncompletableObject,
            RateLimitExceededException,
            UnknownObjectException,
        )

        try:
            yield
        except BadCredentialsException as error:
            raise UpstreamError(
                f"GitHub, {action}: the token was not accepted (401)", hint="set GITHUB_TOKEN to a valid token"
            ) from error
        except RateLimitExceededException as error:
            raise UpstreamError(
                f"GitHub, {action}: the rate limit is used up{_resets(error.headers)}",
                hint="wait, then repeat the command",
            ) from error
        except UnknownObjectException as error:
            if absent is not None:
                raise InputError(absent, hint="check the number and --repo") from error
            raise UpstreamError(
                f"GitHub, {action}: {self.slug} is not there, or the token may not see it (404)",
                hint="check --repo, and give the token access to this repository",
            ) from error
        except (IncompletableObject, BadAttributeException, *_MISREAD) as error:
            # What the client stumbles over when an answer, a proxy's or a moved repository's, is not GitHub's own.
            raise UpstreamError(
                f"GitHub, {action}: the answer was not understood ({type(error).__name__})",
                hint="check --repo and forgeUrl: the address may have moved, or is not GitHub's API",
            ) from error
        except GithubException as error:
            raise self._other(action, int(error.status), error.message) from error
        except requests.exceptions.RequestException as error:
            raise UpstreamError(
                f"GitHub, {action}: no answer ({type(error).__name__})",
                hint="check the network, then repeat the command",
            ) from error

    def _other(self, action: str, status: int, message: str | None) -> UpstreamError | StalePlanError:
        if status == 403:
            return UpstreamError(
                f"GitHub, {action}: the token may not do this (403)",
                hint="the token needs Contents and Pull requests, read and write",
            )
        if status == 429:
            return UpstreamError(
                f"GitHub, {action}: the rate limit is used up (429)", hint="wait a minute, then repeat the command"
            )
        if status == 409:
            return StalePlanError(f"GitHub, {action}: another change is in the way (409)", hint="plan again")
        if status == 422:
            return UpstreamError(
                f"GitHub, {action}: the request was refused as invalid (422)",
                hint="the branch may have no change against the base, or a label may not exist",
            )
        said = f": {message[:120]}" if message and status < 500 else ""
        return UpstreamError(f"GitHub, {action}: status {status}{said}", hint="repeat the command in a moment")


def already_exists(error: UpstreamError) -> bool:
    """Tell whether opening failed because the branch has a pull request already."""
    cause: Any = error.__cause__
    errors = (getattr(cause, "data", None) or {}).get("errors", []) if cause is not None else []
    return any("already exists" in str(item.get("message", "")) for item in errors if isinstance(item, dict))


def attempt_create(create: Callable[[], T], find: Callable[[], T | None]) -> T:
    """Return what `create` gives, or what `find` gives when it is there already."""
    try:
        return create()
    except UpstreamError as error:
        found = find() if already_exists(error) else None
        if found is None:
            raise
        return found


def _record(pull: Any) -> PullRecord:
    merged = pull.merged_at is not None
    return PullRecord(
        number=pull.number,
        url=pull.html_url,
        title=pull.title,
        body=pull.body or "",
        head_branch=pull.head.ref,
        base_branch=pull.base.ref,
        state="merged" if merged else str(pull.state),
        merge_commit=pull.merge_commit_sha if merged else None,
    )


def _resets(headers: dict[str, str] | None) -> str:
    from torghut_core.rfc3339 import format_ns

    reset = (headers or {}).get("x-ratelimit-reset", "")
    return f" until {format_ns(int(reset) * 1_000_000_000)}" if reset.isdigit() else ""
