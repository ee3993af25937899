"""Start the simulator as a process of its own and wait until it is ready: for the demo, tests and development.

Imports none of the simulator, so that a command which only may start one stays light.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torghut_core.errors import InputError, UpstreamError

KEY_ID = "PKSIMULATED"
SECRET_KEY = "simulated-secret"  # noqa: S105  the simulator's default, of no use anywhere else
_POLL_SECONDS = 0.02
_STOP_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class SimulatorProcess:
    """A running simulator: its process and its addresses."""

    process: subprocess.Popen[bytes]
    http: str
    ws: str
    timeout_seconds: float = 10.0

    def call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """GET a control path, as `/simulator/state`, or POST `body` to it; return the answer.

        Raises InputError with the simulator's words when it refuses, UpstreamError when it does not answer.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.http}{path}", data=data)  # noqa: S310  always this machine's http
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_seconds) as answer:  # noqa: S310
                value: dict[str, Any] = json.load(answer)
                return value
        except urllib.error.HTTPError as error:
            with error:
                raise InputError(f"simulator: {path}: {error.read().decode(errors='replace')[:300]}") from error
        except OSError as error:
            raise UpstreamError(f"simulator: {path}: no answer: {error}") from error

    def state(self) -> dict[str, Any]:
        """Return `/simulator/state`."""
        return self.call("/simulator/state")

    def switch_fault(self, name: str, on: bool = True, **parameters: Any) -> None:
        """Switch a fault on or off."""
        self.call("/simulator/faults", {"name": name, "on": on, **parameters})

    def stop(self) -> int:
        """End the process and return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def start(folder: Path, arguments: Sequence[str] = (), *, timeout_seconds: float = 30.0) -> SimulatorProcess:
    """Start a simulator on a free port of 127.0.0.1 and return once it answers; it ends with this process.

    `folder` gets its `simulator.json` (the announcement) and `simulator.log`. Raises InputError with its own words when
    it refuses its arguments, UpstreamError when it is not ready in time.
    """
    announcement, log = folder / "simulator.json", folder / "simulator.log"
    announcement.unlink(missing_ok=True)
    command = [sys.executable, "-m", "torghut_core.simulator", "--announce", str(announcement)]
    command += ["--with-parent", str(os.getpid())]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal is for this process, which ends it in its turn
        )
    deadline = time.monotonic() + timeout_seconds
    while not announcement.exists():
        if process.poll() is not None:
            words = log.read_text(errors="replace").strip().splitlines()
            raise InputError(words[-1] if words else f"simulator: ended with code {process.returncode}")
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise UpstreamError(f"simulator: not ready within {timeout_seconds:g} s", hint=f"see {log}")
        time.sleep(_POLL_SECONDS)
    known = json.loads(announcement.read_text())
    return SimulatorProcess(process=process, http=known["http"], ws=known["ws"])


@contextlib.contextmanager
def running(folder: Path, arguments: Sequence[str] = ()) -> Iterator[SimulatorProcess]:
    """Yield a simulator that runs while the block does."""
    simulator = start(folder, arguments)
    try:
        yield simulator
    finally:
        simulator.stop()
