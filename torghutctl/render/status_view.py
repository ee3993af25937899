"""`status` as text and markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from torghutctl.render.output import Columns, View, columns

_STYLES = {"same": "green", "different": "bold yellow", "unknown": "bold magenta"}
_HASH = 40
_SHOWN_DIGITS = 9
_NO_GIT = "git was not read: --repo, or an environment with a repository, adds its column"


def table(report: Mapping[str, Any]) -> View:
    """Return the effective state for a terminal or a log."""
    agreement = (report["agreement"], _STYLES[report["agreement"]])
    parts: list[Columns | RenderableType] = [
        f"trades: {report['trades']}",
        Text.assemble(f"{_compared(report)}: ", agreement),
        "",
    ]
    rows = [("SETTING", "GIT", "LIVE SPEC", "REVISION", "EFFECTIVE", "")]
    rows += [
        (
            row["name"],
            *(_short(row[key]) for key in ("git", "live", "revision", "effective")),
            "" if row["agrees"] else "DIFFERS",
        )
        for row in report["settings"]
    ]
    parts += [columns(rows), ""]
    for row in report["settings"]:
        if row["difference"]:
            parts += [f"{row['name']}: {row['difference']}", ""]
    parts.append(columns(_facts(report)))
    for pod in report["pods"]:
        parts += [f"pod {pod['pod']}:", _indented(_pod(pod))]
    if not _was_git_asked(report):
        parts += ["", _NO_GIT]
    if report["unread"]:
        parts += ["", "not read:", *map(_indented, report["unread"])]
    return parts


def _indented(text: str) -> Padding:
    return Padding(Text(text), (0, 0, 0, 2))


def markdown(report: Mapping[str, Any]) -> str:
    """Return the effective state as markdown."""
    lines = [
        f"## Torghut trading: {report['trades']}",
        "",
        f"{_compared(report).capitalize()}: {report['agreement']}. Observed {report['observedAt']}.",
        "",
        "| Setting | Git | Live spec | Newest revision | Effective | |",
        "|---|---|---|---|---|---|",
    ]
    for row in report["settings"]:
        cells = [f"`{row['name']}`", *(_short(row[key]) for key in ("git", "live", "revision", "effective"))]
        lines.append(f"| {' | '.join(cells)} | {row['difference'] or ''} |")
    lines += ["", *(f"- {' '.join(filter(None, row))}" for row in _facts(report))]
    lines += [f"- pod {pod['pod']}: {_pod(pod)}" for pod in report["pods"]]
    if not _was_git_asked(report):
        lines.append(f"- {_NO_GIT}")
    lines += [f"- not read: {line}" for line in report["unread"]]
    return "\n".join(lines)


def _facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    argocd, revision = report["argocd"], report["revision"]
    applied = "not read"
    if argocd is not None:
        applied = f"{argocd['sync']}, {argocd['health']}, revision {_short(argocd['revision'])}"
    return [
        ("git commit:", _short(report["git"]["commit"])),
        ("argocd:", applied),
        ("revision:", f"created {revision['created'] or '-'}, ready {revision['ready'] or '-'}"),
    ]


def _pod(pod: Mapping[str, Any]) -> str:
    switches = (
        f"{pod['mode']}, {'enabled' if pod['enabled'] else 'paused'}{', kill switch on' if pod['killSwitch'] else ''}"
    )
    state = f"{switches}, {'running' if pod['running'] else 'not running'}"
    leader = {True: ", leader", False: ", not leader", None: ""}[pod["isLeader"]]
    error = ", last_error is set" if pod["hasError"] else ""
    return f"{state}{leader}, last run {pod['lastRun'] or 'never'}{error}"


def _has_git(report: Mapping[str, Any]) -> bool:
    return report["git"]["commit"] is not None


def _was_git_asked(report: Mapping[str, Any]) -> bool:
    return _has_git(report) or any(line.startswith("git/desired:") for line in report["unread"])


def _compared(report: Mapping[str, Any]) -> str:
    return "git, cluster and service" if _has_git(report) else "cluster and service"


def _short(value: Any) -> str:
    """Return a value as one short word: an image by the first digits of its digest, else by name and tag, a commit by its own."""
    if value is None:
        return "-"
    text = str(value).rsplit("@sha256:", 1)[-1].rsplit("/", 1)[-1]
    is_hash = len(text) >= _HASH and all(character in "0123456789abcdef" for character in text)
    return text[:_SHOWN_DIGITS] if is_hash else text if len(text) <= 28 else f"{text[:12]}…{text[-12:]}"
