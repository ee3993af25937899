"""The few writes to the Kubernetes API that procedures need, through the kubernetes client. May not read for judging."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torghutctl.adapters.kubernetes_client import KubernetesReader
from torghutctl.errors import UpstreamError

_TIMEOUT_SECONDS = 30.0
_MERGE_PATCH = "application/merge-patch+json"


class KubernetesWriter:
    """Patches objects of one API server, over a reader's connection."""

    def __init__(self, reader: KubernetesReader) -> None:
        self._client: Any = reader._client

    def merge_patch(self, path: str, body: Mapping[str, Any], *, what: str) -> None:
        """Merge `body` into the object at `path`. Raises UpstreamError that names `what` when it is not done."""
        import urllib3

        method, url, headers, sent, fields = self._client.param_serialize(
            "PATCH",
            path,
            header_params={"Accept": "application/json", "Content-Type": _MERGE_PATCH},
            body=dict(body),
            auth_settings=["BearerToken"],
        )
        try:
            response = self._client.call_api(method, url, headers, sent, fields, _request_timeout=_TIMEOUT_SECONDS)
            status = int(response.status)
            response.response.drain_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UpstreamError(f"{what}: the API server did not answer ({type(error).__name__})") from error
        if status in (401, 403):
            raise UpstreamError(f"{what}: refused to this user ({status})", hint="the Role needs the verb patch on it")
        if status >= 300:
            raise UpstreamError(f"{what}: the API server answered {status}", hint="look at the object")
