"""Reading the newest base out of whatever a user has at --repo, which is never written to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from torghutctl.adapters.git_client import locate, remote_host, remote_slug
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
