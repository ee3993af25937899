"""`--why` and `--explain-access` as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torghutctl.render.output import View, columns


def reason(answer: Mapping[str, Any]) -> View:
    """Return a reason's explanation."""
    rows = [
        ("reason:", answer["reason"]),
        ("component:", answer["component"]),
        ("level:", answer["level"]),
        ("means:", answer["means"]),
        ("shown by:", answer["shownBy"]),
        ("changed by:", answer["changedBy"]),
        ("goes before:", ", ".join(answer["goesBefore"]) or "-"),
        ("next:", f"{answer['nextProcedure']} ({answer['runbook']})"),
        ("source:", answer["source"]),
    ]
    return columns(rows)


def access(answer: Mapping[str, Any]) -> View:
    """Return the permissions of a report."""
    rows = [("NAMESPACE", "API GROUP", "RESOURCE", "VERBS", "REQUIRED", "FOR")]
    rows += [
        (
            rule["namespace"],
            rule["apiGroup"] or "core",
            rule["resource"],
            ",".join(rule["verbs"]),
            "yes" if rule["required"] else "no",
            "; ".join(rule["for"]),
        )
        for rule in answer["rules"]
    ]
    return [columns(rows), "", f"No verb on secrets. The same rights as a Role: {answer['role']}"]
