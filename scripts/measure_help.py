"""Compare the CPU time of `torghutctl --help` with that of an empty typer application's, in one run.

.venv/bin/python scripts/measure_help.py
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

_EMPTY = "import typer\napp = typer.Typer()\n@app.command()\ndef main() -> None: ...\napp()\n"
_RUNS = 15
_LIMIT = 1.25


def _cpu_seconds(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(_EMPTY)
        ours, theirs = [sys.executable, "-m", "torghutctl", "--help"], [sys.executable, str(empty), "--help"]
        for command in (ours, theirs):
            _cpu_seconds(command)
        pairs = [(_cpu_seconds(ours), _cpu_seconds(theirs)) for _ in range(_RUNS)]
    ratio = statistics.median(a / b for a, b in pairs)
    print(
        f"torghutctl --help {statistics.median(a for a, _ in pairs) * 1000:.0f} ms CPU,"
        f" an empty typer app {statistics.median(b for _, b in pairs) * 1000:.0f} ms, ratio {ratio:.2f} (limit {_LIMIT})"
    )
    return int(ratio > _LIMIT)


if __name__ == "__main__":
    sys.exit(main())
