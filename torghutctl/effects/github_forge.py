"""The forge on GitHub, github.com or an Enterprise server."""

from __future__ import annotations

from torghutctl.adapters.github_client import GitHubClient, PullRecord, attempt_create
from torghutctl.effects.forge import PullRequest, PullRequestDraft


class GitHubForge:
    """Pull requests of one GitHub repository."""

    def __init__(self, client: GitHubClient) -> None:
        self._client = client

    def open_pull_requests(self, base_branch: str) -> list[PullRequest]:
        return [_pull_request(record) for record in self._client.open_pulls(base_branch)]

    def pull_request(self, number: int) -> PullRequest:
        return _pull_request(self._client.pull(number))

    def open_pull_request(self, draft: PullRequestDraft) -> PullRequest:
        def create() -> PullRecord:
            return self._client.create_pull(
                title=draft.title,
                body=draft.body,
                head=draft.head_branch,
                base=draft.base_branch,
                draft=draft.is_draft,
            )

        record = attempt_create(create, lambda: next(iter(self._client.pulls_of(draft.head_branch)), None))
        if draft.labels:
            self._client.add_labels(record.number, draft.labels)
        return _pull_request(record)

    def withdraw(self, number: int) -> None:
        self._client.close_pull(number)


def _pull_request(record: PullRecord) -> PullRequest:
    return PullRequest(
        number=record.number,
        url=record.url,
        title=record.title,
        body=record.body,
        head_branch=record.head_branch,
        head_ref=f"refs/pull/{record.number}/head",
        base_branch=record.base_branch,
        state=record.state,
        merge_commit=record.merge_commit,
    )
