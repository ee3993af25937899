"""The Model Context Protocol server as the official client talks to it: reads and plans, and never acts."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError, StdioServerParameters, stdio_client

from torghutctl.assistant.server import Ran, make_server
from torghutctl.assistant.tools import TOOLS
from torghutctl.cli import COMMANDS, LazyCommand
from torghutctl.procedures.catalogue import SPECS

ACTING = ("--branch", "--pr", "--act", "--confirm", "--reason", "--wait", "--sync", "--record")
ROOT = Path(__file__).resolve().parents[3]
INVALID_PARAMETERS = -32602


async def _nothing(_: Sequence[str]) -> Ran:
    raise AssertionError("nothing may run")


@asynccontextmanager
async def connected(run: Any = _nothing) -> AsyncIterator[Client]:
    """A client of a server in this process."""
    async with Client(make_server(run, "1.0")) as client:
        yield client


def answers(ran: Ran) -> Callable[[Sequence[str]], Any]:
    async def run(_: Sequence[str]) -> Ran:
        return ran

    return run


async def test_tools_when_listed_then_there_is_one_plan_per_procedure_and_nothing_that_acts() -> None:
    """Names, schemas and hints; no argument stands for an effect."""
    async with connected() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    reading = {"health-report", "status", "explain", "runbook", "snapshot"}
    assert set(tools) == {*reading, *(f"plan-{name}" for name in SPECS)}
    for tool in tools.values():
        assert tool.annotations is not None
        assert (tool.annotations.read_only_hint, tool.input_schema["additionalProperties"]) == (True, False)
    options = {option for tool in TOOLS.values() for option, _ in (*tool.options.values(), *tool.flags.values())}
    assert options.isdisjoint(ACTING)


@pytest.mark.parametrize("value", ["--pr", "x --pr", "-b", "a\nb"])
def test_call_when_a_value_looks_like_an_option_then_it_stays_a_value(value: str) -> None:
    """One word with `=` per argument."""
    line = TOOLS["plan-pause-trading"].command_line({"repo": value, "cancelOrders": True})
    assert line == ["pause-trading", f"--repo={value}", "--cancel-orders", "--output=json"]


REFUSED = {
    "an effect": ("plan-pause-trading", {"pr": True}, "has no such argument"),
    "a confirmation": ("plan-pause-trading", {"confirm": "ACTUATE_TORGHUT"}, "has no such argument"),
    "a number": ("plan-pause-trading", {"repo": 1}, "must be a text"),
    "empty": ("plan-pause-trading", {"repo": ""}, "must be a text"),
    "a text for a flag": ("plan-resume-ta", {"restart": "yes"}, "must be true or false"),
    "a step that is none": ("plan-replay-ta", {"step": "start --act"}, "must be one of"),
    "no step": ("plan-replay-ta", {"id": "x"}, "must be given"),
    "no such tool": ("pause-trading", {}, "is no tool"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_call_when_it_asks_for_more_than_a_plan_then_nothing_runs(case: str) -> None:
    """Invalid parameters, by name and rule."""
    name, arguments, why = REFUSED[case]
    async with connected() as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool(name, arguments)
    assert (caught.value.code, why in caught.value.message) == (INVALID_PARAMETERS, True)


def test_call_when_a_word_looks_like_an_option_then_it_stays_a_word() -> None:
    """Behind `--` nothing is an option."""
    assert TOOLS["runbook"].command_line({"name": "--help"}) == ["runbook", "--output=json", "--", "--help"]
    assert TOOLS["runbook"].command_line({}) == ["runbook", "--output=json"]
    assert TOOLS["snapshot"].command_line({"path": "x.tar.gz"}) == ["snapshot", "--", "x.tar.gz"]


async def test_call_when_the_command_fails_then_its_code_and_words_come_back() -> None:
    """A report of any exit code is a result; no report is an error."""
    async with connected(answers(Ran(code=6, output='{"digest": "d"}', talk="error: refused"))) as client:
        refused = await client.call_tool("plan-resume-ta", {})
    async with connected(answers(Ran(code=2, output="", talk="error: --repo: must be given"))) as client:
        broken = await client.call_tool("plan-resume-ta", {})
    expected = {"exitCode": 6, "report": {"digest": "d"}, "messages": "error: refused"}
    assert (refused.is_error, refused.structured_content) == (False, expected)
    assert (broken.is_error, [item.text for item in broken.content]) == (True, ["error: --repo: must be given"])


async def test_ping_when_a_call_hangs_then_it_is_answered_all_the_same() -> None:
    """A slow upstream holds up neither the protocol nor another call."""
    released = asyncio.Event()

    async def run(line: Sequence[str]) -> Ran:
        if line[0] == "health-report":
            await released.wait()
        return Ran(code=0, output="{}", talk="")

    async with connected(run) as client:
        slow = asyncio.create_task(client.call_tool("health-report", {}))
        await asyncio.sleep(0)
        other = await client.call_tool("status", {})
        assert (other.is_error, slow.done()) == (False, False)
        released.set()
        assert (await slow).is_error is False


@pytest.mark.slow
async def test_server_when_driven_by_the_official_client_then_plans_come_back_and_nothing_is_written(
    gitops: Any, tmp_path: Path
) -> None:
    """As a process over its streams; the repository and the home stay as they were."""
    before = sorted(str(path) for path in gitops.bare.rglob("*"))
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    server = StdioServerParameters(command=sys.executable, args=["-m", "torghutctl", "mcp"], env=environment)
    async with Client(stdio_client(server)) as client:
        planned = await client.call_tool("plan-pause-trading", {"repo": str(gitops.bare)})
        listed = await client.call_tool("runbook", {})
        book = await client.call_tool("runbook", {"name": "runbooks/kafka-recovery.md"})
    assert planned.structured_content is not None
    assert listed.structured_content is not None
    assert book.structured_content is not None
    plan = planned.structured_content["report"]
    assert (planned.structured_content["exitCode"], plan["schemaVersion"], plan["result"]) == (
        0,
        "torghut.plan/v1",
        None,
    )
    assert "kafka-recovery" in {item["name"] for item in listed.structured_content["report"]["runbooks"]}
    assert book.structured_content["report"]["text"] == (ROOT / "runbooks" / "kafka-recovery.md").read_text()
    assert sorted(str(path) for path in gitops.bare.rglob("*")) == before
    assert not (tmp_path / "home" / ".local").exists()


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_tool_when_it_offers_an_argument_then_its_command_takes_that_option(name: str) -> None:
    """An assistant can hand on every option of a next command, and none that the program would not know."""
    tool = TOOLS[name]
    module, summary = COMMANDS[tool.command]
    command = LazyCommand(tool.command, module, summary).load()
    taken = [command.commands[step] for step in tool.steps] or [command]
    known = {word for item in taken for parameter in item.params for word in parameter.opts}
    assert {option for option, _ in (*tool.options.values(), *tool.flags.values())} <= known
    if tool.options:
        assert {"--config", "--namespace", "--ws-deployment", "--gitops-path"} <= known
