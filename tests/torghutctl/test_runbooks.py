"""Every reason and procedure has a runbook of one shape, and what the runbooks tell people to type exists today."""

from __future__ import annotations

import re
import shlex
from functools import cache
from itertools import takewhile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from torghutctl.assets import folder
from torghutctl.cli import app
from torghutctl.health.reasons import REASONS
from torghutctl.procedures.catalogue import SPECS
from torghutctl.render.redaction import redact_text

BOOKS = {path.stem: path for path in sorted(folder("runbooks").glob("*.md"))}
ROOT = Path(__file__).resolve().parents[2]
SECTIONS = ["Symptoms", "Decide", "Act", "Verify", "Undo", "Why"]
OTHERS = {"audit-log", "disaster-recovery", "go-live", "postgres"}
"""Books that belong to no procedure and that no reason names as its next step."""
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"^ *```\w*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_QUOTED = re.compile(r"`([^`]+)`")


def _commands(text: str) -> list[str]:
    """Return every `torghutctl …` of code blocks, a continued line as one, and of backticks, wherever a line breaks."""
    blocks = "\n".join(_BLOCK.findall(text)).replace("\\\n", " ").splitlines()
    quoted = [" ".join(match.split()) for match in _QUOTED.findall(_BLOCK.sub("", text))]
    found = [line.strip().removeprefix(".venv/bin/") for line in [*blocks, *quoted]]
    return [line for line in found if re.match(r"(\S+=\S+ )*torghutctl\s", line)]


@cache
def _help(path: tuple[str, ...]) -> str | None:
    """Return what a command's `--help` says, None where there is no such command."""
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    return shown.stdout if shown.exit_code == 0 else None


def _problems(line: str) -> list[str]:
    """Return the commands and options of a line that today's program does not have."""
    words = shlex.split(line, comments=True)
    words = words[words.index("torghutctl") + 1 :]
    path = tuple(takewhile(lambda word: not word.startswith("-"), words))
    text = _help(path)
    if text is None:
        return [f"{line}: no such command"]
    given = [word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    return [f"{line}: no option {option}" for option in given if not re.search(rf"(?<![\w-]){option}(?![\w-])", text)]


PAGES = {**BOOKS, "README": ROOT / "README.md", "CONTRIBUTING": ROOT / "CONTRIBUTING.md"}
COMMAND_LINES = [(name, line) for name, path in PAGES.items() for line in _commands(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("name", BOOKS)
def test_book_when_shown_then_nothing_of_it_is_masked(name: str) -> None:
    """What a person reads at night is what is written: no sentence looks like a secret to the redaction."""
    assert redact_text(BOOKS[name].read_text(encoding="utf-8"), ()) == BOOKS[name].read_text(encoding="utf-8")


def test_books_when_listed_then_one_per_procedure_and_next_step_and_no_other() -> None:
    """What the report can link and what can be done each have a page; a page that nothing leads to is named here."""
    assert {*SPECS, *(row.next_step for row in REASONS.values()), *OTHERS} == set(BOOKS)


@pytest.mark.parametrize("name", BOOKS)
def test_book_when_read_then_it_has_the_sections_in_order_and_each_says_something(name: str) -> None:
    """Who reads under pressure finds each thing at the same place."""
    text = BOOKS[name].read_text(encoding="utf-8")
    parts = re.split(r"^## (.+)$", _BLOCK.sub(lambda found: found[0].replace("#", " "), text), flags=re.MULTILINE)
    assert parts[1::2] == SECTIONS
    assert [title for title, body in zip(parts[1::2], parts[2::2], strict=True) if len(body.split()) < 5] == []
    assert text.startswith("# ")
    assert max(len(line) for line in text.splitlines() if not line.lstrip().startswith("|")) <= 125


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_book_when_a_reason_leads_to_it_then_it_names_the_reason(reason: str) -> None:
    """Whoever follows the report recognises what was reported."""
    assert f"`{reason}`" in BOOKS[REASONS[reason].next_step].read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "line"), COMMAND_LINES)
def test_command_line_when_shown_then_todays_program_takes_it(name: str, line: str) -> None:
    """Commands, sub-commands and options exist; what people paste in an incident does not end in a usage error."""
    assert _problems(line) == []


def test_command_lines_when_counted_then_none_is_overlooked() -> None:
    """Each page of a procedure shows its command with an option, and what is wrong is seen to be wrong."""
    shown = {name for name, line in COMMAND_LINES if line.startswith(f"torghutctl {name} ") and " -" in line}
    assert set(SPECS) - shown == set()
    assert len(COMMAND_LINES) > 80
    assert _problems("torghutctl restart-tx --pr") == ["torghutctl restart-tx --pr: no such command"]
    assert _problems("torghutctl restart-ta --force") == ["torghutctl restart-ta --force: no option --force"]


@pytest.mark.parametrize("name", PAGES)
def test_link_when_relative_then_it_resolves(name: str) -> None:
    """Links lead to files that are there, and no page is named by a path that a reader cannot click."""
    text = PAGES[name].read_text(encoding="utf-8")
    targets = [found for found in _LINK.findall(text) if "://" not in found]
    assert [found for found in targets if not (PAGES[name].parent / found.split("#")[0]).exists()] == []
    assert re.findall(r"(?<![\[(])runbooks/[\w-]+\.md", text) == []
