"""Runs one fixed command line inside a pod, over the Kubernetes API's exec stream."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from torghutctl.adapters.kubernetes_client import KubernetesReader
from torghutctl.errors import UpstreamError

_TIMEOUT_SECONDS = 3600


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """What a command gave back."""

    status: int
    output: str
    errors: str


class PodCommands:
    """Exec in pods of one cluster, on the connection settings of a reader."""

    def __init__(self, reader: KubernetesReader) -> None:
        self._client: Any = reader._client

    def run(self, namespace: str, pod: str, command: str) -> CommandResult:
        """Run `command` without a shell. Raises UpstreamError when it cannot be started."""
        from kubernetes.client import CoreV1Api
        from kubernetes.client.exceptions import ApiException
        from kubernetes.stream import stream
        from websocket import WebSocketException

        try:
            session = stream(
                CoreV1Api(self._client).connect_get_namespaced_pod_exec,
                pod,
                namespace,
                command=shlex.split(command),
                stdout=True,
                stderr=True,
                stdin=False,
                tty=False,
                _preload_content=False,
            )
            try:
                session.run_forever(timeout=_TIMEOUT_SECONDS)
                output, errors = session.read_stdout(timeout=0) or "", session.read_stderr(timeout=0) or ""
                status = _status(session)
            finally:
                session.close()
                # close() leaves the socket open when the other side said goodbye first
                session.sock.shutdown()
        except (ApiException, WebSocketException, OSError) as error:
            raise UpstreamError(
                f"pod {namespace}/{pod}: the command could not be run ({type(error).__name__})",
                hint="check the pod's name and the right to pods/exec",
            ) from error
        if status is None:
            raise UpstreamError(
                f"pod {namespace}/{pod}: the command did not end, or its end was not told", hint="look into the pod"
            )
        return CommandResult(status=status, output=output, errors=errors)


def _status(session: Any) -> int | None:
    """Return the exit status; None when the stream ended without telling it, which the client answers with a TypeError."""
    try:
        status = session.returncode
    except (TypeError, ValueError, KeyError, IndexError):
        return None
    return None if status is None else int(status)
