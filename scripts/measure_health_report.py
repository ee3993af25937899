"""Measure the health report against a local Kubernetes API server with known delays, in a process of its own.

    python scripts/measure_health_report.py [--slow SECONDS] [--base SECONDS]

Live, start-up apart, for several patterns of delay: one source slow and the others quick, each source in turn; every
source equally slow; every source another delay, drawn with a fixed seed; the TA API hanging with a large universe.
Two limits are printed for each:

  issue   1.3 x the slowest single source + 0.3 s
  chain   1.3 x the slowest chain + 0.3 s, a chain being a source and the one that names it (a pod's /readyz cannot be
          asked before the list of pods is there), their delays added

They are the same unless both links of a chain are slow. Offline: CPU of the whole command from a bundle, start-up apart;
limit 0.4 s. Exit code 1 when the chain's limit or the one of CPU is passed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.fakes import torghut_cluster as base  # noqa: E402
from tests.fakes.kubernetes_api import Fault, serve  # noqa: E402
from torghut_core.rfc3339 import parse_ns  # noqa: E402
from torghutctl.snapshot import bundle  # noqa: E402
from torghutctl.snapshot.model import Snapshot  # noqa: E402
from torghutctl.snapshot.reader import read  # noqa: E402
from torghutctl.snapshot.target import Target  # noqa: E402

PODS = f"/{base.PODS}"
JOB = f"/{base.FLINK}/torghut-ta"
UNIVERSE = "/api/v1/namespaces/torghut/services/torghut-visuals:8090/proxy/api/torghut/symbols"
NAMED_BY = {"/proxy/readyz": PODS, "/proxy/trading/": PODS, "/log": PODS, "/proxy/jobs/": JOB, "/ta/latest": UNIVERSE}
"""Part of a path that is known only once another source has answered, and that source."""
HUNG_DEADLINE = 2.0
MANY_SYMBOLS = 300


@dataclass(frozen=True, kw_only=True)
class Row:
    """One reading: what it took, what the issue allows, what its slowest chain allows."""

    seconds: float
    issue: float
    chain: float
    path: str = ""


def run_server(folder: str, commands: Connection) -> None:
    """Serve the healthy system; a message sets the delay of every path and the size of the universe."""
    cluster = base.healthy()
    with serve(cluster, Path(folder)) as kubeconfig:
        commands.send(str(kubeconfig))
        while (message := commands.recv()) is not None:
            delays, usual, symbols = message
            cluster.faults = {"/": Fault(delay=usual)} | {path: Fault(delay=delay) for path, delay in delays.items()}
            names = [f"S{index:03d}" for index in range(symbols)] or ["AAPL", "MSFT", "NVDA"]
            cluster.services[base.SYMBOLS] = (200, {"symbols": names})
            fresh = base.ago(3)
            base.set_latest(cluster, fresh, fresh, *names)
            commands.send(sorted({request.split("?")[0] for request in cluster.requests}))


class System:
    """The server in its process, and a reader of it here."""

    def __init__(self, commands: Connection, kubeconfig: Path) -> None:
        self._commands, self._target = commands, Target(kubeconfig=kubeconfig)

    def set(self, delays: dict[str, float] | None = None, *, usual: float = 0.0, symbols: int = 0) -> list[str]:
        """Set the delays by path, and of every other path; return the paths that were asked so far."""
        whole = dict(delays or {})
        for path in whole.copy():
            whole.setdefault(f"{path}/", usual)  # a list's delay is not that of what lies below it
        self._commands.send((whole, usual, symbols))
        return list(self._commands.recv())

    def read(self, deadline_s: float = 8.0) -> Snapshot:
        """Read the system."""
        return read(self._target, at_ns=parse_ns(base.NOW), process={}, deadline_s=deadline_s)

    def timed(self, deadline_s: float = 8.0) -> float:
        """Return the seconds that a reading takes."""
        started = time.perf_counter()
        self.read(deadline_s)
        return time.perf_counter() - started

    def measure(self, paths: list[str], delays: dict[str, float], usual: float, label: str = "") -> Row:
        """Return the row of one pattern of delays."""
        self.set(delays, usual=usual)
        single = {path: delays.get(path, usual) for path in paths}
        chains = {path: delay + single.get(named_by(path), 0.0) for path, delay in single.items()}
        return Row(
            seconds=self.timed(),
            issue=1.3 * max(single.values()) + 0.3,
            chain=1.3 * max(chains.values()) + 0.3,
            path=label,
        )


def named_by(path: str) -> str:
    """Return the path of the source that names this one; nothing for a source that nothing names."""
    return next((source for part, source in NAMED_BY.items() if part in path), "")


def measure_live(system: System, slow: float, usual: float) -> dict[str, list[Row]]:
    """Return rows by pattern."""
    system.set()
    system.timed()  # start-up: the client's import
    paths = system.set()
    drawn = random.Random(7)
    found = {
        f"one of {len(paths)} sources {slow:g} s, the others {usual:g} s, each in turn": [
            system.measure(paths, {path: slow}, usual, path) for path in paths
        ],
        "every source the same": [system.measure(paths, {}, delay, f"{delay:g} s each") for delay in (0.1, 0.5, slow)],
        f"every source between 0 and {slow:g} s": [
            system.measure(paths, {path: drawn.uniform(0, slow) for path in paths}, 0.0, f"draw {number}")
            for number in range(5)
        ],
    }
    latest = UNIVERSE.replace("symbols", "ta/latest")
    system.set({latest: 3600.0}, symbols=MANY_SYMBOLS)
    limit = 1.3 * HUNG_DEADLINE + 0.3
    found[f"ta/latest of {MANY_SYMBOLS} symbols hangs, deadline {HUNG_DEADLINE:g} s"] = [
        Row(seconds=system.timed(HUNG_DEADLINE), issue=limit, chain=limit)
    ]
    return found


def cpu_of(arguments: list[str]) -> float:
    """Return user and system seconds of a command."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    before = os.times()
    subprocess.run([sys.executable, *arguments], check=False, env=environment, capture_output=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> int:
    """Print the figures; return 1 when a limit is passed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slow", type=float, default=1.0, help="seconds that the slow source takes")
    parser.add_argument("--base", type=float, default=0.05, help="seconds that every other source takes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        here, there = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(target=run_server, args=(folder, there), daemon=True)
        server.start()
        system = System(here, Path(here.recv()))
        patterns = measure_live(system, options.slow, options.base)
        system.set()
        path = Path(folder) / "bundle.tar.gz"
        bundle.write(system.read(), path, "PATH")
        here.send(None)
        offline = [cpu_of(["-m", "torghutctl", "health-report", "--from-snapshot", str(path)]) for _ in range(7)]
        startup = [cpu_of(["-m", "torghutctl", "--help"]) for _ in range(7)]
        server.terminate()  # it may still hold requests that hang
    for pattern, rows in patterns.items():
        print(f"live, {pattern}:")
        shown = rows if len(rows) < 8 else [max(rows, key=lambda row: row.seconds / row.issue)]
        if shown is not rows:
            print(f"  median {statistics.median(row.seconds for row in rows):.3f} s; the worst of its limit:")
        for row in shown:
            verdict = (
                "kept" if row.seconds <= row.issue else "kept for the chain" if row.seconds <= row.chain else "PASSED"
            )
            print(
                f"  {row.seconds:.3f} s found, {row.issue:.3f} s allowed by the issue, {row.chain:.3f} s by the chain: {verdict}"
                + (f"  ({row.path})" if row.path else "")
            )
    cpu, idle = statistics.median(offline), statistics.median(startup)
    print(
        f"offline: {cpu:.3f} s CPU with start-up, {max(0.0, cpu - idle):.3f} s without (--help alone: {idle:.3f} s); 0.4 s allowed"
    )
    is_kept = all(row.seconds <= row.chain for rows in patterns.values() for row in rows)
    return 0 if is_kept and cpu - idle <= 0.4 else 1


if __name__ == "__main__":
    sys.exit(main())
