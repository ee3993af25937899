"""Kubeconfigs as kubectl takes them, named faults for those it would not, and a plugin that never answers."""

from __future__ import annotations

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from torghutctl.adapters import kubeconfig
from torghutctl.adapters.http_client import ExchangeError, Trouble
from torghutctl.adapters.kubernetes_client import connect
from torghutctl.errors import ConfigurationError

SERVER = {"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}
CONTEXT = {"name": "x", "context": {"cluster": "c", "user": "u"}}


def written(path: Path, **document: Any) -> Path:
    """Write a kubeconfig."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


USABLE: dict[str, dict[str, Any]] = {
    "a user without credentials": {"users": [{"name": "u"}]},
    "a user whose entry is null": {"users": [{"name": "u", "user": None}]},
    "a user whose entry is empty": {"users": [{"name": "u", "user": {}}]},
    "a context without a user": {"contexts": [{"name": "x", "context": {"cluster": "c"}}], "users": None},
}


@pytest.mark.parametrize("case", USABLE)
def test_connect_when_kubectl_would_take_it_then_it_is_taken(case: str, tmp_path: Path) -> None:
    """A cluster may let anybody in, and a proxy of kubectl does."""
    document = {"current-context": "x", "clusters": [SERVER], "contexts": [CONTEXT], **USABLE[case]}
    reader = connect(kubeconfig=written(tmp_path / "config", **document), environment={})
    assert (reader.server, reader.where) == ("http://127.0.0.1:1", f"kubeconfig {tmp_path / 'config'}, context x")


def test_connect_when_several_files_are_listed_then_merged_as_kubectl_does(tmp_path: Path) -> None:
    """The first that has a name wins; what is empty or not there is passed over; paths are each file's own."""
    empty = tmp_path / "empty"
    empty.write_text("")
    other = {"name": "c", "cluster": {"server": "http://127.0.0.1:2"}}
    user = {"name": "u", "user": {"client-certificate": "pki/crt", "exec": {"command": "./bin/login"}}}
    first = written(tmp_path / "a" / "config", clusters=[SERVER], contexts=[CONTEXT])
    second = written(tmp_path / "b" / "config", clusters=[other], users=[user], **{"current-context": "x"})
    merged = kubeconfig.load([empty, tmp_path / "none", first, second], None)
    credentials = merged.document["users"][0]["user"]
    assert (merged.server, merged.context) == ("http://127.0.0.1:1", "x")
    assert credentials["client-certificate"] == str(tmp_path / "b" / "pki" / "crt")
    assert merged.plugin == str(tmp_path / "b" / "bin" / "login")
    named = os.pathsep.join(map(str, (empty, tmp_path / "none", first)))
    with pytest.raises(ConfigurationError, match="names no current context; it has x: choose one with --context"):
        connect(environment={"KUBECONFIG": named})


FAULTS: dict[str, tuple[dict[str, Any], str | None, str]] = {
    "no current context": ({"contexts": [CONTEXT], "clusters": [SERVER]}, None, "names no current context; it has x"),
    "a current context that is gone": ({"current-context": "y"}, None, "its current context y is not there"),
    "another context": ({"contexts": [CONTEXT]}, "z", "has no such context; it has x"),
    "no such cluster": ({"contexts": [CONTEXT]}, "x", "names the cluster 'c', which it does not have"),
    "no such user": ({"contexts": [CONTEXT], "clusters": [SERVER]}, "x", "names the user 'u', which it does not have"),
    "no server": (
        {"contexts": [CONTEXT], "clusters": [{"name": "c"}], "users": [{"name": "u"}]},
        "x",
        "names no server",
    ),
    "no list": ({"contexts": {"x": 1}}, "x", "contexts must be a list of named entries"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_connect_when_it_cannot_be_used_then_the_reason_is_named(case: str, tmp_path: Path) -> None:
    """One sentence says which entry is wrong."""
    document, context, words = FAULTS[case]
    path = written(tmp_path / "config", **document)
    with pytest.raises(ConfigurationError) as caught:
        connect(kubeconfig=path, context=context, environment={})
    assert (words in str(caught.value), str(path) in str(caught.value)) == (True, True)


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plugin that answers once with a credential that is over at once, and then starts a child that never ends."""
    monkeypatch.setattr(kubeconfig, "PLUGIN_SECONDS", 0.5)
    plugin = tmp_path / "login"
    answer = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "t", "expirationTimestamp": "2020-01-01T00:00:00Z"},
    }
    plugin.write_text(
        f"#!/bin/sh\nif test -e {tmp_path}/ready; then rm {tmp_path}/ready; echo '{json.dumps(answer)}'; exit 0; fi\n"
        f"sleep 300 &\necho $! > {tmp_path}/child\nwait\n"
    )
    plugin.chmod(0o755)
    return plugin


def with_plugin(tmp_path: Path, plugin: Path, server: dict[str, Any]) -> Path:
    user = {"exec": {"command": f"./{plugin.name}", "apiVersion": "client.authentication.k8s.io/v1"}}
    return written(
        tmp_path / "config",
        clusters=[server],
        contexts=[CONTEXT],
        users=[{"name": "u", "user": user}],
        **{"current-context": "x"},
    )


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


def test_connect_when_the_plugin_never_answers_then_named_and_nothing_of_it_is_left(
    hanging: Path, tmp_path: Path
) -> None:
    """The wait has an end, says whose it was, and leaves no process behind."""
    with pytest.raises(
        ConfigurationError, match=r"context x: its credential plugin login gave no answer within 0\.5 s"
    ):
        connect(kubeconfig=with_plugin(tmp_path, hanging, SERVER), environment={})
    child = int((tmp_path / "child").read_text())
    ends = time.monotonic() + 10
    while is_running(child) and time.monotonic() < ends:
        time.sleep(0.01)
    assert not is_running(child)


def test_get_when_the_plugin_does_not_renew_then_a_timeout_that_names_it(hanging: Path, tmp_path: Path) -> None:
    """A token that runs out in between is asked for again, with the same end to the wait."""
    (tmp_path / "ready").touch()
    reader = connect(kubeconfig=with_plugin(tmp_path, hanging, SERVER), environment={})
    with pytest.raises(ExchangeError, match="its credential plugin login gave no answer") as caught:
        reader.get("/version", deadline_s=5)
    assert caught.value.trouble is Trouble.TIMEOUT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seconds", "refusals", "expected"),
    [("0", 1, (200, 2)), ("0", 2, (429, 2)), ("60", 1, (429, 1)), ("x", 1, (429, 1))],
)
def test_get_when_told_to_ask_later_then_once_more_within_the_deadline(
    seconds: str, refusals: int, expected: tuple[int, int], tmp_path: Path
) -> None:
    """One 429 with Retry-After costs its wait; a wait beyond the deadline, or a second refusal, is the answer."""
    asked: list[str] = []

    class Busy(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(429 if len(asked) <= refusals else 200)
            self.send_header("Retry-After", seconds)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}
        path = written(tmp_path / "config", clusters=[cluster], contexts=[CONTEXT], users=[{"name": "u"}])
        answer = connect(kubeconfig=path, context="x", environment={}).get("/api", deadline_s=5)
        server.shutdown()
    assert (answer.status, len(asked)) == expected
