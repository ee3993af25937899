"""`torghutctl mcp`."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

from torghutctl.assistant.messages import Ran, answer
from torghutctl.errors import ExitCode

_CALL_SECONDS = 300


def command() -> None:
    """Serve the Model Context Protocol over standard input and output: an assistant reads and plans, and never acts.

    Its tools are health-report, status, explain and one plan per procedure. Each runs the command of that name in a
    process of its own and hands back its JSON, its messages and its exit code. There is no tool that acts: a person, or
    an AgentRun, does that with torghutctl itself.

    Standard input's end ends it. An assistant's configuration names the program and one argument:

    \b
    {"mcpServers": {"torghut": {"command": "torghutctl", "args": ["mcp"]}}}
    """
    program = version("torghut")
    try:
        for raw in sys.stdin.buffer:
            line = raw.decode("utf-8", "replace")
            if not line.strip():
                continue
            said = answer(line, _run, program)
            if said is not None:
                sys.stdout.write(said + "\n")
                sys.stdout.flush()
    except KeyboardInterrupt:
        return


def _run(arguments: list[str]) -> Ran:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "torghutctl", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_CALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Ran(code=ExitCode.UNVERIFIED, output="", talk=f"no answer within {_CALL_SECONDS} s")
    return Ran(code=done.returncode, output=done.stdout, talk=done.stderr)
