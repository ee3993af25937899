"""A person at a terminal, who answers what the program asks."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


def at_a_terminal(
    *arguments: str,
    typed: str,
    why: str = "",
    is_piped: bool = True,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str, str]:
    """Run a command whose input and messages are a terminal; return its exit code, output and what the terminal showed.

    What a person types is written once the question stands there: the reason where it is asked for, the phrase. The
    output is a pipe, or the terminal too.
    """
    person, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "torghutctl", *arguments],
        stdin=terminal,
        stderr=terminal,
        stdout=subprocess.PIPE if is_piped else terminal,
        env=None if environment is None else {"PYTHONPATH": str(_ROOT), **environment},
    )
    os.close(terminal)
    seen = b""
    try:
        with contextlib.suppress(OSError):  # EIO: the terminal's other side was closed
            while part := os.read(person, 4096):
                seen += part
                if why and b"why:" in seen:
                    os.write(person, f"{why}\n".encode())
                    why = ""
                if typed and b"type ACTUATE_TORGHUT to go on" in seen:
                    os.write(person, f"{typed}\n".encode())
                    typed = ""
        output, _ = process.communicate()
    finally:
        os.close(person)
    return process.returncode, (output or b"").decode(), seen.decode(errors="replace").replace("\r\n", "\n")
