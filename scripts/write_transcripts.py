"""Write `docs/transcripts.md`: incidents driven to their end at a terminal of 80 columns, by what each command printed.

    python scripts/write_transcripts.py

A fake cluster, a repository with the project's own manifests and a local forge; everything else is the program as it is
installed. A test makes the page anew and compares. The clock is given (`--at`), so that the same page comes out.
"""

from __future__ import annotations

import fcntl
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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.fakes import incidents, incidents_compound, incidents_single, torghut_cluster  # noqa: E402
from tests.fakes.gitops import GitOps, shipped_with_flink  # noqa: E402
from tests.fakes.kubernetes_api import serve  # noqa: E402

assert incidents_compound and incidents_single, "importing them registers their cases"

PAGE = ROOT / "docs" / "transcripts.md"
COLUMNS, _ROWS = 80, 200
_PHRASE = "ACTUATE_TORGHUT"
_SECONDS = 120.0
_HEAD = """# Transcripts

<!-- Written by scripts/write_transcripts.py from what the program prints. -->

Incidents on a test cluster, driven at a terminal of 80 columns: each line after a `$` was printed by the command before
it, but for the first, `--at` (the clock, given so that this page can be made again) and the phrase that is typed.
"""


@dataclass(frozen=True)
class Scene:
    """One incident, and what is done about it."""

    title: str
    text: str
    incident: str
    acts: bool = True


SCENES = (
    Scene("A second client took the connection", "The forwarder is refused with 406.", "down_forwarder_406"),
    Scene("The disk is nearly full", "ClickHouse is short of space: stop writing first.", "down_clickhouse_disk_critical"),
    Scene("Two processes trade", "An old revision has not ended: pause trading.", "down_trading_two_writers"),
    Scene("The keys are refused", "No procedure mends this: the runbook says what a person does.", "down_forwarder_auth",
          acts=False),
)  # fmt: skip


def page() -> str:
    """Return the page."""
    parts = [_HEAD]
    for scene in SCENES:
        with tempfile.TemporaryDirectory() as folder:
            lines = "\n".join(_scene(scene, Path(folder)))
        parts.append(f"## {scene.title}\n\n{scene.text}\n\n```text\n{lines}\n```\n")
    return "\n".join(parts)


def _scene(scene: Scene, folder: Path) -> Iterator[str]:
    case = next(case for case in incidents.CASES if case.name == scene.incident)
    cluster = torghut_cluster.healthy(case.at)
    case.bend(cluster)
    gitops: GitOps = shipped_with_flink(folder / "gitops")
    with serve(cluster, folder) as kubeconfig:
        home = folder / "home"
        settings = home / ".config" / "torghut"
        settings.mkdir(parents=True)
        entry = f"{{kubeconfig: {kubeconfig}, repo: {gitops.bare}}}"
        (settings / "environments.yaml").write_text(f"environments:\n  lab: {entry}\n")

        def shown(text: str) -> str:
            for real, said in ((str(gitops.bare), "~/forge.git"), (str(kubeconfig), "~/.kube/lab"), (str(home), "~")):
                text = text.replace(real, said)
            text = re.sub(r"(agentruns/torghut-[a-z-]+)-\d{8}-\d{4}-", r"\1-<time>-", text)
            return re.sub(r"\b[0-9a-f]{40}\b", "<commit>", text).rstrip()

        first = f"torghutctl health-report -e lab --at {case.at}"
        report = _run(first, home, "")
        yield f"$ {first}\n{shown(report)}"
        said = dict(re.findall(r"^(next|runbook): +(.*)$", report, re.M))
        if not scene.acts:
            line = f"torghutctl runbook {said['runbook']}"
            yield "\n".join([f"\n$ {line}", *shown(_run(line, home, "")).splitlines()[:12], "[...]"])
            return
        line = f"{said['next']} --at {case.at}"
        plan = _run(line, home, "")
        yield f"\n$ {shown(line)}\n{shown(plan)}"
        act = re.search(r"^act\n  (torghutctl .*)$", plan, re.M)
        assert act is not None, plan
        yield f"\n$ {shown(act[1])}\n{shown(_run(act[1], home, _PHRASE))}"


def _run(line: str, home: Path, typed: str) -> str:
    """Return what a terminal of 80 columns shows of a command; `typed` answers its first question."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, COLUMNS, 0, 0))
    environment = {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "LANG")},
        "HOME": str(home),
        "TERM": "xterm",
        "NO_COLOR": "1",
        "PYTHONPATH": str(ROOT),
    }
    words = [sys.executable, "-m", "torghutctl", *shlex.split(line)[1:]]
    process = subprocess.Popen(
        words, stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=home, start_new_session=True
    )
    os.close(slave)
    shown = bytearray()
    waits = bool(typed)
    try:
        while select.select([master], [], [], _SECONDS)[0]:
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            if not data:
                break
            shown += data
            if waits and shown.endswith(b": "):
                waits = False
                os.write(master, typed.encode() + b"\n")
    finally:
        process.kill() if process.poll() is None and not shown else None
        process.wait(_SECONDS)
        os.close(master)
    text = shown.decode().replace("\r\n", "\n")
    return "\n".join(part.split("\r")[-1].rstrip() for part in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).split("\n"))


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE.relative_to(ROOT)}")
