"""A procedure that a person carries out at a terminal: what is shown before the phrase, and what after it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.at_a_terminal import at_a_terminal

pytestmark = pytest.mark.slow  # a process each

PHRASE = "ACTUATE_TORGHUT"
PARTS = re.compile(r"^(procedure|environment|base|digest|diff|rollback|result)\b", re.M)
PLAN = ["procedure", "environment", "base", "digest", "diff", "rollback"]


def pause(gitops: Any, home: Path, *arguments: str, typed: str, is_piped: bool) -> tuple[int, str, str]:
    """Pause trading on a new branch; return the exit code, the output and what the terminal showed."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "dumb"}
    words = ("pause-trading", "--repo", str(gitops.bare), "--branch", "--reason", "x", *arguments)
    return at_a_terminal(*words, typed=typed, is_piped=is_piped, environment=environment)


def test_act_when_the_output_is_a_pipe_then_it_holds_the_whole_document_alone(gitops: Any, tmp_path: Path) -> None:
    """The plan that a person is asked about and the question stand on the terminal, not one character of them beside it."""
    code, output, seen = pause(gitops, tmp_path, typed=PHRASE, is_piped=True)
    assert (code, output[:9], PARTS.findall(output)) == (0, "procedure", [*PLAN, "result"])
    assert (PARTS.findall(seen), seen.count(f"type {PHRASE} to go on: {PHRASE}\n")) == (PLAN, 1)


def test_act_when_the_plan_was_shown_before_the_phrase_then_only_its_result_follows(
    gitops: Any, tmp_path: Path
) -> None:
    """A terminal shows everything once."""
    code, _, seen = pause(gitops, tmp_path, typed=PHRASE, is_piped=False)
    assert (code, PARTS.findall(seen)) == (0, [*PLAN, "result"])


def test_act_when_nothing_has_to_be_asked_then_the_plan_is_shown_with_its_result(gitops: Any, tmp_path: Path) -> None:
    """With --confirm nobody saw the plan before."""
    code, _, seen = pause(gitops, tmp_path, "--confirm", PHRASE, typed="", is_piped=False)
    assert (code, PARTS.findall(seen)) == (0, [*PLAN, "result"])


def test_act_when_the_input_ends_before_the_phrase_then_it_is_refused(gitops: Any, tmp_path: Path) -> None:
    """No answer is no phrase, and no bug either."""
    before = gitops.refs()
    code, output, _ = pause(gitops, tmp_path, typed="\x04", is_piped=True)
    assert (code, output, gitops.refs()) == (6, "", before)
