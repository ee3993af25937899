"""What was read: one frozen `Snapshot` of named readings, each a value or the reason it could not be read.

Live, offline and local readers all yield this type; rules and procedures see nothing else. Values are JSON-like.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any


class Failure(StrEnum):
    """Why a source gave no value."""

    ABSENT = "absent"
    """It answered that the thing does not exist (404, missing CRD, empty endpoint list)."""
    FORBIDDEN = "forbidden"
    """It refused this reader (401, 403)."""
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    UPSTREAM = "upstream_error"
    """It answered with an error of its own (5xx, 429)."""
    UNPARSABLE = "unparsable"
    """It answered with something that is not what it should be."""
    NOT_PRESENT = "not_present"
    """This target has no counterpart of the source (a local folder has no Argo CD)."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One source's answer. Exactly one of `value` and `failure` says something."""

    source: str
    value: Any = None
    failure: Failure | None = None
    detail: str = ""
    """What is known about a failure, free of secrets and of raw upstream text."""

    @property
    def is_ok(self) -> bool:
        return self.failure is None


def is_object_name(text: str) -> bool:
    """Tell whether a text can be the name of a Kubernetes object (a DNS subdomain of RFC 1123)."""
    return len(text) <= 253 and re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", text) is not None


@dataclass(frozen=True, kw_only=True)
class Names:
    """The resources a system consists of, under the names of the AgentRun parameters."""

    namespace: str = "torghut"
    service: str = "torghut"
    ws_deployment: str = "torghut-ws"
    flink_deployment: str = "torghut-ta"
    clickhouse_service: str = "torghut-clickhouse"
    cnpg_cluster: str = "torghut-db"
    kafka_namespace: str = "kafka"
    argocd_namespace: str = "argocd"
    argocd_application: str = "torghut"

    @property
    def guardrails(self) -> str:
        """Return the name of the gauges' exporter, Deployment and Service, which hangs on ClickHouse's."""
        return f"{self.clickhouse_service}-guardrails-exporter"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything read at one moment. `readings` maps a source's name to its reading; an unknown name is not an answer."""

    observed_at_ns: int
    names: Names = field(default_factory=Names)
    target: str = "cluster"
    """`cluster` or `local`."""
    readings: Mapping[str, Reading] = field(default_factory=lambda: MappingProxyType({}))

    def reading(self, source: str) -> Reading:
        """Return the reading of `source`; one that was never asked for is unreachable, never healthy by silence."""
        found = self.readings.get(source)
        return found or Reading(source=source, failure=Failure.UNREACHABLE, detail="not read")
