"""`torghutctl mcp`."""

from __future__ import annotations

import asyncio
from importlib.metadata import version


def command() -> None:
    """Serve the Model Context Protocol over standard input and output: an assistant reads and plans, and never acts.

    Its tools are health-report, status, explain, runbook, snapshot and one plan per procedure. Each runs the command of
    that name in a process of its own and hands back its JSON, its messages and its exit code; a slow one holds up no
    other. There is no tool that acts: a person, or an AgentRun, does that with torghutctl itself.

    Standard input's end ends it. An assistant's configuration names the program and one argument:

    \b
    {"mcpServers": {"torghut": {"command": "torghutctl", "args": ["mcp"]}}}
    """
    from torghutctl.assistant.server import serve

    try:
        asyncio.run(serve(version("torghut")))
    except KeyboardInterrupt:
        return
