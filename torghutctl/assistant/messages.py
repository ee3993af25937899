"""JSON-RPC 2.0 messages of the Model Context Protocol, one a line: a request in, at most one answer out. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torghutctl.assistant.tools import TOOLS, ArgumentError

VERSIONS = ("2025-06-18", "2025-03-26", "2024-11-05")
"""Protocol versions this server speaks, newest first."""
INSTRUCTIONS = (
    "Reads and plans only. Begin with health-report; it names the next procedure. Show the plan and its digest to a "
    "person: acting takes torghutctl itself, with a reason and a confirmation."
)
_PARSE, _REQUEST, _METHOD, _PARAMETERS = -32700, -32600, -32601, -32602
MAX_LINE = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a command gave back."""

    code: int
    output: str
    talk: str


Run = Callable[[list[str]], Ran]


class _ProtocolError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def answer(line: str, run: Run, version: str) -> str | None:
    """Return the answer to one message, None when it asks for none. `version` is the program's."""
    identity: Any = None
    try:
        message = _read(line)
        identity = message.get("id")
        if message.get("jsonrpc") != "2.0" or not isinstance(message.get("method"), str):
            if "method" not in message and ("result" in message or "error" in message):
                return None  # an answer to a request that was never made
            raise _ProtocolError(_REQUEST, "not a JSON-RPC 2.0 request")
        if "id" not in message:
            return None
        if isinstance(identity, bool) or not isinstance(identity, str | int):
            identity = None
            raise _ProtocolError(_REQUEST, "id: must be a text or a whole number")
        parameters = message.get("params", {})
        if not isinstance(parameters, dict):
            raise _ProtocolError(_PARAMETERS, "params: must be an object")
        result = _call(message["method"], parameters, run, version)
    except _ProtocolError as error:
        return _write({"id": identity, "error": {"code": error.code, "message": str(error)}})
    return _write({"id": identity, "result": result})


def _read(line: str) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        raise _ProtocolError(_REQUEST, f"a message has at most {MAX_LINE} characters")
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _ProtocolError(_PARSE, "not JSON") from error
    if not isinstance(message, dict):
        raise _ProtocolError(_REQUEST, "a message is one object; batches are not taken")
    return message


def _write(message: dict[str, Any]) -> str:
    return json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False, separators=(",", ":"))


def _call(method: str, parameters: Mapping[str, Any], run: Run, version: str) -> dict[str, Any]:
    if method == "initialize":
        asked = parameters.get("protocolVersion")
        return {
            "protocolVersion": asked if asked in VERSIONS else VERSIONS[0],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "torghutctl", "version": version},
            "instructions": INSTRUCTIONS,
        }
    if method == "ping":
        return {}
    if method == "tools/list":
        return {"tools": [tool.describe() for tool in TOOLS.values()]}
    if method == "tools/call":
        return _call_tool(parameters, run)
    raise _ProtocolError(_METHOD, f"{method}: is no method of this server")


def _call_tool(parameters: Mapping[str, Any], run: Run) -> dict[str, Any]:
    tool = TOOLS.get(str(parameters.get("name")))
    if tool is None:
        raise _ProtocolError(_PARAMETERS, f"name={parameters.get('name')!r}: is no tool of this server")
    arguments = parameters.get("arguments") or {}
    if not isinstance(arguments, dict):
        raise _ProtocolError(_PARAMETERS, "arguments: must be an object")
    try:
        command = tool.command_line(arguments)
    except ArgumentError as error:
        raise _ProtocolError(_PARAMETERS, str(error)) from error
    ran = run(command)
    try:
        report = json.loads(ran.output)
    except ValueError:
        report = None
    return {
        "content": [{"type": "text", "text": text} for text in (ran.output.strip(), ran.talk.strip()) if text],
        "structuredContent": {"exitCode": ran.code, "report": report, "messages": ran.talk},
        "isError": report is None,
    }
