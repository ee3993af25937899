"""A refused procedure has no effect: each runs as a real process, with every write that it attempts on record.

Recorded are the process's own writes, the programs it starts and its connections (an audit hook), every git process
below it (git's own trace), and what reaches the cluster and the forge. Repository, clone and home are compared besides.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fakes import incidents, torghut_cluster
from tests.fakes.kubernetes_api import Cluster, Fault, serve
from torghut_core.rfc3339 import format_ns

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

ROOT = Path(__file__).resolve().parents[3]
RECORDER = ROOT / "tests" / "fakes" / "recorded_process"
ON, OFF = 'TRADING_ENABLED\n              value: "true"', 'TRADING_ENABLED\n              value: "false"'
STEADY, REPLAY = "TA_GROUP_ID: torghut-ta\n", "TA_GROUP_ID: torghut-ta-replay-old\n"
FORGE = "https://forge.example/acme/lab.git"
CHANGING_GIT = {"push", "receive-pack", "update-ref", "commit-tree", "commit", "symbolic-ref", "branch", "tag", "merge"}


@dataclass
class Forge:
    """A forge's API that knows nobody; what matters is who asked."""

    requests: list[str] = field(default_factory=list)
    address: str = ""


@pytest.fixture
def forge() -> Iterator[Forge]:
    made = Forge()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            made.requests.append(f"{self.command} {self.path}")
            self.send_response(401)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"message": "Bad credentials"}')

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    made.address = f"http://127.0.0.1:{server.server_address[1]}"
    yield made
    server.shutdown()
    server.server_close()


@dataclass
class Attempts:
    """What one process and everything below it tried."""

    status: int
    errors: str
    lines: list[list[str]]
    git: list[list[str]]

    def writes_outside(self, folder: Path) -> list[list[str]]:
        """Writes to anywhere but below `folder`."""
        quiet = ("program", "socket.connect", "socket.sendto", "socket.sendmsg")
        return [
            line
            for line in self.lines
            if line[0] not in quiet
            and any(path != os.devnull and not Path(path).is_relative_to(folder) for path in line[1:])
        ]

    @property
    def programs(self) -> set[str]:
        return {Path(line[1]).name for line in self.lines if line[0] == "program"}

    @property
    def changing_git(self) -> list[list[str]]:
        return [argv for argv in self.git if CHANGING_GIT & set(argv)]

    @property
    def connections(self) -> list[str]:
        return [line[1] for line in self.lines if line[0].startswith("socket.")]


@dataclass
class Site:
    """A place to run in: a home, a temporary folder of its own, a repository behind a forge, and a cluster."""

    folder: Path
    gitops: Any
    forge: Forge
    cluster: Cluster
    kubeconfig: Path

    @property
    def own(self) -> Path:
        return self.folder / "own"

    @property
    def cluster_address(self) -> str:
        """The cluster's API as a connection names it."""
        server = json.loads(self.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        return str(("127.0.0.1", int(server.rsplit(":", 1)[1])))

    def config(self, **entry: Any) -> str:
        """Write an environments file with this entry as its default."""
        path = self.folder / "environments.yaml"
        path.write_text(
            yaml.safe_dump(
                {
                    "default": "here",
                    "environments": {"here": {"forge": "github", "forgeUrl": self.forge.address, **entry}},
                }
            )
        )
        return str(path)

    def run(self, *arguments: str, **environment: str) -> Attempts:
        """Run torghutctl, recorded."""
        record, trace, git_config = (self.folder / name for name in ("record", "trace", "gitconfig"))
        for path in (record, trace):
            path.unlink(missing_ok=True)
        self.own.mkdir(exist_ok=True)
        git_config.write_text(f'[url "{self.gitops.bare}"]\n insteadOf = {FORGE}\n')
        done = subprocess.run(
            [sys.executable, "-m", "torghutctl", *arguments],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder / "home"),
                "TMPDIR": str(self.own),
                "PYTHONPATH": f"{RECORDER}{os.pathsep}{ROOT}",
                "PYTHONDONTWRITEBYTECODE": "1",
                "RECORD_ATTEMPTS": str(record),
                "GIT_TRACE2_EVENT": str(trace),
                "GIT_CONFIG_GLOBAL": str(git_config),
                "GITHUB_TOKEN": "planted-token",
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        events = [json.loads(line) for line in trace.read_text().splitlines()] if trace.exists() else []
        return Attempts(
            status=done.returncode,
            errors=done.stderr,
            lines=[json.loads(line) for line in record.read_text().splitlines()],
            git=[event["argv"] for event in events if event["event"] == "start"],
        )

    def contents(self) -> dict[str, str]:
        """Everything that a procedure may change, by path: the repository, the clone, the home."""
        roots = (self.gitops.bare, self.gitops.clone, self.folder / "home")
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for root in roots
            for path in sorted(root.rglob("*"))
        }


@pytest.fixture
def site(tmp_path: Path, gitops: Any, forge: Forge) -> Iterator[Site]:
    cluster = torghut_cluster.healthy()
    with serve(cluster, tmp_path) as kubeconfig:
        yield Site(folder=tmp_path, gitops=gitops, forge=forge, cluster=cluster, kubeconfig=kubeconfig)


def pinned(gitops: Any) -> None:
    """Give the trading image a history of two digests."""
    old = "torghut/torghut:0.1.0"
    for number in (1, 2):
        new = f"torghut/torghut@sha256:{str(number) * 64}"
        gitops.replace("knative-service.yaml", old, new)
        old = new


def suspended(gitops: Any) -> None:
    gitops.replace("ta/flinkdeployment.yaml", "state: running", "state: suspended")


PREPARE: dict[str, tuple[list[str], Callable[[Any], Any] | None]] = {
    "pause-trading": (["pause-trading", "--pr"], None),
    "cancel-orders": (["pause-trading", "--cancel-orders", "--branch"], None),
    "restart-ws": (["restart-ws", "--pr"], None),
    "suspend-ta": (["suspend-ta", "--branch"], None),
    "restart-ta": (["restart-ta", "--pr"], None),
    "resume-trading": (["resume-trading", "--pr"], lambda g: g.replace("knative-service.yaml", ON, OFF)),
    "resume-ta": (["resume-ta", "--branch"], suspended),
    "rollback-image": (["rollback-image", "--pr"], pinned),
    "replay-ta start": (["replay-ta", "start", "--id", "gap-1", "--pr"], None),
    "replay-ta exit": (["replay-ta", "exit", "--branch"], lambda g: g.replace("ta/configmap.yaml", STEADY, REPLAY)),
    "replay-ta act": (
        ["replay-ta", "start", "--id", "gap-1", "--mode", "from-scratch", "--kafka-pod", "k-0", "--minio-pod", "m-0", "--act"],
        suspended,
    ),
    "restore-replica": (["restore-replica", "--act"], None),
}  # fmt: skip
STARTS = ("resume-trading", "resume-ta", "rollback-image", "replay-ta start", "replay-ta act", "restore-replica")

GATES: dict[str, tuple[list[str], str]] = {
    "reason absent": (["--confirm", "ACTUATE_TORGHUT"], "no reason was given"),
    "reason empty": (["--reason", "", "--confirm", "ACTUATE_TORGHUT"], "no reason was given"),
    "reason that shows nothing": (["--reason", "\u200b \t", "--confirm", "ACTUATE_TORGHUT"], "no reason was given"),
    "confirmation absent": (["--reason", "x"], "confirm: not given"),
    "confirmation empty": (["--reason", "x", "--confirm", ""], "confirm: not given"),
    "confirmation wrong": (["--reason", "x", "--confirm", "ACTUATE_TORGHUT "], "is not the exact phrase"),
}
GIVEN = ["--reason", "x", "--confirm", "ACTUATE_TORGHUT"]
RUNS: dict[str, str | None] = {
    "absent": None,
    "empty": "",
    "wrong": '{"metadata": {"labels": {"torghut.proompteng.ai/actuation": "yes"}}, "spec": {"vcsPolicy": {}}}',
    "cut": '{"metadata": {"lab',
}


def where(site: Site, command: list[str]) -> list[str]:
    """The options that lead to the repository: the forge's for --pr, the clone for what stays on this machine."""
    repo = FORGE if "--pr" in command else str(site.gitops.clone)
    return ["--repo", repo, "--config", site.config(), "-e", "here"]


def prepared(site: Site, name: str) -> list[str]:
    """Bring the repository to where the command has something to do, and return its words."""
    command, prepare = PREPARE[name]
    if prepare is not None:
        prepare(site.gitops)
    return command


def attempted(site: Site, done: Attempts, before: dict[str, str]) -> list[object]:
    """Return everything that a refused process must not have tried, or left behind."""
    return [
        *done.writes_outside(site.own),
        *site.own.iterdir(),
        *(done.programs - {"git"}),
        *done.changing_git,
        *site.forge.requests,
        *site.cluster.writes,
        *(path for path in site.cluster.requests if "/exec" in path or "/attach" in path),
        *(set(done.connections) - {site.cluster_address}),
        *(before.items() ^ site.contents().items()),
    ]


def answer(done: Attempts, said: str) -> tuple[int, bool, bool]:
    """Return the exit code, whether `said` was said, and whether there was a trace."""
    return done.status, said in done.errors, "Traceback" in done.errors


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("name", PREPARE)
def test_procedure_when_reason_or_confirmation_is_missing_then_no_write_is_attempted(
    name: str, gate: str, site: Site
) -> None:
    """Absent, empty, wrong: refused with 6 before anything is touched."""
    command = prepared(site, name)
    given, said = GATES[gate]
    options = where(site, command)
    before = site.contents()
    done = site.run(*command, *options, "--kubeconfig", str(site.kubeconfig), *given)
    assert answer(done, said) == (6, True, False), done.errors
    assert attempted(site, done, before) == []


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("name", PREPARE)
def test_procedure_when_its_agent_run_cannot_be_trusted_then_no_write_is_attempted(
    name: str, run: str, site: Site
) -> None:
    """A description that is absent, empty, cut or of another run opens nothing."""
    command = prepared(site, name)
    path = site.folder / "run.json"
    content = RUNS[run]
    if content is not None:
        path.write_text(content)
    options = where(site, command)
    before = site.contents()
    done = site.run(*command, *options, "--kubeconfig", str(site.kubeconfig), *GIVEN, AGENT_RUN_SPEC=str(path))
    assert answer(done, "agent run") == (6, True, False), done.errors
    assert attempted(site, done, before) == []


@pytest.mark.parametrize("name", PREPARE)
def test_procedure_when_production_is_not_named_or_the_plan_is_an_old_one_then_no_write_is_attempted(
    name: str, site: Site
) -> None:
    """A default that is production refuses with 6, an expired digest with 7."""
    command = prepared(site, name)
    options = [*where(site, command)[:2], "--config", site.config(production=True)]
    before = site.contents()
    reading = ("--kubeconfig", str(site.kubeconfig))
    unnamed = site.run(*command, *options, *reading, *GIVEN)
    assert answer(unnamed, "a production environment must be named") == (6, True, False), unnamed.errors
    assert attempted(site, unnamed, before) == []
    expired = site.run(*command, *options, "-e", "here", *reading, *GIVEN, "--plan", "sha256:" + "0" * 64)
    assert answer(expired, "that --plan names") == (7, True, False), expired.errors
    assert attempted(site, expired, before) == []


def unreadable(site: Site) -> list[str]:
    path = site.folder / "damaged"
    path.write_text("{[")
    return ["--kubeconfig", str(path)]


def empty(site: Site) -> list[str]:
    site.cluster.objects.clear()
    site.cluster.collections.clear()
    site.cluster.services.clear()
    return ["--kubeconfig", str(site.kubeconfig)]


def wrong(site: Site) -> list[str]:
    now = format_ns(time.time_ns() // 10**9 * 10**9)
    incidents.set_gauges(site.cluster, free=(0.01, 0.01), scraped=now)
    site.cluster.remove(f"{torghut_cluster.KNATIVE}/services", "torghut")
    return ["--kubeconfig", str(site.kubeconfig)]


def expired(site: Site) -> list[str]:
    """Everything as it was months ago, when the gauges were last looked at."""
    site.cluster.remove(f"{torghut_cluster.KNATIVE}/services", "torghut")
    return ["--kubeconfig", str(site.kubeconfig)]


def refused_everywhere(site: Site) -> list[str]:
    site.cluster.faults["/"] = Fault(status=403)
    return ["--kubeconfig", str(site.kubeconfig)]


EVIDENCE: dict[str, Callable[[Site], list[str]]] = {
    "absent": lambda site: [],
    "empty": empty,
    "wrong": wrong,
    "unreadable": unreadable,
    "forbidden": refused_everywhere,
    "expired": expired,
}


@pytest.mark.parametrize("state", EVIDENCE)
@pytest.mark.parametrize("name", STARTS)
def test_start_when_its_evidence_is_not_good_then_no_write_is_attempted(name: str, state: str, site: Site) -> None:
    """What is absent, empty, bad, unreadable, forbidden or old decides against a start."""
    command = prepared(site, name)
    options = [*where(site, command), *EVIDENCE[state](site)]
    before = site.contents()
    done = site.run(*command, *options, *GIVEN)
    assert answer(done, "refused, nothing was changed") == (6, True, False), done.errors
    assert attempted(site, done, before) == []


@pytest.mark.parametrize("name", ["resume-ta", "replay-ta start"])
def test_start_when_told_another_time_then_it_is_a_usage_error_and_no_write_is_attempted(name: str, site: Site) -> None:
    """Nobody opens the gate of the market's session, or makes old evidence young, with --at."""
    command = prepared(site, name)
    options = [*where(site, command), "--kubeconfig", str(site.kubeconfig), "--at", torghut_cluster.NOW]
    before = site.contents()
    done = site.run(*command, *options, *GIVEN)
    assert answer(done, f"--at {torghut_cluster.NOW}") == (2, True, False), done.errors
    assert attempted(site, done, before) == []


def test_resume_trading_when_told_another_time_then_its_evidence_is_judged_by_the_clock_all_the_same(
    site: Site,
) -> None:
    """--at is what a revision is stamped with, and makes no old evidence young."""
    command = prepared(site, "resume-trading")
    options = [*where(site, command), "--kubeconfig", str(site.kubeconfig), "--at", torghut_cluster.NOW]
    before = site.contents()
    done = site.run(*command, *options, *GIVEN)
    assert answer(done, "refused, nothing was changed") == (6, True, False), done.errors
    assert attempted(site, done, before) == []


def test_recorder_when_every_gate_is_open_then_it_sees_the_writes(site: Site) -> None:
    """What the other tests look for is seen when it happens: log, push, forge, and a request that changes the cluster."""
    command, _ = PREPARE["pause-trading"]
    done = site.run(*command, *where(site, command), *GIVEN)
    assert done.status == 9, done.errors
    asked = ("state=open", "sort=created", "direction=asc", "base=main", "per_page=100")
    method, _, query = " ".join(site.forge.requests).partition("?")
    assert ([method], query.split("&")) == (["GET /repos/acme/lab/pulls"], sorted(asked))
    branch = site.run("pause-trading", "--branch", *where(site, ["--branch"]), *GIVEN)
    written = {Path(path).name for line in branch.writes_outside(site.own) for path in line[1:]}
    used = {word for argv in branch.changing_git for word in argv}
    assert (branch.status, "audit.jsonl" in written) == (0, True), branch.errors
    assert {"push", "receive-pack", "commit-tree"} <= used
    address = json.loads(site.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(urllib.request.Request(f"{address}/api/v1/pods/x", data=b"{}", method="PATCH"))
    assert site.cluster.writes == ["PATCH /api/v1/pods/x"]
