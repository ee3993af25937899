"""A kubeconfig, or several as KUBECONFIG lists them, merged as kubectl merges them, and a credential plugin with a deadline.

The first file that has a name wins; a file of the list that is not there or is empty is passed over; a relative path is
relative to the file it stands in. Source: kubectl's rules for merging kubeconfig files.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLUGIN_SECONDS = 10.0
_LISTS = {"clusters": "cluster", "users": "user", "contexts": "context"}
_PATHS = {
    "cluster": ("certificate-authority",),
    "user": ("client-certificate", "client-key", "tokenFile"),
    "context": (),
}


class PluginSilence(BaseException):
    """The kubeconfig's credential plugin gave no answer in time."""

    def __init__(self, program: str) -> None:
        super().__init__(f"its credential plugin {program} gave no answer within {PLUGIN_SECONDS:g} s")


@dataclass(frozen=True, kw_only=True)
class Kubeconfig:
    """What the files say together, with one context chosen."""

    document: dict[str, Any]
    """With absolute paths, and with only what the context needs to be there."""
    context: str
    server: str
    plugin: str | None
    """The program that gives the credential, when there is one."""


def load(paths: Iterable[Path], context: str | None) -> Kubeconfig:
    """Return the merged files with `context`, or the current one, chosen. Raises ValueError that says what is wrong."""
    files = list(paths)
    merged: dict[str, Any] = {name: {} for name in _LISTS}
    current = ""
    there = 0
    for path in files:
        document = _read(path, may_be_absent=len(files) > 1)
        if document is None:
            continue
        there += 1
        current = current or _text(document.get("current-context"))
        for name, kind in _LISTS.items():
            for item in _items(document.get(name), path, name):
                merged[name].setdefault(item["name"], _absolute(item.get(kind) or {}, kind, path))
    if not there:
        raise ValueError("there is no such file")
    return _chosen(merged, context or current, is_current=context is None)


def _read(path: Path, *, may_be_absent: bool) -> dict[str, Any] | None:
    from yaml import YAMLError, safe_load

    try:
        document = safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if may_be_absent:
            return None
        raise ValueError("there is no such file") from None
    except OSError as error:
        whose = f"{path} " if may_be_absent else ""
        raise ValueError(f"{whose}cannot be read ({error.strerror})") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ValueError(f"{path} is no kubeconfig: it holds no mapping")
    return document


def _items(value: Any, path: Path, name: str) -> list[dict[str, Any]]:
    if value is None:
        return []
    rows: list[Any] = value if isinstance(value, list) else [None]
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("name"), str):
            raise ValueError(f"{path} is no kubeconfig: {name} must be a list of named entries")
        kind = _LISTS[name]
        if not isinstance(row.get(kind) or {}, dict):
            raise ValueError(f"{path} is no kubeconfig: {kind} {row['name']} must be a mapping")
    return rows


def _absolute(entry: dict[str, Any], kind: str, path: Path) -> dict[str, Any]:
    folder = path.absolute().parent
    resolved: dict[str, Any] = {key: str(folder / _text(entry[key])) for key in _PATHS[kind] if _text(entry.get(key))}
    plugin = entry.get("exec")
    if kind == "user" and isinstance(plugin, dict) and os.sep in _text(plugin.get("command")):
        resolved["exec"] = {**plugin, "command": str(folder / plugin["command"])}
    return {**entry, **resolved}


def _chosen(merged: dict[str, Any], context: str, *, is_current: bool) -> Kubeconfig:
    known = ", ".join(sorted(merged["contexts"])) or "none"
    if not context:
        raise ValueError(f"names no current context; it has {known}: choose one with --context")
    if context not in merged["contexts"]:
        what = f"its current context {context} is not there" if is_current else "has no such context"
        raise ValueError(f"{what}; it has {known}")
    chosen = merged["contexts"][context]
    cluster, user = _text(chosen.get("cluster")), _text(chosen.get("user"))
    if cluster not in merged["clusters"]:
        raise ValueError(f"context {context} names the cluster {cluster!r}, which it does not have")
    if user and user not in merged["users"]:
        raise ValueError(f"context {context} names the user {user!r}, which it does not have")
    server = _text(merged["clusters"][cluster].get("server"))
    if not server:
        raise ValueError(f"cluster {cluster} names no server")
    plugin = merged["users"][user].get("exec") if user else None
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [{"name": context, "context": chosen}],
        "clusters": [{"name": cluster, "cluster": merged["clusters"][cluster]}],
        "users": [{"name": user, "user": merged["users"][user]}] if user else [],
    }
    return Kubeconfig(
        document=document,
        context=context,
        server=server,
        plugin=_text(plugin.get("command")) if isinstance(plugin, dict) else None,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


class BoundedProgram(subprocess.Popen[str]):
    """A credential plugin that does not outlive its deadline: it and all that it started are killed then."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # Whoever has to be asked at a terminal is not asked here: nobody may be there.
        silent = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, "start_new_session": True}
        super().__init__(*arguments, **{**options, **silent})

    def communicate(self, input: str | None = None, timeout: float | None = None) -> tuple[str, str]:
        """Return what it wrote. Raises PluginSilence after the deadline."""
        try:
            return super().communicate(input, timeout or PLUGIN_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self.wait()
            for stream in (self.stdout, self.stderr):
                if stream is not None:
                    stream.close()
            arguments: Any = self.args
            name = arguments if isinstance(arguments, str) else arguments[0]
            raise PluginSilence(Path(str(name)).name) from None


def bound_plugins() -> None:
    """Give the Kubernetes client's credential plugins a deadline, at the start and whenever they are asked again."""
    from types import SimpleNamespace

    from kubernetes.config import exec_provider

    provider: Any = exec_provider  # ships without types
    provider.subprocess = SimpleNamespace(Popen=BoundedProgram, PIPE=subprocess.PIPE)
