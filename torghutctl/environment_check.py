"""Everything that is wrong with an environments file, and with what its entries name on this machine. No network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torghutctl.environments import Environment, document_of, entry_of, file_in_use
from torghutctl.errors import TorghutError

_LIVE = re.compile(r"TRADING_MODE[\"']?\s*(?::\s*|\n\s*value:\s*|,\s*value:\s*)[\"']?live\b")
_OTHERS_MAY_READ = 0o077
_GLOBAL = "file"


def check_file(config: Path | None, process: Mapping[str, str]) -> list[dict[str, str]]:
    """Return what is wrong, a row each: `level` (error or warning), `where` and `problem`."""
    path = file_in_use(config, process)
    if config is not None and not path.is_file():
        return [_row("error", _GLOBAL, f"--config {config}: no such file")]
    if not path.is_file():
        return []
    try:
        document = document_of(path)
    except TorghutError as error:
        return [_row("error", _GLOBAL, str(error))]
    entries = document.get("environments", {})
    if not isinstance(entries, dict):
        return [_row("error", _GLOBAL, "environments must be a mapping of names")]
    rows = []
    default = document.get("default")
    if default is not None and default not in entries:
        rows.append(_row("error", _GLOBAL, f"default={default!r}: there is no such environment"))
    rows += [
        _row("error", _GLOBAL, f"{key}: is not known") for key in document if key not in ("default", "environments")
    ]
    for name, entry in entries.items():
        try:
            environment = entry_of(path, str(name), entry or {}, is_named=True)
        except TorghutError as error:
            rows.append(_row("error", str(name), str(error).removeprefix(f"{path}: ")))
            continue
        rows += [_row(level, str(name), problem) for level, problem in _of_entry(environment)]
    return rows


def _row(level: str, where: str, problem: str) -> dict[str, str]:
    return {"level": level, "where": where, "problem": problem}


def _of_entry(entry: Environment) -> Iterator[tuple[str, str]]:
    yield from _of_cluster(entry)
    if entry.local is not None and not Path(entry.local).expanduser().is_dir():
        yield "error", f"local={entry.local}: no such folder"
    if entry.token_file is not None:
        yield from _of_token_file(entry.token_file)
    if entry.repo is not None:
        yield from _of_repository(entry, entry.repo)
    elif entry.local is None:
        yield "warning", "repo is not given: a procedure needs --repo"


def _of_cluster(entry: Environment) -> Iterator[tuple[str, str]]:
    from torghutctl.adapters.kubeconfig import load

    if entry.kubeconfig is None:
        return
    try:
        load([Path(entry.kubeconfig).expanduser()], entry.context)
    except ValueError as error:
        yield "error", f"kubeconfig={entry.kubeconfig}: {error}"


def _of_token_file(name: str) -> Iterator[tuple[str, str]]:
    path = Path(name).expanduser()
    try:
        text, mode = path.read_text(encoding="utf-8"), path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        yield "error", f"tokenFile={name}: cannot be read ({getattr(error, 'strerror', None) or 'no text'})"
        return
    if not text.strip():
        yield "error", f"tokenFile={name}: is empty"
    if mode & _OTHERS_MAY_READ:
        yield "warning", f"tokenFile={name}: others may read it (mode {mode & 0o777:o}); chmod 600"


def _of_repository(entry: Environment, repo: str) -> Iterator[tuple[str, str]]:
    from torghutctl.adapters.git_client import GitClient, local_path, locate

    path = local_path(repo)
    if path is None:
        return
    try:
        location = locate(repo)
    except TorghutError as error:
        yield "error", f"repo={repo}: {str(error).removeprefix(f'--repo {repo}: ')}"
        return
    git = GitClient(location.path or path)
    found = git.attempt("ls-tree", "-r", "--name-only", f"refs/heads/{entry.base}", "--", entry.gitops_path)
    if found.status != 0:
        yield "error", f"base={entry.base}: {repo} has no such branch"
    elif not found.text:
        yield "error", f"gitopsPath={entry.gitops_path}: there is no such folder on {entry.base}"
    elif not entry.live:
        for name in found.text.splitlines():
            data: Any = git.attempt("cat-file", "blob", f"refs/heads/{entry.base}:{name}").stdout
            if _LIVE.search(data.decode("utf-8", "replace")):
                yield "warning", f"{name} says TRADING_MODE=live, and the entry does not say live: true"


__all__ = ["check_file"]
