"""The whole system on one machine: the demo itself, and a replayed slice whose bars equal a query over its file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.timeout(400)]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {"NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )


@pytest.mark.e2e
def test_demo_when_run_then_every_check_passes(engine_folder: Path) -> None:
    """Services, rows, signals, decisions, orders, the 406 and its report, the pull request."""
    done = _run("-m", "torghutctl", "demo", "--dir", str(engine_folder / "demo"))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "FAILED" not in done.stdout
    for words in (
        "alpaca_406_second_connection",
        "restart-ws",
        "kubectl.kubernetes.io/restartedAt",
        '-              value: "true"',
    ):
        assert words in done.stdout
    assert not (engine_folder / "demo" / "endpoints.json").exists()


@pytest.mark.e2e
def test_replay_when_a_slice_goes_through_everything_then_bars_equal_a_query_over_the_file(engine_folder: Path) -> None:
    """To the last digit, although the connection was cut on the way."""
    recording = engine_folder / "slice.ndjson"
    dumped = _run(
        *("-m", "torghut_core.simulator", "--dump", str(recording), "--minutes", "40", "--symbols", "AAPL,TSLA"),
        *("--start", "2026-01-05T14:15:00Z"),
    )
    assert dumped.returncode == 0, dumped.stderr
    done = _run(
        *("-m", "torghutctl", "demo", "--dir", str(engine_folder / "demo"), "--replay", str(recording), "--speed", "60")
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    compared = _run(
        "scripts/compare_microbars.py", str(recording), str(engine_folder / "demo" / "engines" / "clickhouse")
    )
    assert compared.returncode == 0, compared.stdout + compared.stderr
    assert "differences 0" in compared.stdout
