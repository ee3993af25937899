"""What to read, and what its reader is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from torghutctl.adapters.git_user import Credential
from torghutctl.snapshot.model import Names


@dataclass(frozen=True, kw_only=True)
class Target:
    """What to read. At most one of `bundle` and `local` is set; neither means a cluster."""

    bundle: Path | None = None
    local: Path | None = None
    kubeconfig: Path | None = None
    context: str | None = None
    names: Names = field(default_factory=Names)
    repo: str | None = None
    repo_option: str | None = None
    """The repository as an option named it: a next command repeats it. What the environment's entry has needs no word."""
    base: str = "main"
    gitops_path: str = "argocd/applications/torghut"
    credential: Credential | None = field(default=None, repr=False)
    """What the repository's host asks for, when it is known."""
    environment: str | None = None
    """Name of the environment, when one was chosen."""
    options: tuple[tuple[str, str], ...] = ()
    """Options that say where the system is, as they were given: the next command needs them too."""
    is_live_declared: bool = False
    replay_group: str | None = None
    """Consumer group of a replay, where a procedure needs to know whether it was used."""
    storage_namespace: str | None = None
    """Namespace of the object storage, where a procedure needs to know its pods."""
