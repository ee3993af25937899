"""Every command that takes `-o json` writes a document, and its published schema takes it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
from typer.testing import CliRunner

from tests.fakes import torghut_cluster
from tests.fakes.gitops import shipped_with_flink
from tests.fakes.kubernetes_api import serve
from tests.fakes.trading_folder import paper_account
from torghut_core.rfc3339 import format_ns, parse_ns
from torghutctl.cli import LazyCommand, app
from torghutctl.render.schemas import schema_of

pytestmark = [pytest.mark.slow, pytest.mark.engine]

CLUSTER = ("--kubeconfig", "{home}/kubeconfig", "--at", torghut_cluster.NOW)
PLAN = (*CLUSTER, "--repo", "{home}/forge.git")
DOCUMENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "health-report": ("health", CLUSTER),
    "status": ("status", CLUSTER),
    "top": ("top", CLUSTER),
    "pause-trading": ("plan", PLAN),
    "resume-trading": ("plan", PLAN),
    "restart-ws": ("plan", PLAN),
    "suspend-ta": ("plan", PLAN),
    "resume-ta": ("plan", PLAN),
    "restart-ta": ("plan", PLAN),
    "rollback-image": ("releases", (*PLAN, "--list")),
    "restore-replica": ("plan", PLAN),
    "replay-ta start": ("plan", (*PLAN, "--id", "gap")),
    "replay-ta exit": ("plan", PLAN),
    "replay-ta status": ("replay", PLAN),
    "agentruns render": ("agentruns", ("pause-trading", "--template")),
    "agentruns validate": ("agentruns", ("{home}/clone/agentruns.yaml",)),
    "audit show": ("audit", ()),
    "audit verify": ("audit", ()),
    "runbook": ("runbooks", ()),
    "env list": ("environments", ()),
    "env show": ("environment", ()),
    "env check": ("environments-check", ()),
    "explain-config": ("config", ("guardrails",)),
    "llm promote-check": ("llm-promotion", ()),
    "llm evaluate": ("llm-evaluation", ("--reviews", "{home}/empty", "--signals", "{home}/empty")),
    "trading kill-switch": ("plan", ("on", "--local", "{home}/lab")),
    "trading resume-losses": ("plan", ("--local", "{home}/lab")),
    "trading report": ("trading-report", ("--day", "2026-01-05", "--local", "{home}/lab")),
    "trading explain-config": ("trading-config", ()),
    "trading backtest": ("backtest", ("{home}/messages.ndjson",)),
    "ta check-file": ("ta-check", ("{home}/messages.ndjson",)),
}
"""By command, the kind of its document and the rest of a line that has it written."""


def _with_json(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    command = command.load() if isinstance(command, LazyCommand) else command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _with_json(inner, (*path, name))
    if any("--output" in option.opts for option in command.params):
        yield " ".join(path)


def test_commands_when_they_take_json_then_each_has_its_document_here() -> None:
    """A new command that reports is held to a schema too."""
    assert set(_with_json(typer.main.get_command(app))) == set(DOCUMENTS)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Everything the lines name: a cluster, a repository, a trading database and a recording."""
    with tempfile.TemporaryDirectory(prefix="torghut-json-", ignore_cleanup_errors=True) as name:
        yield from _filled(Path(name))


def _filled(folder: Path) -> Iterator[Path]:
    shipped_with_flink(folder)
    (folder / "empty").write_text("")
    begin = parse_ns("2026-06-02T13:30:00Z")
    trade = {"T": "t", "S": "A", "p": 10, "s": 100, "x": "V", "c": ["@"], "z": "C"}
    lines = [{**trade, "i": number, "t": format_ns(begin + number * 10**9)} for number in range(90)]
    bar = {"T": "b", "S": "A", "o": 10, "h": 10, "l": 10, "c": 10, "v": 6000, "n": 60, "vw": 10, "t": format_ns(begin)}
    (folder / "messages.ndjson").write_text("".join(json.dumps(line) + "\n" for line in [*lines, bar]))
    rendered = CliRunner().invoke(app, ["agentruns", "render", "pause-trading", "--template", "-o", "yaml"])
    (folder / "clone" / "agentruns.yaml").write_text(rendered.stdout)
    with paper_account(folder / "lab"):
        pass
    with serve(torghut_cluster.healthy(), folder):
        yield folder


@pytest.mark.parametrize("command", DOCUMENTS)
def test_json_when_a_command_writes_it_then_its_published_schema_takes_it(command: str, home: Path) -> None:
    """One document, of the kind that the command is known for, whatever the exit code."""
    kind, rest = DOCUMENTS[command]
    line = [*command.split(), *(word.format(home=home) for word in rest), "-o", "json"]
    done = CliRunner().invoke(app, line, env={"DB_DSN": "postgresql://nobody@127.0.0.1:9/x"})
    document = json.loads(done.stdout)
    assert document["schemaVersion"] == f"torghut.{kind}/v1", done.stderr
    jsonschema.Draft202012Validator(schema_of(document["schemaVersion"])).validate(document)
