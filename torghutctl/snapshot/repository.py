"""The GitOps repository at the newest base: files with their blob ids, read into a scratch repository.

The user's clone, its index and its dirty working tree are only read from: the scratch repository borrows its objects.
"""

from __future__ import annotations

import os
import posixpath
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from torghutctl.adapters.git_client import (
    ZERO_ID,
    GitClient,
    GitResult,
    Location,
    failure,
    local_path,
    locate,
)
from torghutctl.adapters.git_user import Credential, is_asking, own_settings
from torghutctl.errors import InputError, UpstreamError
from torghutctl.snapshot.kustomize import KUSTOMIZATIONS, is_remote_address, taken_in

_FETCH = ("--no-tags", "--quiet", "--no-write-fetch-head", "--no-auto-gc", "--update-shallow")
_PARTIAL = ("--filter=blob:none",)
_REGULAR_MODES = ("100644", "100755")
_LINK_MODE = "120000"


@dataclass(frozen=True, kw_only=True)
class TreeFile:
    """One regular file of the tree."""

    path: str
    blob: str
    mode: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class TreeLink:
    """A symbolic link, or what a kustomization takes in, that leads out of the folder."""

    path: str
    target: str
    """As the link, or the kustomization, has it."""
    contents: tuple[bytes, ...] | None = field(repr=False)
    """Of the file, or the files of the folder, that it leads to; None when that is not in the repository."""
    is_kustomize: bool = False


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The files under one folder at one commit. `files` maps repository paths to files, sorted."""

    folder: str
    commit: str
    files: Mapping[str, TreeFile]
    links: tuple[TreeLink, ...] = ()

    def file(self, relative: str) -> TreeFile | None:
        """Return the file at a path relative to the folder."""
        return self.files.get(f"{self.folder}/{relative}" if self.folder else relative)


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """One commit that touched a file."""

    commit: str
    committed_at: int
    """Seconds since the epoch."""
    subject: str
    data: bytes = field(repr=False)


class Repository:
    """A scratch repository over the one at `--repo`. Open it with `open_repository`."""

    def __init__(
        self,
        location: Location,
        client: GitClient,
        base: str,
        *,
        is_partial: bool = False,
        may_be_offline: bool = False,
    ) -> None:
        self.location = location
        self.may_be_offline = may_be_offline
        """Whether the base as a clone last had it will do when its remote cannot be reached."""
        self.offline_because = ""
        """Why the base is the clone's own; empty when it is the remote's."""
        self.is_partial = is_partial
        """Whether file contents are left at the remote until they are asked for."""
        self.client = client
        self.base_branch = base
        self.base = ""

    def fetch_base(self) -> str:
        """Fetch the newest base and return its commit id. Raises InputError when there is no such branch."""
        source = self.location.remote or str(self.location.path)
        try:
            self._fetch(source, f"refs/heads/{self.base_branch}", "refs/torghut/base", missing_base=True)
        except UpstreamError as error:
            if not self.may_be_offline or not self._fetch_own_base():
                raise
            self.offline_because = str(error)
        self.base = self.client.run("rev-parse", "--verify", "refs/torghut/base^{commit}").text
        return self.base

    def _fetch_own_base(self) -> bool:
        """Take the base from the clone itself: as it was last fetched, else its own branch."""
        if self.location.path is None or self.location.remote is None:
            return False
        names = (f"refs/remotes/origin/{self.base_branch}", f"refs/heads/{self.base_branch}")
        own = GitClient(self.location.path)
        there = (ref for ref in names if own.attempt("rev-parse", "--verify", "--quiet", ref).status == 0)
        return any(
            self.client.attempt("fetch", *_FETCH, "--", str(self.location.path), f"+{ref}:refs/torghut/base").status
            == 0
            for ref in there
        )

    def fetch(self, ref: str, into: str) -> str | None:
        """Fetch one ref of the remote and return its commit id; None when the remote has no such ref."""
        source = self.location.remote or str(self.location.path)
        if not self._fetch(source, ref, into):
            return None
        return self.client.run("rev-parse", "--verify", f"{into}^{{commit}}").text

    def fetch_heads(self, refs: Mapping[str, str]) -> dict[str, str]:
        """Fetch refs of the remote (ref to local name) in one go; return the commit of each that is still there."""
        if not refs:
            return {}
        source = self.location.remote or str(self.location.path)
        specs = [f"+{ref}:{into}" for ref, into in refs.items()]
        if self._attempt_fetch(source, specs).status == 0:
            pairs = {
                ref: self.client.attempt("rev-parse", "--verify", f"{into}^{{commit}}") for ref, into in refs.items()
            }
            return {ref: found.text for ref, found in pairs.items() if found.status == 0}
        # One that is gone fails them all: ask for each.
        single = {ref: self.fetch(ref, into) for ref, into in refs.items()}
        return {ref: commit for ref, commit in single.items() if commit is not None}

    def fetch_all(self, pattern: str, into: str) -> None:
        """Fetch every ref of the remote that matches `pattern`, which may be none."""
        self._fetch(self.location.remote or str(self.location.path), pattern, into)

    def remote_refs(self, *patterns: str) -> dict[str, str]:
        """Return refs of the remote that match the patterns, name to object id."""
        source = self.location.remote or str(self.location.path)
        listing = self.client.run("ls-remote", "--", source, *patterns).text
        pairs = (line.split("\t", 1) for line in listing.splitlines() if "\t" in line)
        return {name: object_id for object_id, name in pairs}

    def tree(self, folder: str, commit: str | None = None) -> Tree:
        """Return the regular files under `folder` at `commit` (the base). Raises InputError when there are none."""
        at = commit or self.base
        folder = posixpath.normpath(folder.strip("/") or ".")
        if folder == ".." or folder.startswith("../"):
            raise InputError(f"--gitops-path {folder}: leads out of the repository")
        folder = "" if folder == "." else folder
        rows = self._listing(at, f"{folder}/" if folder else "")
        contents = self.blobs([blob for _, blob, mode in rows if mode in (*_REGULAR_MODES, _LINK_MODE)])
        files = {
            path: TreeFile(path=path, blob=blob, mode=mode, data=contents[blob])
            for path, blob, mode in sorted(rows)
            if mode in _REGULAR_MODES
        }
        targets = {path: contents[blob].decode("utf-8", "replace") for path, blob, mode in rows if mode == _LINK_MODE}
        links = [self._link(at, folder, path, target) for path, target in sorted(targets.items())]
        taken = [
            self._link(at, folder, path, target, is_kustomize=True)
            for path, file in files.items()
            if posixpath.basename(path) in KUSTOMIZATIONS
            for target in taken_in(file.data)
        ]
        return Tree(
            folder=folder, commit=at, files=files, links=tuple(link for link in (*links, *taken) if link is not None)
        )

    def _listing(self, commit: str, path: str) -> list[tuple[str, str, str]]:
        """Return path, blob and mode of every file at or below `path`, of everything for an empty one."""
        listing = self.client.run("ls-tree", "-r", "-z", "--full-tree", commit, *(["--", path] if path else []))
        rows: list[tuple[str, str, str]] = []
        for row in filter(None, listing.stdout.split(b"\0")):
            meta, _, name = row.partition(b"\t")
            mode, kind, blob = meta.decode().split(" ")
            if kind == "blob":
                rows.append((name.decode("utf-8", "surrogateescape"), blob, mode))
        return rows

    def _link(self, commit: str, folder: str, path: str, target: str, *, is_kustomize: bool = False) -> TreeLink | None:
        """Return what a link leads to; None when that is a part of the folder anyway."""
        if is_kustomize and is_remote_address(target):
            return TreeLink(path=path, target=target, contents=None, is_kustomize=True)
        place = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if not folder or place == folder or place.startswith(f"{folder}/"):
            return None
        is_outside = target.startswith("/") or place == ".." or place.startswith("../")
        rows = [] if is_outside else self._listing(commit, place)
        if not rows or any(mode not in _REGULAR_MODES for *_, mode in rows):
            return TreeLink(path=path, target=target, contents=None, is_kustomize=is_kustomize)
        contents = self.blobs([blob for _, blob, _ in rows])
        further = self._taken_in_by(commit, rows, contents) if is_kustomize else {}
        if further is None:
            return TreeLink(path=path, target=target, contents=None, is_kustomize=True)
        found = {**contents, **further}
        return TreeLink(path=path, target=target, contents=tuple(found.values()), is_kustomize=is_kustomize)

    def _taken_in_by(
        self, commit: str, rows: list[tuple[str, str, str]], contents: Mapping[str, bytes]
    ) -> dict[str, bytes] | None:
        """Return what kustomizations out there take in in their turn, by blob; None where one leads out of the repository."""
        seen = {name for name, *_ in rows}
        waiting, found = list(rows), dict(contents)
        while waiting:
            name, blob, _ = waiting.pop()
            if posixpath.basename(name) not in KUSTOMIZATIONS:
                continue
            for target in taken_in(found[blob]):
                place = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
                more = [] if is_remote_address(target) or place.startswith("..") else self._listing(commit, place)
                if not more:
                    return None
                fresh = [row for row in more if row[0] not in seen and row[2] in _REGULAR_MODES]
                seen.update(row[0] for row in fresh)
                found.update(self.blobs([row[1] for row in fresh]))
                waiting += fresh
        return found

    def blobs(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Return the contents of blobs by id."""
        if not ids:
            return {}
        unique = sorted(set(ids))
        if self.is_partial:
            # Without this, git would ask the remote for each of them on its own.
            self.client.attempt("fetch", *_FETCH, *_PARTIAL, "--stdin", "origin", stdin=_lines(unique))
        out = self.client.run("cat-file", "--batch", stdin=_lines(unique)).stdout
        found: dict[str, bytes] = {}
        position = 0
        for _ in unique:
            end = out.index(b"\n", position)
            header = out[position:end].decode().split(" ")
            if len(header) != 3:
                raise UpstreamError(f"git object {header[0]} cannot be read", hint="run git fsck in the repository")
            size = int(header[2])
            found[header[0]] = out[end + 1 : end + 1 + size]
            position = end + 1 + size + 1
        return found

    def file_at(self, commit: str, path: str) -> bytes | None:
        """Return a file's bytes at a commit, None when it is not there."""
        found = self.client.attempt("cat-file", "blob", f"{commit}:{path}")
        return found.stdout if found.status == 0 else None

    def merge_base(self, left: str, right: str) -> str | None:
        """Return the best common ancestor of two commits."""
        found = self.client.attempt("merge-base", left, right)
        return found.text if found.status == 0 else None

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Tell whether `newer` contains `older`."""
        return self.client.attempt("merge-base", "--is-ancestor", older, newer).status == 0

    def history(self, path: str, limit: int) -> list[HistoryEntry]:
        """Return the newest commits of the base that touched `path`, newest first, with the file as each left it."""
        shape = ["--format=%x01%H%x00%ct%x00%s%x00", "--raw", "--no-abbrev", "--no-renames", "-m", "--first-parent"]
        listing = self.client.run("log", f"-{limit}", *shape, self.base, "--", path).stdout.decode("utf-8", "replace")
        found: list[tuple[str, int, str, str]] = []
        for entry in listing.split("\x01")[1:]:
            commit, seconds, subject, raw = entry.split("\0", 3)
            blob = next((line.split(" ")[3] for line in raw.splitlines() if line.startswith(":")), None)
            if blob is not None and blob != ZERO_ID:
                found.append((commit, int(seconds), subject, blob))
        contents = self.blobs([blob for *_, blob in found])
        return [
            HistoryEntry(commit=commit, committed_at=seconds, subject=subject, data=contents[blob])
            for commit, seconds, subject, blob in found
        ]

    def _attempt_fetch(self, source: str, specs: list[str]) -> GitResult:
        if self.is_partial:
            return self.client.attempt("fetch", *_FETCH, *_PARTIAL, "--", "origin", *specs)
        return self.client.attempt("fetch", *_FETCH, "--", source, *specs)

    def _fetch(self, source: str, ref: str, into: str, *, missing_base: bool = False) -> bool:
        result = self._attempt_fetch(source, [f"+{ref}:{into}"])
        if result.status == 0:
            return True
        if "couldn't find remote ref" not in result.stderr.lower():
            raise failure("fetch", result)
        if missing_base:
            raise InputError(
                f"--base {self.base_branch}: {self.location.given} has no such branch", hint="give --base BRANCH"
            )
        return False


@contextmanager
def open_repository(
    repo: str, base: str, *, credential: Credential | None = None, may_be_offline: bool = False
) -> Iterator[Repository]:
    """Open `--repo` at the newest base, in a scratch repository that is gone afterwards."""
    location = locate(repo, credential=credential)
    with tempfile.TemporaryDirectory(prefix="torghut-git-", ignore_cleanup_errors=True) as folder:
        client = _scratch(Path(folder), location, credential)
        if client.attempt("check-ref-format", f"refs/heads/{base}").status != 0:
            raise InputError(f"--base {base!r}: is not a branch's name", hint="give --base BRANCH")
        _borrow_objects(location, Path(folder), credential)
        is_partial = is_remote(location) and _prepare_partial(client, location)
        repository = Repository(location, client, base, is_partial=is_partial, may_be_offline=may_be_offline)
        repository.fetch_base()
        yield repository


def _scratch(folder: Path, location: Location, credential: Credential | None) -> GitClient:
    """Make the scratch repository, with what its user configured in his clone, and return git on it."""
    bare = GitClient(folder)
    bare.run("init", "--quiet", "--bare", "--initial-branch=scratch", "--template=", ".")
    of_scratch = bare.settings()
    of_clone = GitClient(location.path).settings() if location.path is not None else of_scratch
    with (folder / "config").open("a", encoding="utf-8", errors="surrogateescape") as config:
        config.write(own_settings(of_clone, of_scratch))
    return GitClient(
        folder,
        credential=None if is_asking(os.environ, of_clone) else credential,
        standing_in=location.path or Path.cwd(),
    )


def is_remote(location: Location) -> bool:
    """Tell whether everything has to come over the network: no complete clone to borrow from, a remote elsewhere."""
    if location.remote is None or local_path(location.remote) is not None:
        return False
    return location.path is None or _is_shallow(location.path)


def _prepare_partial(client: GitClient, location: Location) -> bool:
    """Make the scratch repository a partial clone: commits and trees at once, contents when they are needed."""
    settings = {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.url": str(location.remote),
        "remote.origin.promisor": "true",
        "remote.origin.partialCloneFilter": "blob:none",
    }
    return all(client.attempt("config", key, value).status == 0 for key, value in settings.items())


def _is_shallow(path: Path) -> bool:
    return GitClient(path).attempt("rev-parse", "--is-shallow-repository").text == "true"


def _lines(ids: Sequence[str]) -> bytes:
    return "".join(f"{object_id}\n" for object_id in ids).encode()


def _borrow_objects(location: Location, scratch: Path, credential: Credential | None) -> None:
    if location.path is None:
        return
    is_shallow = (
        GitClient(location.path, credential=credential).run("rev-parse", "--is-shallow-repository").text == "true"
    )
    if is_shallow:
        # Its refs would promise a history that its objects do not have.
        return
    objects = GitClient(location.path, credential=credential).run("rev-parse", "--git-path", "objects").text
    store = (location.path / objects).resolve()
    (scratch / "objects" / "info" / "alternates").write_text(f"{store}\n")


@dataclass(frozen=True, kw_only=True)
class RecordedCommit:
    """A commit of a procedure, by its trailers."""

    commit: str
    audit_head: str
    plan_digest: str


def recorded_commits(repository: Repository) -> list[RecordedCommit]:
    """Return every commit with an `Audit-Head:` trailer on the remote's branches that procedures wrote, and the base."""
    repository.fetch_all("refs/heads/agentruns/*", "refs/torghut/agentruns/*")
    listing = repository.client.run(
        "log",
        "--format=%H%x00%(trailers:key=Audit-Head,valueonly,separator=%x2C)"
        "%x00%(trailers:key=Plan-Digest,valueonly,separator=%x2C)",
        "refs/torghut/base",
        "--glob=refs/torghut/agentruns/*",
    ).text
    rows = (line.split("\0", 2) for line in listing.splitlines() if line.count("\0") == 2)
    return [
        RecordedCommit(commit=commit, audit_head=head, plan_digest=digest)
        for commit, heads, digest in rows
        for head in heads.split(",")
        if head
    ]
