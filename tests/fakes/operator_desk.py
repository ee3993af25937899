"""An operator's desk: a terminal of 80 columns, a cluster, a forge and a clock that stands; what is run is written down.

Everything but the cluster behind the API is the program as it is installed. What differs from run to run (the home, the
commits) is written down as `~` and `<commit>`.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes import torghut_cluster
from tests.fakes.gitops import GitOps, shipped, shipped_with_flink
from tests.fakes.kubernetes_api import Cluster, serve
from torghut_core.rfc3339 import parse_ns

ROOT = Path(__file__).resolve().parents[2]
COLUMNS, _ROWS = 80, 200
PHRASE = "ACTUATE_TORGHUT"
_SECONDS = 120.0
_AT_A_TIME = """import socket, sys, time
at = int(sys.argv.pop(1))
time.time_ns, socket.gethostname = lambda: at, lambda: "desk"
from torghutctl.cli import main
main()"""
"""The program on a machine of that name, whose wall clock stands."""
_FIRST_COMMIT = "2026-02-02T09:00:00+00:00"


@dataclass(kw_only=True)
class Desk:
    """What a scene is played on; `page` is what came of it, in markdown."""

    home: Path
    cluster: Cluster
    gitops: GitOps
    at: str
    environment: dict[str, str] = field(default_factory=dict)
    page: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Write a paragraph between commands."""
        self.page.append(text)

    def run(self, line: str, typed: str = "", most: int | None = None) -> str:
        """Run a line at the terminal, write it and its output down (`most` lines of it), and return the output.

        `typed` answers the command's first question.
        """
        said = self._on_terminal(line, typed)
        shown = said.splitlines()
        if most is not None and len(shown) > most:
            shown = [*shown[:most], "[...]"]
        self.page.append("```text\n" + self._masked("\n".join([f"$ {line}", *shown])).rstrip() + "\n```")
        return said

    def report(self) -> Mapping[str, str]:
        """Run the health report; return the next command and the runbook that it names."""
        return dict(re.findall(r"^(next|runbook): +(.*)$", self.run("torghutctl health-report -e lab"), re.M))

    def plan(self, line: str) -> str:
        """Run a command that plans; return the one that it says would act."""
        said = self.run(line)
        act = re.search(r"^act\n  (torghutctl .*)$", said, re.M)
        assert act is not None, said
        return act[1]

    def act(self, line: str) -> str:
        """Carry a plan out, typing the phrase; return the command that follows it."""
        said = self.run(line, PHRASE)
        follow = re.search(r"^follow it: (torghutctl .*)$", said, re.M)
        assert follow is not None, said
        return follow[1]

    def merge(self, number: int = 1) -> None:
        """Merge a pull request, and let Argo CD have applied what main has now."""
        record = self.gitops.git(
            "show", f"refs/torghut/pull-requests/{number}:pull-request.json", where=self.gitops.bare
        )
        self.gitops.at = self.at
        commit = self.gitops.merge(json.loads(record)["head"])
        self.cluster.get(torghut_cluster.ARGOCD, "torghut")["status"]["sync"]["revision"] = commit

    def _masked(self, text: str) -> str:
        text = text.replace(str(self.home), "~")
        text = re.sub(r"\b[0-9a-f]{40}\b", "<commit>", text)
        return re.sub(r"(merged as|Synced at|commit:|revision)( +)[0-9a-f]{7,12}\b", r"\1\2<commit>", text)

    def _on_terminal(self, line: str, typed: str) -> str:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, COLUMNS, 0, 0))
        environment = {
            **{name: value for name, value in os.environ.items() if name in ("PATH", "LANG")},
            "HOME": str(self.home),
            "LOGNAME": "ada",
            "TERM": "xterm",
            "NO_COLOR": "1",
            "PYTHONPATH": str(ROOT),
            **self.environment,
        }
        words = [sys.executable, "-c", _AT_A_TIME, str(parse_ns(self.at)), *shlex.split(line)[1:]]
        process = subprocess.Popen(
            words, stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=self.home, start_new_session=True
        )
        os.close(slave)
        shown = bytearray()
        try:
            while select.select([master], [], [], _SECONDS)[0]:
                try:
                    data = os.read(master, 65536)
                except OSError:  # the terminal's other side was closed
                    break
                shown += data
                if typed and shown.endswith(b": "):
                    os.write(master, typed.encode() + b"\n")
                    typed = ""
            else:
                process.kill()
                raise AssertionError(f"{line}: says nothing for {_SECONDS:.0f} s after {shown.decode()}")
        finally:
            process.wait(_SECONDS)
            os.close(master)
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode().replace("\r\n", "\n"))
        return "\n".join(part.split("\r")[-1].rstrip() for part in text.split("\n"))


@contextmanager
def desk(at: str = torghut_cluster.NOW, *, is_shipped: bool = False) -> Iterator[Desk]:
    """Return a desk in front of the healthy system; its folder's path has the same length every time.

    The TA runs on Flink and the Knative Service trades, or it `is_shipped`: one process computes, a scheduler trades.
    """
    with tempfile.TemporaryDirectory(prefix="d-", dir="/tmp") as name:
        home = Path(name)
        cluster = torghut_cluster.healthy(at)
        gitops = (shipped if is_shipped else shipped_with_flink)(home, _FIRST_COMMIT)
        file = "scheduler-deployment.yaml" if is_shipped else "knative-service.yaml"
        gitops.replace(file, "torghut/torghut:0.1.0", torghut_cluster.IMAGE, "release")
        with serve(cluster, home) as kubeconfig:
            settings = home / ".config" / "torghut"
            settings.mkdir(parents=True)
            entry = f"{{kubeconfig: {kubeconfig}, repo: {gitops.bare}}}"
            (settings / "environments.yaml").write_text(f"environments:\n  lab: {entry}\n")
            yield Desk(home=home, cluster=cluster, gitops=gitops, at=at)
