"""The GitHub forge through PyGithub, against a server that holds both sides to GitHub's own description."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.github_api import Description, GitHub, serve
from torghutctl.adapters.github_client import GitHubClient, api_address
from torghutctl.effects.forge import PullRequestDraft
from torghutctl.effects.github_forge import GitHubForge
from torghutctl.errors import InputError, StalePlanError, TorghutError, UpstreamError

DESCRIPTION = Path(__file__).resolve().parents[3] / ".engines" / "github" / "api.github.com.json"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DESCRIPTION.is_file(), reason="GitHub's description is not fetched: make engines"),
]
DRAFT = PullRequestDraft(
    title="chore(torghut): pause trading",
    body="why",
    head_branch="agentruns/x",
    base_branch="main",
    labels=("torghut", "do-not-automerge"),
    is_draft=True,
)


@pytest.fixture(scope="module")
def description() -> Description:
    return Description(DESCRIPTION)


@pytest.fixture
def github(description: Description) -> Iterator[GitHub]:
    made = GitHub(description=description)
    with serve(made):
        yield made
    assert made.problems == []


@pytest.fixture
def forge(github: GitHub) -> Iterator[GitHubForge]:
    client = GitHubClient(api=github.address, slug="acme/lab", token="planted-token")
    yield GitHubForge(client)
    client.close()


def test_open_pull_requests_when_there_are_pages_then_all_are_read(github: GitHub, forge: GitHubForge) -> None:
    """Two hundred and fifty open ones take three pages, oldest first; other bases and closed ones are not among them."""
    for number in range(1, 251):
        github.add(number, head=f"b{number}")
    github.add(251, head="other", base="release")
    github.add(252, head="done", state="closed", merged=True)
    found = forge.open_pull_requests("main")
    assert (list(range(1, 251)), 3) == ([pull.number for pull in found], len(github.requests))


def test_open_pull_request_when_new_then_it_has_title_body_labels_and_is_a_draft(
    github: GitHub, forge: GitHubForge
) -> None:
    """What the plan says is what GitHub is told."""
    pull = forge.open_pull_request(DRAFT)
    made = github.pulls[0]
    assert (1, "open", f"refs/pull/{pull.number}/head") == (pull.number, pull.state, pull.head_ref)
    assert (DRAFT.title, "why", True, ["torghut", "do-not-automerge"]) == (
        made["title"],
        made["body"],
        made["draft"],
        github.labels[1],
    )


def test_open_pull_request_when_the_branch_has_one_then_it_is_taken(github: GitHub, forge: GitHubForge) -> None:
    """Someone opened it in between: 422 with "already exists" leads to theirs."""
    github.existing["agentruns/x"] = 77
    assert forge.open_pull_request(DRAFT).number == 77


def test_withdraw_when_another_has_the_same_effect_then_it_is_closed(github: GitHub, forge: GitHubForge) -> None:
    """Closed, not merged, and its branch stays."""
    github.add(5, head="h")
    forge.withdraw(5)
    assert forge.pull_request(5).state == "closed"


@pytest.mark.parametrize(
    ("state", "merged", "expected"), [("open", False, "open"), ("closed", True, "merged"), ("closed", False, "closed")]
)
def test_pull_request_when_read_then_its_state_is_told_apart(
    github: GitHub, forge: GitHubForge, state: str, merged: bool, expected: str
) -> None:
    """Closed without a merge is not merged."""
    github.add(5, head="h", state=state, merged=merged)
    pull = forge.pull_request(5)
    assert (expected, "a" * 40 if merged else None) == (pull.state, pull.merge_commit)


def test_pull_request_when_there_is_none_then_it_is_a_usage_error(forge: GitHubForge) -> None:
    """The number is named."""
    with pytest.raises(InputError, match="pull request 9"):
        forge.pull_request(9)


@pytest.mark.parametrize(
    ("status", "body", "headers", "error", "says"),
    [
        (401, {"message": "Bad credentials"}, {}, UpstreamError, "token was not accepted"),
        (403, {"message": "Resource not accessible by personal access token"}, {}, UpstreamError, "may not do this"),
        (
            403,
            {"message": "API rate limit exceeded for user"},
            {"x-ratelimit-reset": "1767225600"},
            UpstreamError,
            "rate limit is used up until 2026-01-01T00:00:00Z",
        ),
        (403, {"message": "You have exceeded a secondary rate limit"}, {}, UpstreamError, "rate limit"),
        (404, {"message": "Not Found"}, {}, UpstreamError, "acme/lab is not there"),
        (409, {"message": "Conflict"}, {}, StalePlanError, "another change is in the way"),
        (
            422,
            {"message": "Validation Failed", "errors": [{"message": "No commits between"}]},
            {},
            UpstreamError,
            "invalid",
        ),
        (429, {"message": "API rate limit exceeded"}, {}, UpstreamError, "rate limit"),
        (500, {"message": "secret internals"}, {}, UpstreamError, "status 500"),
        (502, {"message": "x"}, {}, UpstreamError, "status 502"),
    ],
)
def test_open_pull_request_when_github_refuses_then_a_sentence_says_why(
    github: GitHub,
    forge: GitHubForge,
    status: int,
    body: dict[str, object],
    headers: dict[str, str],
    error: type[TorghutError],
    says: str,
) -> None:
    """One request, no silent retry, a sentence with a hint, and neither the token nor GitHub's internals in it."""
    github.fail["POST"] = (status, body, headers)
    with pytest.raises(error, match=re.escape(says)) as caught:
        forge.open_pull_request(DRAFT)
    assert caught.value.hint
    assert ("planted-token" in str(caught.value), "internals" in str(caught.value), 1) == (
        False,
        False,
        len(github.requests),
    )


@pytest.mark.parametrize(
    ("status", "body"),
    [(301, {"message": "Moved Permanently"}), (200, "a proxy's page"), (200, [{"number": 1}]), (200, [7])],
)
def test_open_pull_requests_when_the_answer_is_not_github_s_then_it_is_upstream(
    github: GitHub, forge: GitHubForge, status: int, body: object
) -> None:
    """A moved repository or something in between is 9 with a sentence, never the client's own fault."""
    github.fail["GET"] = (status, body, {})  # type: ignore[assignment]
    with pytest.raises(UpstreamError, match="the answer was not understood") as caught:
        forge.open_pull_requests("main")
    assert "forgeUrl" in str(caught.value.hint)
    github.problems.clear()  # the answer is meant to be wrong


def test_open_pull_requests_when_nobody_answers_then_it_is_upstream() -> None:
    """A dead port is 9, not a traceback."""
    client = GitHubClient(api="http://127.0.0.1:9", slug="acme/lab", token="planted-token")
    with pytest.raises(UpstreamError, match="no answer"):
        GitHubForge(client).open_pull_requests("main")
    client.close()


def test_api_address_when_enterprise_then_it_is_under_the_host() -> None:
    """github.com has its own API host, an Enterprise server has a path."""
    assert (
        api_address("github.com"),
        api_address("git.acme.example"),
    ) == ("https://api.github.com", "https://git.acme.example/api/v3")
