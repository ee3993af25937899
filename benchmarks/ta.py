"""The TA job beside what else one could pick: one run, one core, the input in memory, a process per case."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.market import write_trades

_ROOT = Path(__file__).resolve().parents[1]
_PEERS = {".venv-bench": "msgspec orjson polars bytewax nautilus_trader", ".venv-flink": "msgspec apache-flink"}
"""What is installed where; Flink's own pins do not suit the others."""
_CASES = Path(__file__).with_name("ta_cases.py")
ROWS = {
    # case: (name, what it does, the environment it runs in, share of the events it gets)
    "floor": ("msgspec, four fields", "decode alone: the floor", None, 1.0),
    "torghut": ("Torghut", "whole job, batches of 32,768", None, 1.0),
    "torghut_small": ("Torghut", "whole job, batches of 4,096", None, 1.0),
    "plain_msgspec": ("Python loop + msgspec", "whole job", None, 0.25),
    "plain_orjson": ("Python loop + orjson", "whole job", ".venv-bench", 0.25),
    "plain_json": ("Python loop + json", "whole job", None, 0.25),
    "talib": ("Python loop + TA-Lib stream", "bars, 5 indicators", None, 0.05),
    "nautilus": ("Python loop + nautilus_trader", "bars, 5 indicators", ".venv-bench", 0.25),
    "polars": ("polars", "whole job, one batch, no lateness", ".venv-bench", 1.0),
    "bytewax": ("Bytewax", "whole job", ".venv-bench", 0.1),
    "pyflink": ("PyFlink SQL", "bars, Bollinger, one VWAP; files in and out", ".venv-flink", 1.0),
}


def _install(environment: str) -> str:
    return f"python3 -m venv {environment} && {environment}/bin/pip install {_PEERS[environment]}"


def run(events: int, repeats: int) -> list[str]:
    """Measure every case and return the lines of a markdown table."""
    lines = [
        "| tool | what it does | events | bars | M events/s | of the floor | peak MB |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    floor_rate = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for case, (name, does, environment, share) in ROWS.items():
            count = int(events * share)
            path = Path(folder) / f"{count}.ndjson"
            if not path.exists():
                write_trades(path, count)
            python = str(_ROOT / environment / "bin" / "python") if environment else sys.executable
            if environment and not Path(python).exists():
                lines.append(f"| {name} | skipped: `{_install(environment)}` | | | | | |")
                continue
            print(f"benchmarks.ta: {case}", file=sys.stderr, flush=True)
            found = _measure(python, case, path, repeats)
            if found is None:
                lines.append(f"| {name} | skipped: not installed or does not run here | | | | | |")
                continue
            rate = found["events"] / (found["user"] + found["system"]) / 1e6
            floor_rate = floor_rate or rate
            lines.append(
                f"| {name} | {does} | {found['events']:,} | {found['bars']:,} | {rate:.2f} |"
                f" {rate / floor_rate:.2f} | {found['peak_mb']:,} |"
            )
    return lines


def _measure(python: str, case: str, path: Path, repeats: int) -> dict[str, Any] | None:
    done = subprocess.run(
        [python, str(_CASES), case, str(path), str(repeats)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        print(done.stderr.strip().splitlines()[-1:], file=sys.stderr)
        return None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
