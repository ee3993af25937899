"""Small rules for what is kept of a value somebody else wrote: words of a known shape, times, counts, names."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from torghut_core.rfc3339 import format_ns, parse_ns
from torghutctl.snapshot.signatures import match_signatures

OTHER = "(unrecognised)"
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]{0,60}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,252}")
_SWITCH = re.compile(r"[A-Za-z0-9._:+-]{0,64}")
_IMAGE = re.compile(r"[a-z0-9][a-zA-Z0-9._:/@-]{0,400}")
_LABELS = frozenset(
    {
        "app",
        "app.kubernetes.io/name",
        "app.kubernetes.io/component",
        "component",
        "pod-template-hash",
        "serving.knative.dev/service",
        "serving.knative.dev/revision",
        "serving.knative.dev/configuration",
        "clickhouse.altinity.com/chi",
        "clickhouse.altinity.com/cluster",
        "clickhouse-keeper.altinity.com/chk",
        "cnpg.io/cluster",
        "cnpg.io/podRole",
        "strimzi.io/cluster",
        "strimzi.io/name",
        "kubernetes.io/service-name",
    }
)
SHOWN_VALUES = frozenset(
    {
        "TA_GROUP_ID",
        "TA_AUTO_OFFSET_RESET",
        "ALPACA_FEED",
        "TRADING_ENABLED",
        "TRADING_MODE",
        "TRADING_LIVE_ENABLED",
        "TRADING_KILL_SWITCH_ENABLED",
        "LLM_ENABLED",
        "LLM_SHADOW_MODE",
        "LLM_FAIL_MODE",
        "LLM_FAIL_MODE_ENFORCEMENT",
        "LLM_FAIL_OPEN_LIVE_APPROVED",
        "LLM_ADJUSTMENT_ALLOWED",
        "LLM_ADJUSTMENT_APPROVED",
        "LLM_ROLLOUT_STAGE",
    }
)
"""Variables whose values may be kept; of every other one only the name is."""
_RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"


def word(value: Any) -> str | None:
    """Return a CamelCase or lower-case word as it is, None for nothing, OTHER for anything else."""
    if value in (None, ""):
        return None
    return value if isinstance(value, str) and _WORD.fullmatch(value) else OTHER


def one_of(value: Any, known: Collection[str]) -> str | None:
    """Return `value` when it is a known word, None for nothing, OTHER for anything else."""
    if value in (None, ""):
        return None
    return value if isinstance(value, str) and value in known else OTHER


def name(value: Any) -> str | None:
    """Return an object's name, None for nothing, OTHER for what cannot be one."""
    if value in (None, ""):
        return None
    return value if isinstance(value, str) and _NAME.fullmatch(value) else OTHER


def image(value: Any) -> str | None:
    """Return a container image's reference; without user information or a query it holds none."""
    return value if isinstance(value, str) and _IMAGE.fullmatch(value) else None


def when(value: Any) -> str | None:
    """Return a time (RFC 3339, or milliseconds since the epoch as Flink writes them) as RFC 3339 in UTC."""
    try:
        if isinstance(value, bool):
            return None
        if isinstance(value, int) or (isinstance(value, str) and value.isdigit()):
            return format_ns(int(value) * 1_000_000) if int(value) > 0 else None
        return format_ns(parse_ns(value)) if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        return None


def count(value: Any) -> int | None:
    """Return a whole number, None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def number(value: Any) -> float | None:
    """Return a finite number, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None


def flag(value: Any) -> bool | None:
    """Return a boolean, None for anything else."""
    return value if isinstance(value, bool) else None


def objects(value: Any) -> list[dict[str, Any]]:
    """Return the JSON objects of a list, an empty list for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def table(value: Any) -> dict[str, Any]:
    """Return a JSON object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def signatures(value: Any, *, known_names: Collection[str] = ()) -> list[dict[str, Any]]:
    """Return the known faults a free text speaks of; the text itself is dropped."""
    return match_signatures(value, known_names=known_names) if isinstance(value, str) and value else []


def metadata(value: Any) -> dict[str, Any]:
    """Return what is kept of an object's metadata: names, times, labels that select; annotations only by name."""
    meta = table(value)
    annotations = table(meta.get("annotations"))
    return {
        "name": name(meta.get("name")),
        "namespace": name(meta.get("namespace")),
        "created": when(meta.get("creationTimestamp")),
        "deleting": when(meta.get("deletionTimestamp")),
        "generation": count(meta.get("generation")),
        "labels": {key: name(item) for key, item in sorted(table(meta.get("labels")).items()) if key in _LABELS},
        "owners": [
            {"kind": word(owner.get("kind")), "name": name(owner.get("name"))}
            for owner in objects(meta.get("ownerReferences"))
        ],
        "annotations": sorted(key for key in annotations if _is_key(key)),
        "restartedAt": when(annotations.get(_RESTARTED_AT)),
    }


def conditions(value: Any) -> list[dict[str, Any]]:
    """Return conditions as type, status, reason, since, and the signatures of their messages."""
    return [
        {
            "type": word(item.get("type")),
            "status": one_of(item.get("status"), ("True", "False", "Unknown")),
            "reason": word(item.get("reason")),
            "since": when(item.get("lastTransitionTime")),
            "signatures": signatures(item.get("message")),
        }
        for item in objects(value)
    ]


def variables(entries: Mapping[str, Any] | Iterable[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """Return variables (a container's `env`, or a ConfigMap's `data`) by name, with the values that may be shown."""
    if isinstance(entries, Mapping):
        pairs = [(key, item) for key, item in entries.items()]
    else:
        pairs = [(item.get("name"), item.get("value")) for item in objects(entries)]
    kept = []
    for key, value in pairs:
        if not isinstance(key, str) or not _is_key(key):
            continue
        entry: dict[str, Any] = {"name": key}
        if key in SHOWN_VALUES and isinstance(value, str) and _SWITCH.fullmatch(value):
            entry["value"] = value
        kept.append(entry)
    return sorted(kept, key=lambda item: str(item["name"]))


def _is_key(value: str) -> bool:
    return len(value) <= 317 and re.fullmatch(r"[A-Za-z0-9_./-]+", value) is not None
