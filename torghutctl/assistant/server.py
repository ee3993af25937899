"""The Model Context Protocol server on the official `mcp` package: it reads and plans, and offers nothing that acts.

Each call runs in a process of its own beside the protocol's loop, so that a slow upstream holds up neither `ping` nor
another call; a call that is cancelled takes its process with it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torghutctl.assistant.tools import TOOLS, ArgumentError
from torghutctl.errors import ExitCode

INSTRUCTIONS = (
    "Reads and plans only. Begin with health-report; it names the next procedure. Show the plan and its digest to a "
    "person: acting takes torghutctl itself, with a reason and a confirmation."
)
CALL_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a command gave back."""

    code: int
    output: str
    talk: str


Run = Callable[[Sequence[str]], Awaitable[Ran]]


def make_server(run: Run, version: str) -> Any:
    """Return the protocol's server over `run`; `version` is the program's."""
    import mcp_types as types
    from mcp.server import Server
    from mcp.shared.exceptions import MCPError

    async def list_tools(_context: Any, _parameters: Any) -> Any:
        return types.ListToolsResult(tools=[types.Tool.model_validate(tool.describe()) for tool in TOOLS.values()])

    async def call_tool(_context: Any, parameters: Any) -> Any:
        tool = TOOLS.get(parameters.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"name={parameters.name!r}: is no tool of this server")
        try:
            line = tool.command_line(parameters.arguments or {})
        except ArgumentError as error:
            raise MCPError(types.INVALID_PARAMS, str(error)) from error
        ran = await run(line)
        report = _json(ran.output)
        texts = [text for text in (ran.output.strip(), ran.talk.strip()) if text]
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=text) for text in texts],
            structured_content={"exitCode": ran.code, "report": report, "messages": ran.talk},
            is_error=report is None if tool.is_report else ran.code != 0,
        )

    return Server(
        "torghutctl", version=version, instructions=INSTRUCTIONS, on_list_tools=list_tools, on_call_tool=call_tool
    )


async def serve(version: str, run: Run | None = None) -> None:
    """Serve one client over standard input and output until it goes away."""
    from mcp.server.stdio import stdio_server

    server = make_server(run or run_command, version)
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


async def run_command(arguments: Sequence[str]) -> Ran:
    """Run torghutctl with these arguments in a process of its own, for at most CALL_SECONDS."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "torghutctl",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, talk = await asyncio.wait_for(process.communicate(), CALL_SECONDS)
    except TimeoutError:
        return Ran(code=ExitCode.UNVERIFIED, output="", talk=f"no answer within {CALL_SECONDS:g} s")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ran(
        code=process.returncode or 0,
        output=output.decode("utf-8", "replace"),
        talk=talk.decode("utf-8", "replace"),
    )


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
