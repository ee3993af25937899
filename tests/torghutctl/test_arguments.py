"""What the help calls an argument is what its error calls it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from torghutctl.cli import COMMANDS, LazyCommand, app

BAD = {
    "snapshot PATH": ["/dev/null", "--kubeconfig", "/nowhere"],
    "agentruns render CHANGE": ["nope"],
    "agentruns validate FILE": ["/nowhere"],
    "runbook NAME": ["nope"],
    "env show NAME": ["nope"],
    "explain-config RUNTIME": ["nope"],
    "explain-config VARIABLE": ["ta", "TA_LATE_TRADE"],
    "trading kill-switch on|off": ["maybe"],
    "trading new-strategy NAME": ["9"],
    "trading new-strategy DIR": ["good", "/dev/null"],
    "trading backtest FILE": ["/nowhere"],
    "completion SHELL": ["nope"],
    "ta replay-file IN": ["/nowhere", "/nowhere"],
    "ta replay-file DIR": ["/dev/null"],
    "ta check-file FILE": ["/nowhere"],
}
"""By command and argument as the help has it, words that break a rule of that argument."""


def _arguments(command: Any, path: tuple[str, ...]) -> list[str]:
    command = command.load() if isinstance(command, LazyCommand) else command
    inner = [
        found for name, each in getattr(command, "commands", {}).items() for found in _arguments(each, (*path, name))
    ]
    own = [p.metavar.strip("[].") for p in command.params if p.param_type_name == "argument"]
    return [*inner, *(" ".join((*path, name)) for name in own)]


def test_arguments_when_listed_then_each_has_a_value_that_breaks_its_rule() -> None:
    """A new argument is looked at here too."""
    assert set(_arguments(typer.main.get_command(app), ())) == set(BAD)
    assert {line.split()[0] for line in BAD} <= set(COMMANDS)


def _help_of(command: Any, path: str) -> dict[str, str]:
    command = command.load() if isinstance(command, LazyCommand) else command
    context = command.context_class(command, info_name=path, terminal_width=200, max_content_width=200)
    found = {path: command.get_help(context)}
    for name, each in getattr(command, "commands", {}).items():
        found |= _help_of(each, f"{path} {name}")
    return found


def test_help_when_it_shows_a_value_then_its_place_has_a_word_and_no_type() -> None:
    """`<str>` says nothing of what is wanted, and is another style than FILE or SECONDS."""
    places = {
        path: re.findall(r"^  (?:.*?--?[\w-]+|\S+) (<[\w|[\] -]+>)", text, re.M)
        for path, text in _help_of(typer.main.get_command(app), "torghutctl").items()
    }
    assert {path: found for path, found in places.items() if found} == {}


def test_help_when_an_argument_may_be_left_out_or_repeated_then_the_usage_line_says_it_once() -> None:
    """`[FILE]...`, not `[[FILE]...]...`."""
    usages = [text.splitlines()[0] for text in _help_of(typer.main.get_command(app), "torghutctl").values()]
    assert [line for line in usages if re.search(r"\[\[|\{\[|\.\.\.[\]}]", line)] == []


@pytest.mark.parametrize("line", BAD)
def test_argument_when_it_breaks_its_rule_then_the_error_begins_with_its_name(line: str) -> None:
    """The word of the usage line, then the value."""
    *command, name = line.split()
    done = CliRunner().invoke(app, [*command, *BAD[line]])
    error = next(said for said in done.stderr.splitlines() if said.startswith("error: "))
    assert (done.exit_code, error.removeprefix("error: ").startswith(name)) == (2, True), error
