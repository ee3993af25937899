"""git, run as a program with fixed argument vectors through GitPython.

Every call is non-interactive, has a deadline and yields bytes; credentials and ways are the user's. Nothing here touches a working tree or an index of the
user: commits are built in a scratch repository from objects alone.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from torghutctl.adapters import git_user
from torghutctl.adapters.git_user import Credential, Setting, parse_settings
from torghutctl.errors import InputError, UpstreamError

ZERO_ID = "0" * 40
_TIMEOUT_SECONDS = 300.0
_MOST_WORDS = 1000
_PERMISSION = re.compile(
    r"authentication failed|permission denied|could not read username|\b40[13]\b|access denied", re.I
)
_ABSENT = re.compile(
    r"does not appear to be a git repository|repository .* (?:not found|does not exist)|not a git repository", re.I
)
_UNREACHABLE = re.compile(
    r"could not resolve host|connection (?:refused|timed out|reset)|failed to connect|timed out", re.I
)
_SETTINGS = tuple(
    word
    for setting in (
        f"core.hooksPath={os.devnull}",
        "log.showSignature=false",
        "push.gpgSign=false",
        "push.pushOption=",
        "push.recurseSubmodules=no",
        "safe.bareRepository=all",
    )
    for word in ("-c", setting)
)
"""Over whatever the user's or the caller's configuration says: that is about the user's own work, hooks included.

A push reaches its destination as ever: what runs there are the destination's rules.
"""
_FOREIGN_VARIABLES = frozenset(
    {
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_NAMESPACE",
        "GIT_PREFIX",
        "GIT_GRAFT_FILE",
        "GIT_SHALLOW_FILE",
        "GIT_REPLACE_REF_BASE",
        "GIT_QUARANTINE_PATH",
        "GIT_IMPLICIT_WORK_TREE",
    }
)
"""What a caller (a hook, an alias, a pipeline) may have set for another repository: git must not follow it here."""


@dataclass(frozen=True, kw_only=True)
class GitResult:
    """What one git command gave back."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        return self.stdout.decode("utf-8", "surrogateescape").strip()


class GitClient:
    """Run git in one folder.

    `run` raises UpstreamError when git fails, with a sentence instead of git's own words when the cause is known.
    """

    def __init__(
        self,
        folder: Path,
        *,
        credential: Credential | None = None,
        timeout: float = _TIMEOUT_SECONDS,
        standing_in: Path | None = None,
    ) -> None:
        self.folder = folder
        """The repository."""
        self._standing_in = standing_in
        """Where commands stand while they work on `folder`: the user's relative paths mean something there."""
        self._credential = credential
        self._timeout = timeout

    def settings(self) -> tuple[Setting, ...]:
        """Return what git is configured to here, every file in its order."""
        return parse_settings(self.attempt("config", "--list", "--includes", "--show-origin", "-z").stdout)

    def attempt(
        self, *arguments: str, stdin: bytes | None = None, environment: Mapping[str, str] | None = None
    ) -> GitResult:
        """Run `git ARGUMENTS` and return whatever came of it."""
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        from git.cmd import Git
        from git.exc import GitCommandNotFound

        variables = {
            **git_user.environment(os.environ),
            **(self._credential.environment() if self._credential else {}),
            **({"GIT_DIR": str(self.folder)} if self._standing_in else {}),
            **(environment or {}),
        }
        options: dict[str, Any] = {
            "with_extended_output": True,
            "with_exceptions": False,
            "stdout_as_string": False,
            "strip_newline_in_stdout": False,
            "env": variables,
            "kill_after_timeout": self._timeout,
        }
        for name in _FOREIGN_VARIABLES.intersection(os.environ):
            del os.environ[name]
        try:
            with tempfile.TemporaryFile() as source:
                source.write(stdin or b"")
                source.seek(0)
                token = self._credential.settings() if self._credential else ()
                command = ["git", *_SETTINGS, *token, *arguments]
                where = str(self._standing_in or self.folder)
                status, stdout, stderr = Git(where).execute(command, istream=source, **options)
        except GitCommandNotFound as error:
            raise UpstreamError("git cannot be run", hint="install git and put it on PATH") from error
        return GitResult(status=int(status), stdout=stdout or b"", stderr=_as_text(stderr))

    def run(
        self, *arguments: str, stdin: bytes | None = None, environment: Mapping[str, str] | None = None
    ) -> GitResult:
        """Run `git ARGUMENTS`; raise UpstreamError when it fails."""
        result = self.attempt(*arguments, stdin=stdin, environment=environment)
        if result.status != 0:
            raise failure(arguments[0], result)
        return result


def failure(action: str, result: GitResult) -> UpstreamError:
    """Return the error that says why a git command failed, in the remote's own words where it had any."""
    said = remote_words(result)
    if _PERMISSION.search(result.stderr):
        return UpstreamError(
            f"git {action}: the repository refused this user{f': {said}' if said else ''}",
            hint="check the token's or key's right to this repository",
        )
    if action == "push" and said:
        return UpstreamError(
            f"git push: the repository refused it: {said}", hint="it is the repository's rule; nothing was published"
        )
    if _ABSENT.search(result.stderr):
        return UpstreamError(f"git {action}: no git repository there", hint="check --repo")
    if _UNREACHABLE.search(result.stderr):
        return UpstreamError(
            f"git {action}: the repository's host cannot be reached", hint="check the network and --repo"
        )
    last = next((line for line in reversed(result.stderr.splitlines()) if line.strip()), f"exit status {result.status}")
    return UpstreamError(
        f"git {action} failed: {last.strip()[:300]}", hint="run it by hand in the repository to see more"
    )


def remote_words(result: GitResult) -> str:
    """Return what the other side said of a refusal: its messages, and the reason beside each refused ref."""
    messages = [
        line.removeprefix("remote:").strip() for line in result.stderr.splitlines() if line.startswith("remote:")
    ]
    rows = [
        line.split("\t") for line in result.stdout.decode("utf-8", "replace").splitlines() if line.startswith("!\t")
    ]
    reasons = [row[2].strip() for row in rows if len(row) > 2]
    kept = [line for line in dict.fromkeys([*messages, *reasons]) if line.strip("= -*")]
    return "; ".join(kept)[:_MOST_WORDS]


def _as_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where a repository is, and where its branches are published."""

    given: str
    """What the user gave: a path or a URL."""
    path: Path | None
    """The local repository, when `given` is one."""
    is_bare: bool
    remote: str | None
    """Address to fetch the base from and push to: the URL, the bare repository, or the clone's `origin`."""

    @property
    def is_local_forge(self) -> bool:
        """Whether pull requests would live in a bare repository on this machine."""
        return self.remote is not None and local_path(self.remote) is not None

    @property
    def host(self) -> str | None:
        """The forge's host name, when the remote is a URL with one."""
        return remote_host(self.remote) if self.remote else None


def local_path(address: str) -> Path | None:
    """Return the path behind a path or `file://` address; None for a remote one."""
    if address.startswith("file://"):
        return Path(urlsplit(address).path)
    if "://" in address or re.match(r"^[\w.-]+@[\w.-]+:", address):
        return None
    return Path(address)


def remote_host(address: str) -> str | None:
    """Return the host of `https://HOST/…`, `ssh://git@HOST/…` or `git@HOST:…`; None for a path."""
    scp = re.match(r"^[\w.-]+@([\w.-]+):", address)
    if scp and "://" not in address:
        return scp.group(1)
    return urlsplit(address).hostname if "://" in address and not address.startswith("file://") else None


def remote_slug(address: str) -> str:
    """Return `owner/name` of a forge address. Raises InputError when there is none."""
    scp = re.match(r"^[\w.-]+@[\w.-]+:(.+)$", address)
    path = scp.group(1) if scp and "://" not in address else urlsplit(address).path
    parts = [part for part in path.removesuffix(".git").split("/") if part]
    if len(parts) < 2:
        raise InputError(f"--repo {address}: has no owner/name", hint="give https://HOST/OWNER/NAME")
    return "/".join(parts[-2:])


def locate(given: str, *, credential: Credential | None = None) -> Location:
    """Return what `--repo` names. Raises InputError when a path holds no git repository."""
    if not given or given.startswith("-"):
        raise InputError(f"--repo {given!r}: must be a path or a URL")
    path = local_path(given)
    if path is None:
        return Location(given=given, path=None, is_bare=False, remote=given)
    if not path.is_dir():
        raise InputError(f"--repo {given}: no such folder", hint="give the path of a git repository, or its URL")
    path = path.resolve()
    client = GitClient(path, credential=credential)
    probe = client.attempt("rev-parse", "--is-bare-repository", "--absolute-git-dir")
    if "dubious ownership" in probe.stderr:
        raise InputError(
            f"--repo {given}: belongs to another user, so git will not read it",
            hint="git config --global --add safe.directory PATH, if you trust it",
        )
    if probe.status != 0:
        raise InputError(f"--repo {given}: not a git repository", hint="git init it, or give another path or a URL")
    is_bare = probe.text.splitlines()[0] == "true"
    if is_bare:
        return Location(given=given, path=path, is_bare=True, remote=str(path))
    top = client.attempt("rev-parse", "--show-toplevel")
    path = Path(top.text) if top.status == 0 and top.text else path
    has_origin = client.attempt("config", "--get", "remote.origin.url").text != ""
    # With the user's url.<base>.insteadOf applied.
    remote = (client.attempt("ls-remote", "--get-url", "origin").text or None) if has_origin else None
    if remote is not None and local_path(remote) is not None and not remote.startswith("file://"):
        remote = str((path / remote).resolve())
    return Location(given=given, path=path, is_bare=False, remote=remote)
