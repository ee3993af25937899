"""Reading the newest base out of whatever a user has at --repo, which is never written to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from torghutctl.adapters.git_client import Location, locate, remote_host, remote_slug
from torghutctl.effects.commit import Author, NewFile, create_branch, make_commit
from torghutctl.errors import InputError, UpstreamError
from torghutctl.snapshot.repository import open_repository

FOLDER = "argocd/applications/torghut"


def base_of(repo: str) -> str:
    with open_repository(repo, "main") as repository:
        assert f"{FOLDER}/knative-service.yaml" in repository.tree(FOLDER).files
        return repository.base


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_open_repository_when_the_clone_is_behind_then_the_base_is_the_remotes(gitops: Any, tmp_path: Path) -> None:
    """The newest base is what is deployed, not what the user last fetched; the clone stays as it is."""
    gitops.git("clone", "-q", str(gitops.bare), str(tmp_path / "behind"))
    newest = gitops.replace("ws/configmap.yaml", "ALPACA_FEED: iex", "ALPACA_FEED: sip")
    before = everything(tmp_path / "behind")
    assert newest == base_of(str(tmp_path / "behind"))
    assert before == everything(tmp_path / "behind")


@pytest.mark.parametrize(
    "kind", ["bare", "no origin", "subfolder", "worktree", "shallow", "file url", "relative origin"]
)
def test_open_repository_when_the_repository_is_of_some_kind_then_its_base_is_read(
    kind: str, gitops: Any, tmp_path: Path
) -> None:
    """Bare, without a remote, from a folder inside, a worktree, a shallow clone, a file URL."""
    head = gitops.git("rev-parse", "main", where=gitops.bare)
    place = tmp_path / "place"
    if kind == "no origin":
        gitops.git("clone", "-q", str(gitops.bare), str(place))
        gitops.git("remote", "remove", "origin", where=place)
    elif kind == "subfolder":
        gitops.git("clone", "-q", str(gitops.bare), str(place))
        place = place / FOLDER / "ws"
    elif kind == "worktree":
        gitops.git("worktree", "add", "-q", "--detach", str(place))
    elif kind == "shallow":
        gitops.replace("ws/configmap.yaml", "ALPACA_FEED: iex", "ALPACA_FEED: sip")
        head = gitops.git("rev-parse", "main", where=gitops.bare)
        gitops.git("clone", "-q", "--depth", "1", f"file://{gitops.bare}", str(place))
    elif kind == "relative origin":
        gitops.git("clone", "-q", str(gitops.bare), str(place))
        gitops.git("remote", "set-url", "origin", f"../{gitops.bare.parent.name}/{gitops.bare.name}", where=place)
    repo = {"bare": str(gitops.bare), "file url": f"file://{gitops.bare}"}.get(kind, str(place))
    assert head == base_of(repo)


def test_open_repository_when_there_is_none_then_the_message_says_what_to_do(gitops: Any, tmp_path: Path) -> None:
    """A folder that is no repository and one that is not there are usage errors; a remote that is gone is upstream."""
    with pytest.raises(InputError, match="not a git repository"):
        base_of(str(tmp_path))
    with pytest.raises(InputError, match="no such folder"):
        base_of(f"file://{tmp_path}/gone.git")
    gitops.git("remote", "set-url", "origin", f"{tmp_path}/gone.git")
    with pytest.raises(UpstreamError) as caught:
        base_of(str(gitops.clone))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("address", "host", "slug"),
    [
        ("https://github.com/acme/lab", "github.com", "acme/lab"),
        ("https://user@git.acme.example/acme/lab.git", "git.acme.example", "acme/lab"),
        ("git@github.com:acme/lab.git", "github.com", "acme/lab"),
        ("ssh://git@git.acme.example:2222/acme/lab.git", "git.acme.example", "acme/lab"),
    ],
)
def test_remote_when_written_in_some_way_then_host_and_name_are_found(address: str, host: str, slug: str) -> None:
    """Both are what the forge's API needs."""
    assert (host, slug) == (remote_host(address), remote_slug(address))
    assert locate(address).remote == address


def test_open_repository_when_all_is_over_the_network_then_only_what_is_read_is_fetched(
    gitops: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partial clone: history and files of the application come, other contents stay at the remote; commits work."""
    (gitops.clone / "large").write_bytes(b"x" * 100_000)
    for number in range(3):
        gitops.replace("ws/configmap.yaml", "SYMBOLS_POLL", f"A{number}: 'x'\n  SYMBOLS_POLL", f"change {number}")
    for key in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
        gitops.git("config", key, "true", where=gitops.bare)
    address = f"file://{gitops.bare}"
    elsewhere = Location(given=address, path=None, is_bare=False, remote=address)
    monkeypatch.setattr("torghutctl.snapshot.repository.locate", lambda *_, **__: elsewhere)
    monkeypatch.setattr("torghutctl.snapshot.repository.is_remote", lambda _: True)
    with open_repository(address, "main") as repository:
        assert repository.is_partial
        tree = repository.tree(FOLDER)
        history = repository.history(f"{FOLDER}/ws/configmap.yaml", 10)
        missing = repository.client.run("rev-list", "--objects", "--missing=print", "--all").text.splitlines()
        assert [line for line in missing if line.startswith("?")] == [f"?{gitops.git('rev-parse', 'main:large')}"]
        assert [f"change {n}" for n in (2, 1, 0)] == [entry.subject for entry in history[:3]]
        assert (b"A2" in history[0].data, b"A2" in history[1].data) == (True, False)
        made = make_commit(
            repository.client,
            base=repository.base,
            files=[NewFile(path=f"{FOLDER}/ws/configmap.yaml", mode="100644", data=b"kind: ConfigMap\n")],
            message="a change\n",
            author=Author(name="a", email="a@b"),
            at_seconds=1,
        )
        create_branch(repository.client, address, branch="x", commit=made.id)
    assert len(tree.files) > 10
    assert gitops.git("diff", "--name-only", "main", "x", where=gitops.bare) == f"{FOLDER}/ws/configmap.yaml"
