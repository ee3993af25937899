"""Which AgentRun this process is part of: what the platform put into the pod, and the run itself as the API has it.

The pod's description (`run.json`) carries no label and no policy, and its parameters are as they were when the pod began.
So the run is read from the API, in its own namespace, by name and uid; nothing but `get` on it is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torghutctl.adapters.http_client import ExchangeError
from torghutctl.adapters.kubernetes_client import connect
from torghutctl.errors import ConfigurationError
from torghutctl.snapshot.api_versions import ServedVersions
from torghutctl.snapshot.http import ReadError, from_exchange, mapping, parse_json, refuse_status
from torghutctl.snapshot.model import is_object_name

MARKERS = ("AGENT_RUN_SPEC", "AGENT_RUNNER_SPEC_PATH", "AGENT_RUNNER_SPEC")
"""Any of these variables, even empty, says that this process is part of an AgentRun."""
GROUP = "agents.proompteng.ai"
_SECONDS = 15.0
_OF_PLATFORM = ("base", "head")
"""Parameters that the platform adds to what the pod is given."""


@dataclass(frozen=True, kw_only=True)
class AgentRun:
    """The run this process is part of. `document` is None when the run itself could not be read; `failure` says why."""

    source: str
    document: Mapping[str, Any] | None
    """The AgentRun as the API has it."""
    description: Mapping[str, Any] = field(default_factory=dict)
    """What the platform put into the pod: `run.json`."""
    failure: str = ""

    def part(self, *path: str) -> Mapping[str, Any]:
        """Return a mapping inside the run, an empty one where there is none."""
        return _inside(self.document, *path)

    @property
    def may_write(self) -> bool:
        """Whether the platform gave this pod a token that may write."""
        vcs = _inside(self.description, "vcs")
        return vcs.get("mode") == "read-write" and vcs.get("writeEnabled") is True


def read_agent_run(environment: Mapping[str, str]) -> AgentRun | None:
    """Return the run this process is part of, None outside of one.

    What cannot be read is handed on as such, with why, for the gates to refuse: nothing is raised.
    """
    if not any(name in environment for name in MARKERS):
        return None
    path = environment.get("AGENT_RUN_SPEC", "")
    source = f"AGENT_RUN_SPEC={path or '(empty)'}"
    try:
        description = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return AgentRun(source=source, document=None, failure="cannot be read as JSON")
    if not isinstance(description, dict):
        return AgentRun(source=source, document=None, failure="is not a JSON object")
    named = description.get("agentRun")
    identity = {key: named.get(key) for key in ("name", "namespace", "uid")} if isinstance(named, dict) else {}
    name, namespace, uid = (identity.get(key) for key in ("name", "namespace", "uid"))
    if not (
        isinstance(name, str) and is_object_name(name) and isinstance(namespace, str) and is_object_name(namespace)
    ):
        failure = "names no run: agentRun needs name, namespace and uid"
        return AgentRun(source=source, document=None, description=description, failure=failure)
    source = f"AgentRun {namespace}/{name}"
    try:
        document = _read(name, namespace, environment)
    except (ReadError, ConfigurationError) as error:
        detail = error.detail if isinstance(error, ReadError) else str(error)
        failure = f"cannot be read from the API: {detail}"
        return AgentRun(source=source, document=None, description=description, failure=failure)
    return _checked(AgentRun(source=source, document=document, description=description), uid)


def _read(name: str, namespace: str, environment: Mapping[str, str]) -> dict[str, Any]:
    client = connect(environment=environment)
    try:
        version = ServedVersions(client).version(GROUP, _SECONDS)
        path = f"/apis/{GROUP}/{version}/namespaces/{namespace}/agentruns/{name}"
        answer = client.get(path, deadline_s=_SECONDS)
        refuse_status(answer)
        return mapping(parse_json(answer))
    except ExchangeError as error:
        raise from_exchange(error) from error
    finally:
        client.close()


def _checked(run: AgentRun, uid: Any) -> AgentRun:
    """Return the run, or why the object read is not the one that this pod was made for."""
    metadata, spec = run.part("metadata"), run.part("spec")
    failure = ""
    if not uid or metadata.get("uid") != uid:
        failure = f"is another one by now: uid {metadata.get('uid')}, this pod was made for {uid}"
    else:
        given = run.description.get("parameters") or {}
        now = spec.get("parameters") or {}
        differing = sorted(
            key
            for key in {*given, *now}
            if given.get(key) != now.get(key) and not (key in _OF_PLATFORM and key not in now)
        )
        if differing:
            failure = f"has other parameters than this pod was given: {', '.join(differing)}"
    return (
        run if not failure else AgentRun(source=run.source, document=None, description=run.description, failure=failure)
    )


def _inside(document: Mapping[str, Any] | None, *path: str) -> Mapping[str, Any]:
    current: Any = document
    for key in path:
        current = current.get(key) if isinstance(current, Mapping) else None
    return current if isinstance(current, Mapping) else {}
