"""Write `docs/strategies/walk.md`: the guide to a strategy of one's own, walked from its first command to its last.

    python scripts/write_walk.py

The commands are those of `docs/strategies/index.md`, run as they stand there, in a new folder and an environment that
holds an installation of this project and nothing else. It takes some five minutes; the times are this machine's.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import textwrap
import time
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs" / "strategies" / "index.md"
PAGE = ROOT / "docs" / "strategies" / "walk.md"
_SECTION = re.compile(r"^## From nothing to a paper order\n(.*?)^## ", re.M | re.S)
_STEP = re.compile(r"^\d+\. (.*?)\n\n    ```\n(.*?)^    ```\n", re.M | re.S)
_UP = "torghutctl up --dir simulated"
_LONGEST = 600.0
_TRADED = re.compile(r"\bfilled\b")


@dataclass(frozen=True)
class Step:
    """A step of the guide: what it says, its command, what it printed, and the seconds until it had."""

    text: str
    command: str
    shown: str = ""
    seconds: float = 0.0


def steps(simulator_port: int = 8099, page_port: int = 8090) -> list[Step]:
    """Return the steps of the guide, not yet walked; ports other than the guide's are put in their place."""
    section = _SECTION.search(GUIDE.read_text())
    assert section is not None, "the guide has no such section"
    guide = section[1].replace("8099", str(simulator_port))
    if page_port != 8090:
        guide = guide.replace(_UP, f"{_UP} --port {page_port}")
    return [
        Step(text=" ".join(text.split()), command=textwrap.dedent(command).strip())
        for text, command in _STEP.findall(guide)
    ]


def walk(environment: Path, folder: Path, *, simulator_port: int = 8099, page_port: int = 8090) -> list[Step]:
    """Walk the guide in `folder`, with an environment that Torghut is installed in. Raises AssertionError."""
    shell = {"PATH": f"{environment / 'bin'}:{os.environ['PATH']}", "HOME": str(folder), "NO_COLOR": "1"}
    shell["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    walked, system = [], None
    try:
        for step in steps(simulator_port, page_port):
            begun = time.monotonic()
            if _UP in step.command:
                system, shown = _begun(step.command, folder, shell)
            elif " top " in step.command:
                shown = _until_traded(step.command, folder, shell)
            else:
                shown = _run(step.command, folder, shell)
            walked.append(Step(step.text, step.command, shown, time.monotonic() - begun))
    finally:
        if system is not None:
            os.killpg(system.pid, signal.SIGINT)
            system.wait(60)
    return walked


def _run(command: str, folder: Path, shell: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=shell, capture_output=True, text=True, timeout=_LONGEST, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return (done.stdout + done.stderr).rstrip()


def _begun(command: str, folder: Path, shell: dict[str, str]) -> tuple[subprocess.Popen[bytes], str]:
    """Start what runs until it is stopped; return it, and what it says until the page is there."""
    log = folder / "up.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["bash", "-c", command], cwd=folder, env=shell, stdout=out, stderr=out, start_new_session=True
        )
    end = time.monotonic() + _LONGEST
    while "look at it: " not in (said := log.read_text()):
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError(f"{command}\n{said}")
        time.sleep(0.5)
    return process, said.rstrip()


def _until_traded(command: str, folder: Path, shell: dict[str, str]) -> str:
    """Return the first frame that shows an order which was filled."""
    end = time.monotonic() + _LONGEST
    while True:
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=shell, capture_output=True, text=True, timeout=60, check=False
        )
        if _TRADED.search(done.stdout):
            return done.stdout.rstrip()
        assert time.monotonic() < end, f"nothing was traded\n{done.stdout}{done.stderr}"
        time.sleep(1)


def page(walked: list[Step], environment: Path, folder: Path) -> str:
    """Return the page."""
    total = sum(step.seconds for step in walked)
    parts = [
        "# A strategy of your own, walked\n",
        "<!-- Written by scripts/write_walk.py from what the program prints. -->\n",
        f"The steps of [the guide](index.md), as they were typed, and what was seen: {total / 60:.1f} minutes on two cores,"
        " the time of reading and of thinking not counted.\n",
    ]
    for number, step in enumerate(walked, 1):
        shown = step.shown.replace(str(folder), "~").replace(str(environment), "~/.venv")
        parts.append(f"## {number}. {step.text}\n\n{step.seconds:.0f} s\n\n```text\n$ {step.command}\n{shown}\n```\n")
    return "\n".join(parts)


def main() -> None:
    """Walk in a fresh environment, and write the page."""
    with tempfile.TemporaryDirectory(prefix="torghut-walk-") as name:
        folder = Path(name)
        venv.create(folder / "venv", with_pip=True)
        pip = [folder / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt"]
        subprocess.run([*map(str, pip), f"{ROOT}[runtime,embedded]"], check=True)
        (folder / "home").mkdir()
        PAGE.write_text(page(walk(folder / "venv", folder / "home"), folder / "venv", folder / "home"))
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
