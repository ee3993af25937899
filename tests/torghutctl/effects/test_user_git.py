"""git is the user's git: what opens the remote in his clone opens it here, and a refusal is shown in the remote's words."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.git_server import BASIC, PASSWORD, USER, serve
from torghutctl.adapters.git_client import GitClient
from torghutctl.adapters.git_user import Credential
from torghutctl.effects.commit import NewFile, create_branch, find_author, make_commit
from torghutctl.errors import UpstreamError
from torghutctl.snapshot.repository import open_repository

pytestmark = pytest.mark.slow  # git processes, a server
PATH = "argocd/applications/torghut/ws/deployment.yaml"


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without any configuration or credential of his own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    for name in ("GIT_ASKPASS", "SSH_ASKPASS", "GIT_SSH_COMMAND", "GIT_CONFIG_COUNT", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def script(path: Path, text: str) -> Path:
    """Write a program."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def published(gitops: Any, credential: Credential | None = None) -> tuple[str, str]:
    """Read the newest base through the clone, push a branch; return base and the branch's commit as the remote has it."""
    with open_repository(str(gitops.clone), "main", credential=credential) as repository:
        file = NewFile(path=PATH, mode="100644", data=b"kind: Deployment\n")
        author = find_author(repository.location.path)
        made = make_commit(
            repository.client, base=repository.base, files=[file], message="x\n", author=author, at_seconds=1
        )
        create_branch(repository.client, str(repository.location.remote), branch="agentruns/x", commit=made.id)
        return repository.base, gitops.git("rev-parse", "agentruns/x^", where=gitops.bare)


def ssh_wrapper(gitops: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deploy key's wrapper, by a path relative to the clone."""
    script(
        gitops.clone / "deploy-ssh",
        f'test "$1" = git@forge.example || exit 1\ncd {gitops.bare.parent}\nexec sh -c "$2"',
    )
    gitops.git("config", "core.sshCommand", "./deploy-ssh")
    gitops.git("config", "ssh.variant", "simple")


def ssh_variable(gitops: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in the environment."""
    wrapper = script(gitops.clone.parent / "ssh", f'cd {gitops.bare.parent}\nexec sh -c "$2"')
    monkeypatch.setenv("GIT_SSH_COMMAND", str(wrapper))
    monkeypatch.setenv("GIT_SSH_VARIANT", "simple")


def helper_of_the_clone(gitops: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential helper that the clone alone knows."""
    answer = f"echo username={USER}; echo 'password={PASSWORD}'"
    script(gitops.clone / "helper", f'test "$1" = get && {{ {answer}; }}')
    gitops.git("config", "credential.helper", "!./helper")


def askpass(gitops: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that answers for the password, as CI runners have it."""
    program = script(gitops.clone.parent / "ask", f'case "$1" in Username*) echo {USER};; *) echo "{PASSWORD}";; esac')
    monkeypatch.setenv("GIT_ASKPASS", str(program))


def header_of_the_clone(gitops: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A header that a CI runner's checkout left in the clone."""
    gitops.git("config", f"http.{gitops.url}.extraHeader", f"Authorization: {BASIC}")


def header_of_the_environment(gitops: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same through git's own variables."""
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "http.extraHeader")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", f"Authorization: {BASIC}")


def another_address(gitops: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that the clone rewrites, and a helper for what it becomes."""
    helper_of_the_clone(gitops, monkeypatch)
    gitops.git("config", f"url.{gitops.url.rsplit('/', 1)[0]}/.insteadOf", "forge:")
    gitops.git("remote", "set-url", "origin", f"forge:{gitops.bare.name}")


WAYS: list[Callable[[Any, pytest.MonkeyPatch], None]] = [
    helper_of_the_clone,
    askpass,
    header_of_the_clone,
    header_of_the_environment,
    another_address,
]


class Remote:
    """The clone and its bare repository, which moved on behind the clone's back."""

    def __init__(self, gitops: Any, url: str) -> None:
        self.clone, self.bare, self.git, self.url = gitops.clone, gitops.bare, gitops.git, url
        tree = self.git("rev-parse", "main^{tree}", where=self.bare)
        self.newest = self.git("commit-tree", tree, "-p", "main", "-m", "newer", where=self.bare)
        self.git("update-ref", "refs/heads/main", self.newest, where=self.bare)
        self.git("config", "http.receivepack", "true", where=self.bare)
        self.git("remote", "set-url", "origin", url)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_git_when_a_way_opens_the_remote_in_the_clone_then_it_reads_and_pushes(
    way: Any, gitops: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest base, not the clone's last one, and a branch at the remote; the forge's token steps back."""
    with serve(gitops.bare, BASIC) as url:
        remote = Remote(gitops, url)
        way(remote, monkeypatch)
        assert published(remote, Credential(host="127.0.0.1", token="forge-token-123")) == (remote.newest,) * 2


@pytest.mark.parametrize("way", [ssh_wrapper, ssh_variable], ids=lambda way: way.__name__)
def test_git_when_ssh_is_the_users_command_then_it_reads_and_pushes(
    way: Any, gitops: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deploy key's wrapper is what reaches the forge."""
    remote = Remote(gitops, f"git@forge.example:{gitops.bare}")
    way(remote, monkeypatch)
    assert published(remote) == (remote.newest,) * 2


def test_git_when_nobody_answers_then_it_is_refused_at_once(gitops: Any) -> None:
    """No prompt, no wait: the sentence says that the user was refused."""
    with serve(gitops.bare, BASIC) as url:
        remote = Remote(gitops, url)
        with pytest.raises(UpstreamError, match="refused this user"):
            published(remote)


def test_git_when_only_the_forges_token_is_known_then_it_answers_for_its_host_alone(
    gitops: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git itself asks: the user's own helper comes first, the token after it, for its host over https; never spelt out."""
    credential = Credential(host="forge.example", token="forge-token-123")
    assert "forge-token-123" not in " ".join(credential.settings())
    client = GitClient(gitops.clone, credential=credential)

    def asked(host: str) -> list[str]:
        return client.attempt("credential", "fill", stdin=f"protocol=https\nhost={host}\n\n".encode()).text.split("\n")[
            2:
        ]

    assert asked("forge.example") == ["username=x-access-token", "password=forge-token-123"]
    assert asked("other.example") == []
    helper_of_the_clone(gitops, monkeypatch)
    assert asked("forge.example") == [f"username={USER}", f"password={PASSWORD}"]


def test_commit_when_the_clone_signs_then_it_is_signed_and_verified(gitops: Any, tmp_path: Path) -> None:
    """commit.gpgSign of the clone holds, with the user's own key and name."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    signers = tmp_path / "signers"
    signers.write_text(f"ops@example.org {key.with_suffix('.pub').read_text()}")
    settings = {
        "user.name": "Ops",
        "user.email": "ops@example.org",
        "gpg.format": "ssh",
        "user.signingKey": str(key),
        "commit.gpgSign": "true",
    }
    for name, value in settings.items():
        gitops.git("config", name, value)
    published(gitops)
    said = gitops.git(
        "-c", f"gpg.ssh.allowedSignersFile={signers}", "log", "-1", "--format=%G? %an", "agentruns/x", where=gitops.bare
    )
    assert said == "G Ops"


@pytest.mark.parametrize(
    ("procedure", "code", "words"),
    [("pause-trading", 0, "the commit is not signed"), ("restart-ws", 9, "git commit-tree failed")],
)
def test_procedure_when_the_key_cannot_sign_then_a_stop_goes_on_unsigned_and_says_so(
    procedure: str, code: int, words: str, run: Any, gitops: Any
) -> None:
    """No missing key keeps trading running; what can wait for one waits."""
    for name, value in {"gpg.format": "ssh", "user.signingKey": "/nowhere", "commit.gpgSign": "true"}.items():
        gitops.git("config", name, value)
    where = ("--repo", str(gitops.clone), "--reason", "x", "--confirm", "ACTUATE_TORGHUT", "--branch")
    done = run(procedure, *where)
    branches = gitops.git("for-each-ref", "--format=%(refname)", "refs/heads/agentruns")
    assert (done.returncode, words in done.stderr, branches != "") == (code, True, code == 0), done.stderr


REFUSALS = {
    "protected branch": 'echo "error: GH006: Protected branch update failed: 2 reviews wanted" >&2; exit 1',
    "signed commits": 'echo "error: GH013: Commits must have verified signatures" >&2; exit 1',
}


@pytest.mark.parametrize("case", REFUSALS)
def test_push_when_the_remote_refuses_then_its_own_words_are_shown(case: str, gitops: Any) -> None:
    """Whoever reads it knows which rule it was."""
    script(gitops.bare / "hooks" / "pre-receive", REFUSALS[case])
    words = REFUSALS[case].split("error: ")[1].split('"')[0]
    with pytest.raises(UpstreamError) as caught:
        published(gitops)
    assert f"git push: the repository refused it: error: {words}" in str(caught.value)
    assert "pre-receive hook declined" in str(caught.value)


def test_push_when_a_branch_is_in_the_way_of_the_name_then_it_is_named(gitops: Any) -> None:
    """A branch `agentruns` leaves no room for `agentruns/x`."""
    gitops.git("branch", "agentruns", "main", where=gitops.bare)
    with pytest.raises(UpstreamError, match=r"refused it: .*refs/heads/agentruns"):
        published(gitops)
