"""Answers to `--why` and `--explain-access`: what a reason rests on, and the rights that reading takes."""

from __future__ import annotations

from typing import Any

from torghutctl.errors import InputError
from torghutctl.health.reasons import REASONS
from torghutctl.snapshot.model import Names
from torghutctl.snapshot.sources import SOURCES, Where

ROLE = "manifests/rbac/health-reader.yaml"


def reason(name: str) -> dict[str, Any]:
    """Return what the reason `name` means and rests on. Raises InputError for an unknown one."""
    row = REASONS.get(name)
    if row is None:
        raise InputError(f"--why {name}: no such reason", hint=f"one of: {', '.join(sorted(REASONS))}")
    return {
        "schemaVersion": "torghut.why/v1",
        "reason": row.name,
        "component": row.component,
        "level": row.levels,
        "means": row.means,
        "shownBy": row.shown_by,
        "changedBy": row.changed_by,
        "goesBefore": list(row.beats),
        "nextProcedure": row.next_step,
        "runbook": f"runbooks/{row.next_step}.md",
        "source": row.origin,
    }


def access() -> dict[str, Any]:
    """Return the permissions of a report, one per API group, resource and namespace, and what each is for."""
    names = Names()
    namespaces = {
        Where.SYSTEM: names.namespace,
        Where.KAFKA: names.kafka_namespace,
        Where.ARGOCD: names.argocd_namespace,
    }
    merged: dict[tuple[str, str, str], dict[str, Any]] = {}
    for source in SOURCES:
        if source.access is None:
            continue
        key = (namespaces[source.access.where], source.access.group, source.access.resource)
        row = merged.setdefault(key, {"verbs": set(), "for": [], "required": False})
        row["verbs"] |= set(source.access.verbs)
        row["for"].append(source.reads)
        row["required"] = row["required"] or source.is_required
    return {
        "schemaVersion": "torghut.access/v1",
        "role": ROLE,
        "never": ["secrets"],
        "rules": [
            {
                "namespace": namespace,
                "apiGroup": group,
                "resource": resource,
                "verbs": sorted(row["verbs"]),
                "required": row["required"],
                "for": row["for"],
            }
            for (namespace, group, resource), row in sorted(merged.items())
        ],
    }
