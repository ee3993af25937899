"""The few things procedures do to a cluster, through the unmodified Kubernetes client: patch an object, run in a pod."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from torghutctl.adapters.kubernetes_client import KubernetesReader, connect
from torghutctl.adapters.kubernetes_writer import KubernetesWriter
from torghutctl.adapters.pod_commands import PodCommands
from torghutctl.effects.argocd import request_sync
from torghutctl.errors import UpstreamError


@contextmanager
def connected(port: int, folder: Path) -> Iterator[KubernetesReader]:
    """A reader of the API server on loopback."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "test", "user": {"token": "planted-token"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    reader = connect(kubeconfig=path, environment={})
    try:
        yield reader
    finally:
        reader.close()


@pytest.fixture
def patches() -> Iterator[tuple[int, list[dict[str, Any]], dict[str, int]]]:
    """An API server that takes patches; `status` in the dictionary is what it answers."""
    received: list[dict[str, Any]] = []
    answer = {"status": 200}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PATCH(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.append({"path": self.path, "type": self.headers["Content-Type"], "body": body})
            self.send_response(answer["status"])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server.server_address[1], received, answer
    server.shutdown()
    server.server_close()
    thread.join()


def test_request_sync_when_asked_then_the_application_gets_refresh_and_operation(
    patches: tuple[int, list[dict[str, Any]], dict[str, int]], tmp_path: Path
) -> None:
    """A hard refresh by annotation, a sync without pruning by operation, as merge patches."""
    port, received, _ = patches
    with connected(port, tmp_path) as reader:
        for with_operation in (False, True):
            request_sync(KubernetesWriter(reader), "argocd", "torghut", with_operation=with_operation)
    assert {"/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/torghut"} == {r["path"] for r in received}
    assert {"application/merge-patch+json"} == {r["type"] for r in received}
    refresh = {"metadata": {"annotations": {"argocd.argoproj.io/refresh": "hard"}}}
    operation = {"operation": {"initiatedBy": {"username": "torghutctl"}, "sync": {"prune": False}}}
    assert [refresh, {**refresh, **operation}] == [r["body"] for r in received]


@pytest.mark.parametrize(
    ("status", "says"), [(403, "refused to this user"), (404, "answered 404"), (500, "answered 500")]
)
def test_merge_patch_when_refused_then_it_is_upstream_with_a_sentence(
    patches: tuple[int, list[dict[str, Any]], dict[str, int]], tmp_path: Path, status: int, says: str
) -> None:
    """Nine, and what to look at."""
    port, _, answer = patches
    answer["status"] = status
    with connected(port, tmp_path) as reader, pytest.raises(UpstreamError, match=says):
        KubernetesWriter(reader).merge_patch("/apis/x", {}, what="X")


@pytest.fixture
def pod() -> Iterator[Callable[[dict[int, str]], tuple[int, list[dict[str, list[str]]]]]]:
    """A pod behind the exec subresource: what it says by channel (1 output, 2 errors, 3 the end)."""
    from websockets.sync.server import ServerConnection, serve
    from websockets.typing import Subprotocol

    started: list[tuple[Any, threading.Thread]] = []

    def start(said: dict[int, str]) -> tuple[int, list[dict[str, list[str]]]]:
        asked: list[dict[str, list[str]]] = []

        def handle(connection: ServerConnection) -> None:
            request = connection.request
            assert request is not None
            split = urlsplit(request.path)
            asked.append({"path": [split.path], **parse_qs(split.query)})
            for channel, text in said.items():
                connection.send(bytes([channel]) + text.encode())

        server = serve(handle, "127.0.0.1", 0, subprotocols=[Subprotocol("v4.channel.k8s.io")])
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        started.append((server, thread))
        return server.socket.getsockname()[1], asked

    yield start
    for server, thread in started:
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_run_when_the_command_ends_well_then_its_output_comes_back(pod: Any, tmp_path: Path) -> None:
    """The words arrive one by one, without a shell."""
    port, asked = pod({1: '{"size": 3}\n', 3: json.dumps({"status": "Success"})})
    with connected(port, tmp_path) as reader:
        result = PodCommands(reader).run("ns", "pod-0", "clickhouse-client --query 'SELECT 1; x'")
    assert (result.status, result.output, result.errors) == (0, '{"size": 3}\n', "")
    assert asked[0]["path"] == ["/api/v1/namespaces/ns/pods/pod-0/exec"]
    assert asked[0]["command"] == ["clickhouse-client", "--query", "SELECT 1; x"]


def test_run_when_the_command_fails_then_its_status_comes_back(pod: Any, tmp_path: Path) -> None:
    """A status other than zero is a result, not an exception."""
    causes = [{"reason": "ExitCode", "message": "36"}]
    port, _ = pod(
        {
            2: "Replica must be readonly",
            3: json.dumps({"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}}),
        }
    )
    with connected(port, tmp_path) as reader:
        result = PodCommands(reader).run("ns", "pod-0", "x")
    assert (result.status, result.errors) == (36, "Replica must be readonly")


def test_run_when_nobody_answers_or_it_is_cut_off_then_it_is_upstream(pod: Any, tmp_path: Path) -> None:
    """A stream that ends without a status is no success."""
    with connected(9, tmp_path) as reader, pytest.raises(UpstreamError, match="could not be run"):
        PodCommands(reader).run("ns", "pod-0", "x")
    port, _ = pod({1: "half"})
    with connected(port, tmp_path) as reader, pytest.raises(UpstreamError):
        PodCommands(reader).run("ns", "pod-0", "x")
