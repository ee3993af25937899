"""`status` as text and markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from torghutctl.render.output import columns

_WIDTH = 80
_HASH = 40
_SHOWN_DIGITS = 9


def table(report: Mapping[str, Any]) -> str:
    """Return the effective state as plain text."""
    lines = [f"trades: {report['trades']}", f"git, cluster and service: {report['agreement']}", ""]
    rows = [("SETTING", "GIT", "LIVE SPEC", "REVISION", "EFFECTIVE", "")]
    rows += [
        (
            row["name"],
            *(_short(row[key]) for key in ("git", "live", "revision", "effective")),
            "" if row["agrees"] else "DIFFERS",
        )
        for row in report["settings"]
    ]
    lines += [columns(rows), ""]
    argocd = report["argocd"]
    facts = [
        ("git commit:", _short(report["git"]["commit"])),
        (
            "argocd:",
            "not read"
            if argocd is None
            else f"{argocd['sync']}, {argocd['health']}, revision {_short(argocd['revision'])}",
        ),
        ("revision:", f"created {report['revision']['created'] or '-'}, ready {report['revision']['ready'] or '-'}"),
    ]
    pods = []
    for pod in report["pods"]:
        switches = f"{pod['mode']}, {'enabled' if pod['enabled'] else 'paused'}{', kill switch on' if pod['killSwitch'] else ''}"
        state = f"{switches}, {'running' if pod['running'] else 'not running'}"
        leader = {True: ", leader", False: ", not leader", None: ""}[pod["isLeader"]]
        error = ", last_error is set" if pod["hasError"] else ""
        words = f"{state}{leader}, last run {pod['lastRun'] or 'never'}{error}"
        pods += [f"pod {pod['pod']}:", *textwrap.wrap(words, _WIDTH, initial_indent="  ", subsequent_indent="  ")]
    lines += [columns(facts), *pods]
    if report["unread"]:
        lines += ["", "not read:", *(f"  {line}" for line in report["unread"])]
    return "\n".join(lines)


def markdown(report: Mapping[str, Any]) -> str:
    """Return the effective state as markdown."""
    lines = [
        f"## Torghut trading: {report['trades']}",
        "",
        f"Git, cluster and service: {report['agreement']}. Observed {report['observedAt']}.",
        "",
        "| Setting | Git | Live spec | Newest revision | Effective | |",
        "|---|---|---|---|---|---|",
    ]
    for row in report["settings"]:
        cells = [f"`{row['name']}`", *(_short(row[key]) for key in ("git", "live", "revision", "effective"))]
        lines.append(f"| {' | '.join(cells)} | {'' if row['agrees'] else 'different'} |")
    lines += [f"- {line}" for line in report["unread"]]
    return "\n".join(lines)


def _short(value: Any) -> str:
    """Return a value as one short word: an image by the first digits of its digest, a commit by its own."""
    if value is None:
        return "-"
    text = str(value).rsplit("@sha256:", 1)[-1]
    is_hash = len(text) >= _HASH and all(character in "0123456789abcdef" for character in text)
    return text[:_SHOWN_DIGITS] if is_hash else text if len(text) <= 28 else f"{text[:12]}…{text[-12:]}"
