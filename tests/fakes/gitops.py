"""GitOps repositories on disk: a bare one with the project's own manifests, and a clone to change it from."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FOLDER = "argocd/applications/torghut"
MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
IDENTITY = {
    "GIT_AUTHOR_NAME": "Tester",
    "GIT_AUTHOR_EMAIL": "tester@example.invalid",
    "GIT_COMMITTER_NAME": "Tester",
    "GIT_COMMITTER_EMAIL": "tester@example.invalid",
}


@dataclass
class GitOps:
    """A bare repository and a clone to change it from."""

    bare: Path
    clone: Path
    at: str | None = None
    """When commits are made from now on, as git takes a date; the machine's clock without."""

    def git(self, *arguments: str, where: Path | None = None) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=where or self.clone,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.clone), **IDENTITY, **self._dates()},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def _dates(self) -> dict[str, str]:
        return {} if self.at is None else {f"GIT_{role}_DATE": self.at for role in ("AUTHOR", "COMMITTER")}

    def merge(self, branch: str) -> str:
        """Squash a branch of the forge into main, as a reviewer would; return the commit."""
        self.git("fetch", "-q", "origin", branch)
        message = self.git("log", "-1", "--format=%B", "FETCH_HEAD")
        self.git("merge", "-q", "--squash", "FETCH_HEAD")
        self.git("commit", "-q", "-m", message)
        self.git("push", "-q", "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD")

    def write(self, relative: str, data: bytes, message: str = "change") -> str:
        """Commit one file of the application to main and push it."""
        path = self.clone / FOLDER / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        self.git("push", "-q", "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD")

    def replace(self, relative: str, old: str, new: str, message: str = "change") -> str:
        data = (self.clone / FOLDER / relative).read_bytes()
        assert old.encode() in data
        return self.write(relative, data.replace(old.encode(), new.encode()), message)

    def read(self, commit: str, relative: str) -> bytes:
        done = subprocess.run(
            ["git", "cat-file", "blob", f"{commit}:{FOLDER}/{relative}"], cwd=self.bare, capture_output=True, check=True
        )
        return done.stdout

    def refs(self) -> dict[str, str]:
        rows = self.git("for-each-ref", "--format=%(refname) %(objectname)", where=self.bare).splitlines()
        return dict(row.split(" ") for row in rows)


def build(root: Path, fill: Callable[[Path], None], at: str | None = None) -> GitOps:
    made = GitOps(bare=root / "forge.git", clone=root / "clone", at=at)
    made.clone.mkdir(parents=True)
    made.git("init", "-q", "-b", "main", ".")
    fill(made.clone / FOLDER)
    made.git("add", "-A")
    made.git("commit", "-q", "-m", "begin")
    made.git("clone", "-q", "--bare", str(made.clone), str(made.bare))
    made.git("remote", "add", "origin", str(made.bare))
    return made


def shipped(root: Path, at: str | None = None) -> GitOps:
    """Return the project's own manifests as they are shipped: the TA as one process, a scheduler that trades."""
    return build(root, lambda folder: shutil.copytree(MANIFESTS, folder) and None, at)


def shipped_with_flink(root: Path, at: str | None = None) -> GitOps:
    """Return the project's own manifests with the TA on Flink and the Knative Service trading."""
    return build(root, _older, at)


def _older(folder: Path) -> None:
    """The flavour that came first, and that many deployments have: a FlinkDeployment, and a service that trades itself."""
    shutil.copytree(MANIFESTS, folder)
    _rewrite(folder / "ta" / "kustomization.yaml", ("  - deployment.yaml\n", ""), ("  # - flink", "  - flink"))
    (folder / "ta" / "deployment.yaml").unlink()
    _rewrite(folder / "kustomization.yaml", ("  - scheduler-deployment.yaml\n", ""))
    (folder / "scheduler-deployment.yaml").unlink()
    on = ('TRADING_ENABLED\n              value: "false"', 'TRADING_ENABLED\n              value: "true"')
    _rewrite(folder / "knative-service.yaml", on, ("value: api\n", "value: all\n"))


def _rewrite(path: Path, *pairs: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in pairs:
        assert text.count(old) == 1, (path, old)
        text = text.replace(old, new)
    path.write_text(text)
