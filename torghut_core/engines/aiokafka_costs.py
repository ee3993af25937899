"""Costs of aiokafka that grow with every record, taken out of this process.

aiokafka has no setting for them. It compresses with lz4 at level 9, ten times the work of level 1 for a fifth fewer
bytes; it wraps every record it has decoded in a second object of eleven fields; and as each record owns a list, Python
looks for reference cycles after every 700 of them, though there never is one. What is replaced is looked for first: a
later aiokafka that has it elsewhere keeps its own way, slower and as correct.
"""

from __future__ import annotations

import gc
import importlib
from types import ModuleType
from typing import Any

_LZ4_LEVEL = 1
_COLLECT_AFTER = 100_000
"""Objects made beyond those freed before Python looks for cycles: more than a poll brings, a few megabytes of others."""
_BUILDERS = ("aiokafka.record._crecords.default_records", "aiokafka.record.default_records")


def take_out() -> list[str]:
    """Replace them, once or again, and return the names of what was found and replaced."""
    if gc.get_threshold()[0] < _COLLECT_AFTER:
        gc.set_threshold(_COLLECT_AFTER, *gc.get_threshold()[1:])
    return [*_quick_lz4(), *_bare_records()]


def _quick_lz4() -> list[str]:
    codec = importlib.import_module("aiokafka.codec")
    encode = getattr(codec, "lz4_encode", None)
    if encode is None or "level" not in getattr(encode, "__annotations__", {}):
        return []

    def lz4_encode(payload: Any) -> bytes:
        return bytes(encode(payload, level=_LZ4_LEVEL))

    replaced = []
    for module in filter(None, map(_module, _BUILDERS)):
        if hasattr(module, "lz4_encode"):
            module.lz4_encode = lz4_encode  # type: ignore[attr-defined]
            replaced.append(f"{module.__name__}.lz4_encode")
    return replaced


def _bare_records() -> list[str]:
    records = getattr(_module("aiokafka.consumer.fetcher"), "PartitionRecords", None)
    if not hasattr(records, "_consumer_record"):
        return []

    def _consumer_record(_self: Any, _partition: Any, record: Any) -> Any:
        return record  # offset, timestamp, key and value are all that is read of it

    records._consumer_record = _consumer_record  # type: ignore[union-attr]
    return ["aiokafka.consumer.fetcher.PartitionRecords._consumer_record"]


def _module(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
