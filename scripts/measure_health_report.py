"""Measure the health report against a local Kubernetes API server with known delays, in a process of its own.

    python scripts/measure_health_report.py [--slow SECONDS] [--base SECONDS]

Live: every source answers after --base seconds and one of them, each in turn, after --slow seconds. A source that needs
another one first (a pod's /readyz needs the pods) can begin only then, so the slowest single source is that wait plus
its own. Limit: 1.3 x the slowest source + 0.3 s, start-up apart. Offline: CPU of the whole command from a bundle,
start-up included; limit 0.4 s, start-up apart.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.fakes import torghut_cluster as base  # noqa: E402
from tests.fakes.kubernetes_api import Fault, serve  # noqa: E402
from torghut_core.rfc3339 import parse_ns  # noqa: E402
from torghutctl.snapshot import bundle  # noqa: E402
from torghutctl.snapshot.reader import Target, read  # noqa: E402

FOLLOWERS = ("/proxy/readyz", "/proxy/trading/", "/log", "/proxy/jobs/", "/ta/latest")
"""Paths that are known only once another source has answered."""


def run_server(folder: str, commands: Connection) -> None:
    """Serve the healthy system; each message sets which path is slow."""
    cluster = base.healthy()
    with serve(cluster, Path(folder)) as kubeconfig:
        commands.send(str(kubeconfig))
        while (message := commands.recv()) is not None:
            path, slow, usual = message
            cluster.faults = {"/": Fault(delay=usual)}
            if path is not None:
                cluster.faults[path] = Fault(delay=slow)
            if path is not None and path.endswith("/pods"):
                cluster.faults[f"{path}/"] = Fault(delay=usual)
            asked = sorted({request.split("?")[0] for request in cluster.requests})
            commands.send(asked)


def measure_live(commands: Connection, kubeconfig: Path, slow: float, usual: float) -> list[tuple[float, float, str]]:
    """Return (seconds, limit, path) with each path slow in turn."""
    target = Target(kubeconfig=kubeconfig)

    def timed() -> float:
        started = time.perf_counter()
        read(target, at_ns=parse_ns(base.NOW), process={})
        return time.perf_counter() - started

    commands.send((None, 0.0, 0.0))
    commands.recv()
    timed()  # start-up: the client's import
    commands.send((None, 0.0, 0.0))
    paths = commands.recv()
    found = []
    for path in paths:
        commands.send((path, slow, usual))
        commands.recv()
        slowest = slow + (usual if any(part in path for part in FOLLOWERS) else 0.0)
        found.append((timed(), 1.3 * slowest + 0.3, path))
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
        kubeconfig = Path(here.recv())
        rows = measure_live(here, kubeconfig, options.slow, options.base)
        here.send((None, 0.0, 0.0))
        here.recv()
        path = Path(folder) / "bundle.tar.gz"
        bundle.write(read(Target(kubeconfig=kubeconfig), at_ns=parse_ns(base.NOW), process={}), path)
        here.send(None)
        offline = [cpu_of(["-m", "torghutctl", "health-report", "--from-snapshot", str(path)]) for _ in range(7)]
        startup = [cpu_of(["-m", "torghutctl", "--help"]) for _ in range(7)]
        server.join(5)
    seconds, limit, path_of_worst = max(rows, key=lambda row: row[0] / row[1])
    print(f"live, one of {len(rows)} sources slow ({options.slow:g} s), the others {options.base:g} s:")
    print(
        f"  median {statistics.median(row[0] for row in rows):.3f} s, worst {seconds:.3f} s of {limit:.3f} s allowed ({path_of_worst})"
    )
    cpu, idle = statistics.median(offline), statistics.median(startup)
    print(
        f"offline: {cpu:.3f} s CPU with start-up, {max(0.0, cpu - idle):.3f} s without (--help alone: {idle:.3f} s); 0.4 s allowed"
    )
    return 0 if all(row[0] <= row[1] for row in rows) and cpu - idle <= 0.4 else 1


if __name__ == "__main__":
    sys.exit(main())
