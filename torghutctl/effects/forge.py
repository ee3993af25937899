"""Where pull requests live: the protocol that GitHub and the local forge both speak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class PullRequest:
    """One pull request as a forge tells of it."""

    number: int
    url: str
    title: str
    body: str
    head_branch: str
    head_ref: str
    """Ref of the base repository under which the head can be fetched."""
    base_branch: str
    state: str
    """`open`, `merged` or `closed` (without having been merged)."""
    merge_commit: str | None = None


@dataclass(frozen=True, kw_only=True)
class PullRequestDraft:
    """A pull request to open, its branch being there already."""

    title: str
    body: str
    head_branch: str
    base_branch: str
    labels: tuple[str, ...] = ()
    is_draft: bool = False


class Forge(Protocol):
    """A place where changes are reviewed. Every method raises UpstreamError when it cannot be asked."""

    def open_pull_requests(self, base_branch: str) -> list[PullRequest]:
        """Return every open pull request into `base_branch`, oldest first."""

    def pull_request(self, number: int) -> PullRequest:
        """Return one pull request. Raises InputError when there is none of that number."""

    def open_pull_request(self, draft: PullRequestDraft) -> PullRequest:
        """Open a pull request, or return the open one of the same branch."""

    def withdraw(self, number: int) -> None:
        """Close a pull request that this process opened a moment ago, because another one has the same effect."""
