"""`up` as an operator meets it: stopped while it starts, started again, refused for what cannot work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.engine, pytest.mark.timeout(120)]


def _up(folder: Path, *arguments: str, **given: str) -> subprocess.Popen[str]:
    """`up` with an account nobody knows at a broker that does not answer, and next to no environment."""
    nowhere = dict.fromkeys(("APCA_API_BASE_URL", "ALPACA_BASE_URL"), "http://127.0.0.1:9")
    environment = {"PATH": os.environ["PATH"], "APCA_API_KEY_ID": "PKTEST", "APCA_API_SECRET_KEY": "test-secret"}
    return subprocess.Popen(
        [sys.executable, "-m", "torghutctl", "up", "--dir", str(folder), "--port", "0", *arguments],
        cwd=ROOT,
        env={**environment, **nowhere, "ALPACA_STREAM_URL": "ws://127.0.0.1:9", **given},
        stderr=subprocess.PIPE,
        text=True,
    )


def _read_until(process: subprocess.Popen[str], words: str) -> str:
    assert process.stderr is not None
    said = ""
    while words not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


@pytest.mark.parametrize("moment", ["opening engines", "visuals listens", "trading listens", "look at it"])
def test_up_when_told_to_stop_at_any_moment_then_it_stops_cleanly_and_starts_again(
    engine_folder: Path, moment: str
) -> None:
    """Without HOME, in an odd time zone, a folder with a space whose parent is new."""
    folder = engine_folder / "new" / "a folder"
    with _up(folder, TZ="Mars/Olympus", LC_ALL="C") as process:
        _read_until(process, moment)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate()
    assert (process.returncode, said.splitlines()[-1]) == (0, "stopped; the next start goes on from here")
    assert not (folder / "endpoints.json").exists()
    assert not (folder / "engines" / "postgres" / "data" / "postmaster.pid").exists()
    with _up(folder) as process:
        _read_until(process, "look at it")
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 0
