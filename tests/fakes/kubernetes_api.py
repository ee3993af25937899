"""A Kubernetes API server over HTTP, for the unmodified client: objects, lists with selectors and pages, logs, proxies.

Anything can be made to fail or to wait: `fault(path, ...)` matches the beginning of a request's path.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

KINDS = {
    "pods": "PodList",
    "events": "EventList",
    "endpointslices": "EndpointSliceList",
    "poddisruptionbudgets": "PodDisruptionBudgetList",
    "revisions": "RevisionList",
    "clickhousekeeperinstallations": "ClickHouseKeeperInstallationList",
    "kafkatopics": "KafkaTopicList",
    "kafkausers": "KafkaUserList",
}


@dataclass(kw_only=True)
class Fault:
    """What happens instead of the answer."""

    status: int | None = None
    body: bytes | None = None
    truncated: bool = False
    delay: float = 0.0


@dataclass(kw_only=True)
class Cluster:
    """What the server knows. `objects` is keyed by collection path and name."""

    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    collections: set[str] = field(default_factory=set)
    logs: dict[tuple[str, str, bool], str] = field(default_factory=dict)
    """(pod, container, is it of the previous container): text."""
    services: dict[str, tuple[int, Any]] = field(default_factory=dict)
    """`services/NAME:PORT/PATH?QUERY` or `pods/NAME:PORT/PATH`: status and body (bytes, text or JSON)."""
    faults: dict[str, Fault] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    """Method and path of whatever was no GET; nothing of it is done."""
    run: Callable[[str, list[str]], tuple[int, str]] = field(default=lambda pod, words: (127, "no such command"))
    """What a command in a pod gives: its exit status and its last words, on standard output or, failed, on errors."""
    waits: Callable[[float], None] = field(default=lambda seconds: threading.Event().wait(seconds))

    def put(self, collection: str, item: dict[str, Any]) -> None:
        """Add or replace an object under `collection` (`api/v1/namespaces/torghut/pods`)."""
        self.collections.add(collection)
        self.objects[collection, item["metadata"]["name"]] = item

    def remove(self, collection: str, name: str) -> None:
        """Delete an object; the collection stays."""
        self.objects.pop((collection, name), None)

    def get(self, collection: str, name: str) -> dict[str, Any]:
        """Return an object to change in place."""
        return self.objects[collection, name]

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        """Return status and body of `GET path`."""
        parts = path.strip("/").split("/")
        if parts == ["apis"]:
            return 200, json.dumps(self._groups()).encode()
        if "proxy" in parts:
            return self._proxied(parts, query)
        if parts[-1] == "log":
            key = (parts[-2], query.get("container", ""), query.get("previous") == "true")
            if key not in self.logs:
                return _status(404 if key[2] is False else 400, "previous terminated container not found")
            lines = self.logs[key].splitlines(keepends=True)[-int(query.get("tailLines", "100000")) :]
            return 200, "".join(lines).encode()
        collection = "/".join(parts)
        if collection in self.collections:
            return 200, self._page(collection, query)
        holder, name = "/".join(parts[:-1]), parts[-1]
        if (holder, name) in self.objects:
            return 200, json.dumps(self.objects[holder, name]).encode()
        return _status(404, f'{parts[-2]} "{name}" not found')

    def _groups(self) -> dict[str, Any]:
        """Return the groups that hold something, as discovery lists them; every known operator is installed."""
        served: dict[str, list[str]] = {}
        for collection in sorted(self.collections | {held for held, _ in self.objects}):
            parts = collection.split("/")
            if parts[0] == "apis" and parts[2] not in served.setdefault(parts[1], []):
                served[parts[1]].append(parts[2])
        groups = [
            {
                "name": group,
                "versions": [{"groupVersion": f"{group}/{version}", "version": version} for version in versions],
                "preferredVersion": {"groupVersion": f"{group}/{versions[0]}", "version": versions[0]},
            }
            for group, versions in served.items()
        ]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def _page(self, collection: str, query: dict[str, str]) -> bytes:
        items = [item for (held, _), item in sorted(self.objects.items()) if held == collection]
        for term in filter(None, query.get("labelSelector", "").split(",")):
            key, _, value = term.partition("=")
            items = [item for item in items if item["metadata"].get("labels", {}).get(key) == value]
        start, limit = int(query.get("continue", "0")), int(query.get("limit", "0")) or len(items) or 1
        following = str(start + limit) if start + limit < len(items) else ""
        kind = KINDS[collection.rsplit("/", 1)[1]]
        body = {
            "kind": kind,
            "apiVersion": "v1",
            "metadata": {"continue": following},
            "items": items[start : start + limit],
        }
        return json.dumps(body).encode()

    def _proxied(self, parts: list[str], query: dict[str, str]) -> tuple[int, bytes]:
        at = parts.index("proxy")
        key = f"{parts[at - 2]}/{parts[at - 1]}/{'/'.join(parts[at + 1 :])}"
        if query:
            key += "?" + "&".join(f"{name}={value}" for name, value in query.items())
        if key not in self.services:
            return _status(503, "no endpoints available for service")
        status, body = self.services[key]
        if isinstance(body, bytes | str):
            return status, body.encode() if isinstance(body, str) else body
        return status, json.dumps(body).encode()


def _is_meant(path: str, beginning: str) -> bool:
    """Tell whether a fault at `beginning` is one of `path`; discovery's fault is its own alone."""
    return path == beginning if beginning == "/apis" else path.startswith(beginning)


def _status(code: int, message: str) -> tuple[int, bytes]:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}
    return code, json.dumps(body).encode()


@contextmanager
def serve(cluster: Cluster, folder: Path) -> Iterator[Path]:
    """Serve `cluster` on loopback; yields a kubeconfig that leads to it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            split = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(split.query, keep_blank_values=True).items()}
            cluster.requests.append(self.path)
            if self.headers.get("Upgrade") and split.path.endswith("/exec"):
                self._exec(split.path.split("/")[-2], parse_qs(split.query)["command"])
                return
            fault = max(
                (item for item in cluster.faults.items() if _is_meant(split.path, item[0])),
                key=lambda item: len(item[0]),
                default=(None, Fault()),
            )[1]
            if fault.delay:
                cluster.waits(fault.delay)
            status, body = cluster.answer(split.path, query)
            if fault.status is not None:
                status, body = _status(fault.status, "refused by the test")
            if fault.body is not None:
                body = fault.body
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if fault.truncated:
                self.send_header("Connection", "close")
            self.end_headers()
            try:
                self.wfile.write(body[: len(body) // 2] if fault.truncated else body)
            except ConnectionError:
                self.close_connection = True
            if fault.truncated:
                self.close_connection = True

        def _exec(self, pod: str, words: list[str]) -> None:
            """Run a command in a pod over a WebSocket: output or errors (1, 2), then how it ended (3)."""
            said = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(said.encode()).digest()).decode())
            self.send_header("Sec-WebSocket-Protocol", "v4.channel.k8s.io")
            self.end_headers()
            status, text = cluster.run(pod, words)
            causes = [{"reason": "ExitCode", "message": str(status)}]
            failed = {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}}
            end = json.dumps({"status": "Success"} if status == 0 else failed)
            for channel, part in ((1 if status == 0 else 2, text), (3, end)):
                frame = bytes([channel]) + part.encode()
                self.wfile.write(b"\x82\x7e" + len(frame).to_bytes(2, "big") + frame)
            self.wfile.write(b"\x88\x00")
            self.close_connection = True

        def _refuse(self) -> None:
            cluster.writes.append(f"{self.command} {self.path}")
            self.send_response(405)
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True

        do_POST = do_PUT = do_PATCH = do_DELETE = _refuse

        def log_message(self, *_: Any) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

        def handle_error(self, *_: Any) -> None:
            return

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}],
        "users": [{"name": "test", "user": {"token": "planted-user-token-in-kubeconfig"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    try:
        yield path
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
