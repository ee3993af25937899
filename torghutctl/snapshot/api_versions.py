"""Which version of an API group a cluster serves: asked for once per reading, never written into a path.

`GET /apis` lists every group with its versions, and every authenticated user may ask it. Where it does not answer, the
newest version whose fields are known is asked for, so that a broken aggregated API hides no resource.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from torghutctl.adapters.http_client import ExchangeError
from torghutctl.adapters.kubernetes_client import KubernetesReader
from torghutctl.snapshot.http import ReadError, mapping, parse_json, refuse_status
from torghutctl.snapshot.model import Failure

KNOWN: Mapping[str, tuple[str, ...]] = {
    "agents.proompteng.ai": ("v1alpha1",),
    "apps": ("v1",),
    "argoproj.io": ("v1alpha1",),
    "clickhouse-keeper.altinity.com": ("v1",),
    "clickhouse.altinity.com": ("v1",),
    "discovery.k8s.io": ("v1",),
    "flink.apache.org": ("v1beta1",),
    "kafka.strimzi.io": ("v1", "v1beta2"),
    "policy": ("v1",),
    "postgresql.cnpg.io": ("v1",),
    "serving.knative.dev": ("v1",),
}
"""Versions whose fields the readers know, newest first."""
_SHARE = 0.5
"""Of a source's deadline, at the most, that may pass waiting for the list of groups."""


class ServedVersions:
    """The versions one API server serves. Safe to ask from many threads: the first asks the server, the others wait."""

    def __init__(self, client: KubernetesReader) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._has_asked = False
        self._served: Mapping[str, tuple[str, ...]] | None = None

    def version(self, group: str, seconds: float) -> str:
        """Return the version to read `group` at: the newest known one that is served, else the server's own choice.

        `seconds` is what the caller may take in all. Raises ReadError with ABSENT where the cluster serves no such group
        (its operator is not installed).
        """
        served = self._groups(seconds * _SHARE)
        if served is None:
            return KNOWN[group][0]
        versions = served.get(group)
        if not versions:
            raise ReadError(Failure.ABSENT, f"the cluster serves no API group {group}")
        return next((version for version in KNOWN[group] if version in versions), versions[0])

    def _groups(self, seconds: float) -> Mapping[str, tuple[str, ...]] | None:
        if not self._lock.acquire(timeout=seconds):
            return self._served
        try:
            if not self._has_asked:
                self._served = self._read(seconds)
                self._has_asked = True
            return self._served
        finally:
            self._lock.release()

    def _read(self, seconds: float) -> Mapping[str, tuple[str, ...]] | None:
        try:
            answer = self._client.get("/apis", deadline_s=seconds)
            refuse_status(answer)
            return _versions(mapping(parse_json(answer)))
        except (ExchangeError, ReadError):
            return None


def _versions(document: Mapping[str, object]) -> Mapping[str, tuple[str, ...]] | None:
    """Return versions by group, the server's preferred one first; None where the answer is no list of groups."""
    groups = document.get("groups")
    if document.get("kind") != "APIGroupList" or not isinstance(groups, list):
        return None
    found: dict[str, tuple[str, ...]] = {}
    for group in groups:
        if not isinstance(group, dict) or not isinstance(group.get("name"), str):
            continue
        listed = group.get("versions")
        versions = (
            [item.get("version") for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
        )
        preferred = group.get("preferredVersion")
        first = preferred.get("version") if isinstance(preferred, dict) else None
        ordered = sorted((v for v in versions if isinstance(v, str)), key=lambda version: version != first)
        found[group["name"]] = tuple(ordered)
    return found
