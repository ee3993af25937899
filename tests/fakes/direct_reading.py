"""Readings of a fake cluster without HTTP between: the same requests, parsers and seal, thousands of times a minute."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from tests.fakes.kubernetes_api import Cluster
from torghut_core.rfc3339 import parse_ns
from torghutctl.adapters.http_client import Answer
from torghutctl.snapshot.cluster import ClusterReader
from torghutctl.snapshot.collector import collect
from torghutctl.snapshot.model import Names, Snapshot
from torghutctl.snapshot.seal import seal


class DirectClient:
    """Stands for the API server's client: asks the fake in the same process."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def get(self, path: str, query: Mapping[str, str] | None = None, *, deadline_s: float) -> Answer:
        """Return the fake's answer."""
        status, body = self._cluster.answer(path, dict(query or {}))
        return Answer(status=status, body=body)


def read(cluster: Cluster, at: str) -> Snapshot:
    """Return the snapshot that a reading of `cluster` at `at` gives."""
    client: Any = DirectClient(cluster)
    tasks = ClusterReader(client, Names()).tasks()
    readings = collect(tasks, deadline_s=30, monotonic=time.monotonic, width=4)
    return seal(observed_at_ns=parse_ns(at), names=Names(), target="cluster", readings=readings)
