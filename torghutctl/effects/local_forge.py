"""A forge in a bare git repository: a pull request is a branch with a description, kept under a ref of its own.

`refs/torghut/pull-requests/N` points to a commit that holds `description.md` and `pull-request.json`; read it with
`git show refs/torghut/pull-requests/N:description.md`. It is merged once the base contains the branch's commit, or a
commit with the same `Plan-Digest:` trailer (a squash); it is closed once the branch is gone without that.
"""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

from torghutctl.adapters.git_client import GitClient, failure
from torghutctl.effects.commit import create_ref
from torghutctl.effects.forge import PullRequest, PullRequestDraft
from torghutctl.errors import InputError, StalePlanError, UpstreamError

_REFS = "refs/torghut/pull-requests"
_DIGEST = re.compile(r"^Plan-Digest: (\S+)$", re.M)
_IDENTITY = {
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (("NAME", "torghutctl"), ("EMAIL", "torghutctl@localhost"))
}
_MAX_RACES = 20


class LocalForge:
    """The forge of the bare repository at `path`. Writes go through the scratch repository `client` works in."""

    def __init__(self, path: Path, client: GitClient) -> None:
        self.path = path
        self._bare = GitClient(path)
        self._client = client

    def open_pull_requests(self, base_branch: str) -> list[PullRequest]:
        return [pull for pull in self._all() if pull.state == "open" and pull.base_branch == base_branch]

    def pull_request(self, number: int) -> PullRequest:
        found = self._read(number)
        if found is None:
            raise InputError(f"pull request {number}: {self.path} has none of that number", hint="look at its refs")
        return found

    def open_pull_request(self, draft: PullRequestDraft) -> PullRequest:
        for existing in self._all():
            if existing.state == "open" and existing.head_branch == draft.head_branch:
                return existing
        record = self._record(draft)
        number = max(self._numbers(), default=0) + 1
        for attempt in range(_MAX_RACES):
            try:
                # Creating the ref is what takes the number; two operators cannot both have it.
                create_ref(
                    self._client,
                    str(self.path),
                    ref=f"{_REFS}/{number + attempt}",
                    commit=record,
                    what=f"pull request {number + attempt}",
                )
            except StalePlanError:
                continue
            return self.pull_request(number + attempt)
        raise UpstreamError("no free pull request number was found", hint="try again")

    def withdraw(self, number: int) -> None:
        ref = f"{_REFS}/{number}"
        record = self._tip(ref)
        if not record:
            return  # Another operator who found the same pull request has withdrawn it.
        fields = json.loads(self._bare.run("cat-file", "blob", f"{record}:pull-request.json").stdout)
        shares_branch = any(pull.head_branch == fields["head"] for pull in self._all() if pull.number < number)
        if shares_branch:
            self._delete(ref, record)
        else:
            # Only while it still is what this process pushed.
            self._delete(f"refs/heads/{fields['head']}", str(fields["headCommit"]))

    def _tip(self, ref: str) -> str:
        return self._bare.attempt("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").text

    def _delete(self, ref: str, expected: str) -> None:
        """Delete a ref that still points to `expected`; one that is gone or was made anew is not this process's."""
        result = self._bare.attempt("update-ref", "-d", ref, expected)
        if result.status != 0 and self._tip(ref) == expected:
            raise failure("update-ref", result)

    def _record(self, draft: PullRequestDraft) -> str:
        head = self._bare.run("rev-parse", "--verify", f"refs/heads/{draft.head_branch}^{{commit}}").text
        fields = {
            "title": draft.title,
            "head": draft.head_branch,
            "headCommit": head,
            "base": draft.base_branch,
            "labels": list(draft.labels),
            "draft": draft.is_draft,
            # Two operators in the same second would else write the same commit, and each take it for their own.
            "record": uuid.uuid4().hex,
        }
        rows = []
        for name, content in (
            ("description.md", draft.body),
            ("pull-request.json", json.dumps(fields, indent=2) + "\n"),
        ):
            blob = self._client.run("hash-object", "-w", "--stdin", stdin=content.encode()).text
            rows.append(f"100644 blob {blob}\t{name}")
        tree = self._client.run("mktree", stdin="".join(f"{row}\n" for row in rows).encode()).text
        return self._client.run("commit-tree", tree, "-m", draft.title, environment=_IDENTITY).text

    def _numbers(self) -> list[int]:
        names = self._bare.run("for-each-ref", "--format=%(refname)", _REFS).text.splitlines()
        return sorted(int(name.rsplit("/", 1)[1]) for name in names if name.rsplit("/", 1)[1].isdigit())

    def _all(self) -> list[PullRequest]:
        found = (self._read(number) for number in self._numbers())
        return [pull for pull in found if pull is not None]

    def _read(self, number: int) -> PullRequest | None:
        ref = f"{_REFS}/{number}"
        raw = self._bare.attempt("cat-file", "blob", f"{ref}:pull-request.json")
        body = self._bare.attempt("cat-file", "blob", f"{ref}:description.md")
        if raw.status != 0:
            return None
        try:
            fields: dict[str, Any] = json.loads(raw.stdout)
            head, base = str(fields["head"]), str(fields["base"])
            title, first = str(fields["title"]), str(fields["headCommit"])
        except (ValueError, KeyError, TypeError) as error:
            raise UpstreamError(f"{self.path} {ref}: its description cannot be read", hint="delete the ref") from error
        tip = self._tip(f"refs/heads/{head}")
        merged = self._merge_commit(tip or first, base, body.stdout.decode("utf-8", "replace"))
        return PullRequest(
            number=number,
            url=f"file://{self.path}#{number}",
            title=title,
            body=body.stdout.decode("utf-8", "replace"),
            head_branch=head,
            head_ref=f"refs/heads/{head}",
            base_branch=base,
            state="merged" if merged else "open" if tip else "closed",
            merge_commit=merged,
        )

    def _merge_commit(self, head: str, base: str, body: str) -> str | None:
        """Return the commit of the base that brought the head in: the head itself, or a squash with its digest."""
        if self._bare.attempt("merge-base", "--is-ancestor", head, f"refs/heads/{base}").status == 0:
            return head
        message = self._bare.attempt("log", "-1", "--format=%B", head).text
        digest = _DIGEST.search(message) or _DIGEST.search(body)
        if digest is None:
            return None
        found = self._bare.attempt(
            "log",
            "-1",
            "--format=%H",
            "--fixed-strings",
            f"--grep=Plan-Digest: {digest[1]}",
            f"{head}..refs/heads/{base}",
        )
        return found.text or None
