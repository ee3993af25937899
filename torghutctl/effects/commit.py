"""One commit made of objects alone, and a branch that is created or not at all.

No working tree, no index of the user, no checkout; an existing branch is never moved.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from torghutctl.adapters.git_client import GitClient, failure, local_path
from torghutctl.errors import StalePlanError, UpstreamError

_FALLBACK_NAME = "torghutctl"
_FALLBACK_EMAIL = "torghutctl@localhost"
_LOCK_ATTEMPTS = 5
_LOCK_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class NewFile:
    """One file as the commit shall hold it."""

    path: str
    mode: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Author:
    name: str
    email: str


def find_author(repository: Path | None) -> Author:
    """Return who commits, as git itself would say here: environment, then configuration; else torghutctl itself."""
    client = GitClient(repository or Path.cwd())

    def known(part: str) -> str:
        names = (f"author.{part}", f"user.{part}")
        found = (client.attempt("config", "--get", name).text for name in names)
        return os.environ.get(f"GIT_AUTHOR_{part.upper()}") or next(filter(None, found), "")

    name, email = known("name"), known("email")
    return Author(name=name or _FALLBACK_NAME, email=email or _FALLBACK_EMAIL)


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A commit that was written. `unsigned_because` says why it is not signed although the user's git signs."""

    id: str
    unsigned_because: str | None = None


def make_commit(
    client: GitClient,
    *,
    base: str,
    files: Iterable[NewFile],
    message: str,
    author: Author,
    at_seconds: int,
    may_be_unsigned: bool = False,
) -> Commit:
    """Write a commit on `base` that replaces exactly these files; signed where the user's git signs.

    `may_be_unsigned` is for what no missing key may hold up. Raises UpstreamError when it cannot be signed, or what was
    written is not what was asked for.
    """
    wanted = sorted(files, key=lambda file: file.path)
    index = {"GIT_INDEX_FILE": str(client.folder / "torghut-index")}
    client.run("read-tree", base, environment=index)
    rows = bytearray()
    for file in wanted:
        blob = client.run("hash-object", "-w", "--no-filters", "--stdin", stdin=file.data).text
        rows += f"{file.mode} {blob}\t".encode() + file.path.encode("utf-8", "surrogateescape") + b"\0"
    client.run("update-index", "-z", "--index-info", stdin=bytes(rows), environment=index)
    # In a partial clone the other files' contents are not here, and need not be.
    tree = client.run("write-tree", "--missing-ok", environment=index).text
    identity = {
        f"GIT_{role}_{part}": value
        for role in ("AUTHOR", "COMMITTER")
        for part, value in (("NAME", author.name), ("EMAIL", author.email), ("DATE", f"@{at_seconds} +0000"))
    }
    is_signed = client.attempt("config", "--type=bool", "--get", "commit.gpgSign").text == "true"
    words = (tree, "-p", base, "-F", "-")
    unsigned_because = None
    if is_signed:
        signed = client.attempt("commit-tree", "-S", *words, stdin=message.encode(), environment=identity)
        if signed.status != 0 and not may_be_unsigned:
            raise failure("commit-tree", signed)
        unsigned_because = str(failure("commit-tree", signed)) if signed.status != 0 else None
        commit = signed.text
    if not is_signed or unsigned_because is not None:
        commit = client.run("commit-tree", *words, stdin=message.encode(), environment=identity).text
    changed = client.run("diff-tree", "-r", "-z", "--name-only", "--no-commit-id", base, commit).stdout
    paths = [name.decode("utf-8", "surrogateescape") for name in changed.split(b"\0") if name]
    if paths != [file.path for file in wanted]:
        raise UpstreamError(f"the commit would change {paths}, not what was planned", hint="report this as a fault")
    return Commit(id=commit, unsigned_because=unsigned_because)


def find_own_branch(
    client: GitClient, destination: str, *, branch: str, base: str, digest: str, files: Iterable[NewFile]
) -> str | None:
    """Return the commit of a branch that an interrupted run of the same plan left at `destination`.

    It counts only with the same `Plan-Digest:`, one commit beyond the base, and exactly these files.
    """
    ref = f"refs/heads/{branch}"
    if not client.attempt("ls-remote", "--", destination, ref).text:
        return None
    client.run("fetch", "--no-tags", "--quiet", "--no-write-fetch-head", "--", destination, f"+{ref}:refs/torghut/own")
    commit = client.run("rev-parse", "refs/torghut/own^{commit}").text
    message = client.run("log", "-1", "--format=%B", commit).text
    is_on_base = client.attempt("merge-base", "--is-ancestor", f"{commit}^", base).status == 0
    changed = client.attempt("diff-tree", "-r", "-z", "--name-only", "--no-commit-id", f"{commit}^", commit).stdout
    wanted = {file.path: file.data for file in files}
    paths = {name.decode("utf-8", "surrogateescape") for name in changed.split(b"\0") if name}
    is_same = all(client.attempt("cat-file", "blob", f"{commit}:{path}").stdout == wanted.get(path) for path in paths)
    has_digest = f"Plan-Digest: {digest}" in message.splitlines()
    return commit if is_on_base and has_digest and is_same and paths == set(wanted) else None


def create_branch(client: GitClient, destination: str, *, branch: str, commit: str, is_own_clone: bool = False) -> None:
    """Create `branch` at `destination` (a path or URL) pointing to `commit`.

    In the user's own clone no hook runs and nothing is tidied up. A forge's own hooks are its rules, and run.
    Raises StalePlanError when a branch of that name exists with other content; one that is already there as wanted is
    fine, so that an interrupted run can be repeated.
    """
    create_ref(
        client,
        destination,
        ref=f"refs/heads/{branch}",
        commit=commit,
        what=f"branch {branch}",
        is_own_clone=is_own_clone,
    )


def create_ref(
    client: GitClient, destination: str, *, ref: str, commit: str, what: str, is_own_clone: bool = False
) -> None:
    """Create one ref at `destination`, or raise StalePlanError when it is already something else."""
    receiver = _receiver(destination, is_own_clone=is_own_clone)
    for attempt in range(_LOCK_ATTEMPTS):
        # An empty lease means "only if it does not exist": the one push that can neither move nor overwrite a ref.
        result = client.attempt(
            "push",
            "--quiet",
            "--porcelain",
            *receiver,
            f"--force-with-lease={ref}:",
            "--",
            destination,
            f"{commit}:{ref}",
        )
        if result.status == 0:
            return
        existing = client.attempt("ls-remote", "--", destination, ref)
        if existing.status == 0 and existing.text.split("\t")[0] == commit:
            return
        if existing.status == 0 and existing.text:
            raise StalePlanError(f"{what} already exists with other content", hint="look at it, then plan again")
        if "lock" not in result.stderr and b"lock" not in result.stdout:
            break
        # Another push holds the ref's lock and has not put it there yet.
        time.sleep(_LOCK_PAUSE_SECONDS * (attempt + 1))
    raise failure("push", result)


def _receiver(destination: str, *, is_own_clone: bool) -> tuple[str, ...]:
    """Return the option that keeps hooks of the user's own configuration out of a repository on this machine."""
    path = local_path(destination)
    if path is None:
        return ()
    client = GitClient(path)
    own = client.attempt("config", "--local", "--type=path", "--get", "core.hooksPath").text
    usual = client.attempt("rev-parse", "--path-format=absolute", "--git-common-dir").text
    hooks = Path(os.devnull) if is_own_clone else path / own if own else Path(usual) / "hooks"
    quiet = ("-c receive.autogc=false", "-c maintenance.auto=false") if is_own_clone else ()
    words = ("git", "-c", shlex.quote(f"core.hooksPath={hooks}"), *quiet, "receive-pack")
    return (f"--receive-pack={' '.join(words)}",)
