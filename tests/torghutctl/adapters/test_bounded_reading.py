"""Both HTTP adapters keep a deadline for the whole exchange, and tell a broken answer from a refused one."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from torghutctl.adapters import http_client
from torghutctl.adapters.http_client import Answer, ExchangeError, Trouble
from torghutctl.adapters.kubernetes_client import connect
from torghutctl.errors import ConfigurationError

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"


@contextmanager
def _speaking(script: Callable[[socket.socket], Any]) -> Iterator[str]:
    """Serve connections with a script that writes raw bytes; yields the base URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            held.append(connection)
            try:
                connection.recv(65536)
                script(connection)
            except OSError:
                continue

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in held:
            connection.close()
        thread.join(5)


def _plain(url: str, deadline_s: float, _folder: Path) -> Answer:
    return http_client.get(f"{url}/x", deadline_s=deadline_s)


def _kubernetes(url: str, deadline_s: float, folder: Path) -> Answer:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "c", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }
    path = folder / "config"
    path.write_text(json.dumps(config))
    return connect(kubeconfig=path, environment={}).get("/api/v1/x", deadline_s=deadline_s)


ADAPTERS = {"plain": _plain, "kubernetes": _kubernetes}


@pytest.fixture(params=ADAPTERS.values(), ids=ADAPTERS)
def ask(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str, float], Answer]:
    return lambda url, deadline_s: request.param(url, deadline_s, tmp_path)


def test_get_when_answer_is_chunked_then_whole(ask: Callable[[str, float], Answer]) -> None:
    """A large list comes in chunks; they are put together."""
    with _speaking(lambda peer: peer.sendall(CHUNKED + b'4\r\n{"a"\r\n3\r\n:1}\r\n0\r\n\r\n')) as url:
        assert Answer(status=200, body=b'{"a":1}') == ask(url, 5)


@pytest.mark.parametrize(
    "broken",
    [PLAIN + b"{", CHUNKED + b'4\r\n{"a"\r\n', b"not http at all\r\n\r\n"],
    ids=["short", "chunks", "garbage"],
)
def test_get_when_answer_ends_early_then_truncated(broken: bytes, ask: Callable[[str, float], Answer]) -> None:
    """An answer that stops in its middle is none."""

    def script(peer: socket.socket) -> None:
        peer.sendall(broken)
        peer.shutdown(socket.SHUT_WR)

    with _speaking(script) as url, pytest.raises(ExchangeError) as caught:
        ask(url, 5)
    assert caught.value.trouble in (Trouble.TRUNCATED, Trouble.UNREACHABLE)


def test_get_when_nothing_is_said_then_times_out(ask: Callable[[str, float], Answer]) -> None:
    """A mute peer costs the deadline."""
    with _speaking(lambda _: None) as url, pytest.raises(ExchangeError) as caught:
        ask(url, 0.3)
    assert Trouble.TIMEOUT is caught.value.trouble


def test_get_when_bytes_drip_then_deadline_is_for_the_whole_exchange(ask: Callable[[str, float], Answer]) -> None:
    """A peer that sends a byte at a time never resets the deadline."""
    stop = threading.Event()

    def drip(peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not stop.wait(0.05):
            peer.sendall(b"x")

    with _speaking(drip) as url:
        with pytest.raises(ExchangeError) as caught:
            ask(url, 0.5)
        stop.set()
    assert Trouble.TIMEOUT is caught.value.trouble


def test_get_when_nobody_listens_then_unreachable(ask: Callable[[str, float], Answer]) -> None:
    """A closed port is told from a slow one."""
    with _speaking(lambda _: None) as url:
        pass
    with pytest.raises(ExchangeError) as caught:
        ask(url, 2)
    assert Trouble.UNREACHABLE is caught.value.trouble


def test_get_when_redirected_then_not_followed(ask: Callable[[str, float], Answer]) -> None:
    """A redirect is an answer of its own: credentials go nowhere else."""
    reply = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    with _speaking(lambda peer: peer.sendall(reply)) as url:
        assert ask(url, 2).status == 302


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/x", "127.0.0.1:80", "http://127.0.0.1:port/x"])
def test_plain_get_when_address_is_none_then_unreachable(address: str) -> None:
    """An address that is no http URL is said to be so."""
    with pytest.raises(ExchangeError):
        http_client.get(address, deadline_s=1)


def test_connect_when_no_kubeconfig_then_configuration_error_says_what_to_give(tmp_path: Path) -> None:
    """Without a cluster the error names the file that was looked for and the other targets."""
    with pytest.raises(ConfigurationError) as caught:
        connect(environment={"HOME": str(tmp_path)})
    assert str(tmp_path) in str(caught.value)
    assert "--from-snapshot" in str(caught.value.hint)


def test_kubernetes_get_when_kubeconfig_has_a_token_then_it_is_sent(tmp_path: Path) -> None:
    """The user's bearer token authorises every request."""
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        peer, _ = listener.accept()
        heard.append(peer.recv(65536))
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        peer.close()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{listener.getsockname()[1]}"}}],
        "users": [{"name": "c", "user": {"token": "the-token"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }
    (tmp_path / "config").write_text(json.dumps(config))
    reader = connect(kubeconfig=tmp_path / "config", environment={})
    assert reader.get("/api/v1/pods", {"limit": "5"}, deadline_s=5).status == 200
    reader.close()
    thread.join(5)
    listener.close()
    head = heard[0].decode().lower()
    assert head.startswith("get /api/v1/pods?limit=5 ")
    assert "authorization: bearer the-token" in head
