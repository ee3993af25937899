"""What a kustomization takes in from elsewhere: bases, components, resources, patches and files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

KUSTOMIZATIONS = frozenset({"kustomization.yaml", "kustomization.yml", "Kustomization"})
_LISTS = ("resources", "bases", "components", "patchesStrategicMerge", "configurations", "generators", "transformers")
_REMOTE = re.compile(r"^[\w+.-]+://|^[\w.-]+@[\w.-]+:|^(?:github\.com|gitlab\.com|bitbucket\.org)/|[?&]ref=|//")


def is_remote_address(target: str) -> bool:
    """Tell whether kustomize would fetch it from elsewhere: a URL, or a repository's address."""
    return _REMOTE.search(target) is not None


def taken_in(data: bytes) -> list[str]:
    """Return the paths and addresses that a kustomization names; nothing where it cannot be read as YAML.

    Generators' files are named `key=path` or `path`; an entry of several lines is a patch, not a path.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    reader = YAML(typ="safe", pure=True)
    reader.allow_duplicate_keys = True
    try:
        document = reader.load(data.decode("utf-8"))
    except (YAMLError, ValueError, RecursionError):
        return []
    named = _named(document) if isinstance(document, dict) else ()
    return list(dict.fromkeys(item for item in named if "\n" not in item))


def _named(document: dict[str, Any]) -> Iterator[str]:
    for key in _LISTS:
        yield from (item for item in _list(document.get(key)) if isinstance(item, str))
    for key in ("patches", "patchesJson6902", "replacements"):
        yield from (
            item["path"]
            for item in _list(document.get(key))
            if isinstance(item, dict) and isinstance(item.get("path"), str)
        )
    for generator in _list(document.get("configMapGenerator")):  # a secret's file is not expected to be in git
        sources = generator if isinstance(generator, dict) else {}
        files = [*_list(sources.get("files")), *_list(sources.get("envs")), sources.get("env")]
        yield from (item.rpartition("=")[2] for item in files if isinstance(item, str))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
