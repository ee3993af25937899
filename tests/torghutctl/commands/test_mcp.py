"""The Model Context Protocol server as an assistant's program talks to it: reads and plans, and never acts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from torghutctl.assistant.messages import Ran, answer
from torghutctl.assistant.tools import TOOLS
from torghutctl.cli import COMMANDS, LazyCommand
from torghutctl.procedures.catalogue import SPECS

ACTING = ("--branch", "--pr", "--act", "--confirm", "--reason", "--wait", "--sync", "--record")


def ask(method: str, params: Any = None, run: Any = None, **message: Any) -> Any:
    request = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": method,
        **({"params": params} if params is not None else {}),
        **message,
    }
    said = answer(json.dumps(request), run or (lambda _: pytest.fail("nothing may run")), "1.0")
    return None if said is None else json.loads(said)


def call(name: str, arguments: Any, run: Any = None) -> Any:
    return ask("tools/call", {"name": name, "arguments": arguments}, run)


@pytest.mark.parametrize(("asked", "expected"), [("2025-03-26", "2025-03-26"), ("1999-01-01", "2025-06-18")])
def test_initialize_when_a_version_is_asked_for_then_a_known_one_is_agreed(asked: str, expected: str) -> None:
    """The asked one where it is spoken, the newest otherwise."""
    result = ask("initialize", {"protocolVersion": asked, "capabilities": {}})["result"]
    assert (result["protocolVersion"], result["capabilities"], result["serverInfo"]["name"]) == (
        expected,
        {"tools": {}},
        "torghutctl",
    )


def test_tools_when_listed_then_there_is_one_plan_per_procedure_and_nothing_that_acts() -> None:
    """Names, schemas and hints; no argument stands for an effect."""
    tools = {tool["name"]: tool for tool in ask("tools/list")["result"]["tools"]}
    assert set(tools) == {"health-report", "status", "explain", *(f"plan-{name}" for name in SPECS)}
    assert all(
        tool["annotations"]["readOnlyHint"] and tool["inputSchema"]["additionalProperties"] is False
        for tool in tools.values()
    )
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
    "a list": ("status", ["x"], "must be an object"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_call_when_it_asks_for_more_than_a_plan_then_nothing_runs(case: str) -> None:
    """Invalid parameters, by name and rule."""
    name, arguments, why = REFUSED[case]
    error = call(name, arguments)["error"]
    assert (error["code"], why in error["message"]) == (-32602, True)


MESSAGES: dict[str, tuple[str, int | None]] = {
    "not JSON": ("{", -32700),
    "a batch": ("[]", -32600),
    "no version": ('{"id":1,"method":"ping"}', -32600),
    "null id": ('{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
    "unknown method": ('{"jsonrpc":"2.0","id":1,"method":"resources/list"}', -32601),
    "params a list": ('{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', -32602),
    "notification": ('{"jsonrpc":"2.0","method":"notifications/initialized"}', None),
    "answer to nothing": ('{"jsonrpc":"2.0","id":9,"result":{}}', None),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_answer_when_a_message_is_odd_then_the_code_is_the_protocol_s(case: str) -> None:
    """A notification gets no answer, everything else one."""
    line, code = MESSAGES[case]
    said = answer(line, lambda _: pytest.fail("nothing may run"), "1.0")
    assert (None if said is None else json.loads(said)["error"]["code"]) == code


def test_call_when_the_command_fails_then_its_code_and_words_come_back() -> None:
    """A report of any exit code is a result; no report is an error."""
    refused = call("plan-resume-ta", {}, lambda _: Ran(code=6, output='{"digest": "d"}', talk="error: refused"))[
        "result"
    ]
    broken = call("plan-resume-ta", {}, lambda _: Ran(code=2, output="", talk="error: --repo: must be given"))["result"]
    assert (refused["isError"], refused["structuredContent"]["exitCode"], refused["structuredContent"]["report"]) == (
        False,
        6,
        {"digest": "d"},
    )
    assert (broken["isError"], broken["content"]) == (True, [{"type": "text", "text": "error: --repo: must be given"}])


@pytest.mark.slow
def test_server_when_driven_over_its_streams_then_plans_come_back_and_nothing_is_written(
    gitops: Any, tmp_path: Path
) -> None:
    """One line each way, damaged bytes included; the end of input ends it; the repository and the home stay as they were."""
    lines = [
        b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}',
        b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
        b"\xff\xfe",
        b"",
        json.dumps(
            {
                "jsonrpc": "2.0",
                "id": 2,
                "method": "tools/call",
                "params": {"name": "plan-pause-trading", "arguments": {"repo": str(gitops.bare)}},
            }
        ).encode(),
    ]
    before = sorted(str(path) for path in gitops.bare.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-m", "torghutctl", "mcp"],
        input=b"\n".join(lines) + b"\n",
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path / "home"),
            "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
        },
        capture_output=True,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, b"")
    assert [item["id"] for item in answers] == [1, None, 2]
    plan = answers[2]["result"]["structuredContent"]
    assert (plan["exitCode"], plan["report"]["schemaVersion"], plan["report"]["result"]) == (0, "torghut.plan/v1", None)
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
    assert {"--config", "--namespace", "--ws-deployment", "--gitops-path"} <= known
