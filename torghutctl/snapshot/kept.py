"""Small rules for what is kept of a value somebody else wrote: words of a known shape, times, counts, names.

Two kinds: what only informs takes anything and keeps nothing of the wrong type (`table`, `objects`, `count`, `flag`);
what a verdict rests on is refused when it has the wrong type (`part`, `parts`, `whole`, `truth`), so that an answer
that does not parse is never taken for one that says nothing is wrong.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from torghut_core.rfc3339 import format_ns, parse_ns
from torghutctl.snapshot.signatures import match_signatures

OTHER = "(unrecognised)"


class MisusedFieldError(ValueError):
    """A field a verdict rests on has the wrong type. The message names the field in our own words."""


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
    """Return a time (RFC 3339, or milliseconds since the epoch as Flink writes them) as RFC 3339 in UTC.

    None for what is none, and for one before 1970: Go writes a time that was never set as the first day of the year 1.
    """
    try:
        if isinstance(value, bool):
            return None
        if isinstance(value, int) or (isinstance(value, str) and value.isdigit()):
            return format_ns(int(value) * 1_000_000) if int(value) > 0 else None
        ns = parse_ns(value) if isinstance(value, str) else 0
        return format_ns(ns) if ns > 0 else None
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


def part(value: Any, field: str) -> dict[str, Any]:
    """Return a JSON object, an empty one for nothing. Raises MisusedFieldError for anything else."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MisusedFieldError(f"`{field}` is not an object")
    return value


def needed(value: Any, field: str) -> dict[str, Any]:
    """Return a JSON object that says something. Raises MisusedFieldError for nothing, an empty one, and anything else."""
    found = part(value, field)
    if not found:
        raise MisusedFieldError(f"`{field}` is empty")
    return found


def parts(value: Any, field: str) -> list[dict[str, Any]]:
    """Return a list of JSON objects, an empty one for nothing. Raises MisusedFieldError for anything else."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise MisusedFieldError(f"`{field}` is not a list of objects")
    return value


def whole(value: Any, field: str) -> int | None:
    """Return a whole number, None for nothing. Raises MisusedFieldError for anything else."""
    found = count(value)
    if value is not None and found is None:
        raise MisusedFieldError(f"`{field}` is not a whole number")
    return found


def truth(value: Any, field: str) -> bool | None:
    """Return a boolean, None for nothing. Raises MisusedFieldError for anything else."""
    if value is not None and not isinstance(value, bool):
        raise MisusedFieldError(f"`{field}` is not a boolean")
    return value


def state(value: Any, known: Collection[str], field: str) -> str | None:
    """Return one of the known words, OTHER for another word, None for nothing. Raises MisusedFieldError for no text."""
    if value is not None and not isinstance(value, str):
        raise MisusedFieldError(f"`{field}` is not a text")
    return one_of(value, known)


def signatures(value: Any, *, known_names: Collection[str] = ()) -> list[dict[str, Any]]:
    """Return the known faults a free text speaks of; the text itself is dropped."""
    return match_signatures(value, known_names=known_names) if isinstance(value, str) and value else []


def metadata(value: Any) -> dict[str, Any]:
    """Return what is kept of an object's metadata: names, times, labels that select; annotations only by name."""
    meta = part(value, "metadata")
    annotations = table(meta.get("annotations"))
    return {
        "name": name(meta.get("name")),
        "namespace": name(meta.get("namespace")),
        "created": when(meta.get("creationTimestamp")),
        "deleting": when(meta.get("deletionTimestamp")),
        "generation": count(meta.get("generation")),
        "labels": {
            key: name(item) for key, item in sorted(part(meta.get("labels"), "labels").items()) if key in _LABELS
        },
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
            "type": _condition_type(item.get("type")),
            "status": state(item.get("status"), ("True", "False", "Unknown"), "conditions.status"),
            "reason": word(item.get("reason")),
            "since": when(item.get("lastTransitionTime")),
            "signatures": signatures(item.get("message")),
        }
        for item in parts(value, "conditions")
    ]


def _condition_type(value: Any) -> str | None:
    if not isinstance(value, str) or not value:
        raise MisusedFieldError("`conditions.type` is not a text")
    return word(value)


def variables(entries: Any) -> list[dict[str, Any]]:
    """Return variables (a container's `env`, or a ConfigMap's `data`) by name, with the values that may be shown."""
    pairs: list[tuple[Any, Any]]
    if isinstance(entries, Mapping):
        pairs = [(key, item) for key, item in entries.items()]
    else:
        pairs = [(item.get("name"), item.get("value")) for item in parts(entries, "env")]
    kept = []
    for key, value in pairs:
        if not isinstance(key, str):
            raise MisusedFieldError("a variable's name is not a text")
        if not _is_key(key):
            continue
        entry: dict[str, Any] = {"name": key}
        if key in SHOWN_VALUES and not isinstance(value, str | None):
            raise MisusedFieldError(f"the value of {key} is not a text")
        if key in SHOWN_VALUES and isinstance(value, str) and _SWITCH.fullmatch(value.strip()):
            entry["value"] = value.strip()
        kept.append(entry)
    return sorted(kept, key=lambda item: str(item["name"]))


def _is_key(value: str) -> bool:
    return len(value) <= 317 and re.fullmatch(r"[A-Za-z0-9_./-]+", value) is not None
