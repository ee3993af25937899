"""What is drawn for people: columns, runbooks and talk, as wide as a terminal is, and whole lines off it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.fakes import torghut_cluster
from tests.fakes.kubernetes_api import serve
from torghutctl.cli import app
from torghutctl.render import plan_view, streams
from torghutctl.render.book_view import book
from torghutctl.render.health_table import table as health
from torghutctl.render.output import Columns, Screen, as_text, columns

ROWS = columns([("name", "what it is"), ("a-name-of-twenty-two-c", "two words and then some more of them")])


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (None, "name                    what it is\na-name-of-twenty-two-c  two words and then some more of them"),
        (59, "name                   what it is\na-name-of-twenty-two-c two words and then some more of them"),
        (
            50,
            "name                    what it is\n"
            "a-name-of-twenty-two-c  two words and then some\n"
            "                        more of them",
        ),
        (
            40,
            "name\n    what it is\na-name-of-twenty-two-c\n    two words and then some more of them",
        ),
    ],
)
def test_columns_when_they_are_drawn_then_no_name_is_broken(width: int | None, shown: str) -> None:
    """Off a terminal a row is a line; on one the widest column wraps, or goes below where it has no room."""
    assert as_text(ROWS, Screen(width=width)) == shown


def test_columns_when_there_are_none_then_nothing_is_drawn() -> None:
    """An empty listing is an empty text."""
    assert as_text(Columns([]), Screen(width=80)) == ""


BOOK = """# title

For `a` and
`b`: see [resume-ta](resume-ta.md) and [the plan](../runbooks/suspend-ta.md).

1. One step that is long enough to be wrapped at forty columns.

   ```
   kubectl get pods --with-a-line-longer-than-the-terminal
   ```

| Seen | Do |
|---|---|
| x | y [mend](pod-failure.md) |
"""


def test_book_when_it_is_drawn_on_a_terminal_then_it_wraps_but_for_code() -> None:
    """A link becomes the runbook's name, a table columns; what is pasted stays on its line."""
    assert as_text(book(BOOK), Screen(width=40)).splitlines() == [
        "title",
        "",
        "For `a` and `b`: see resume-ta (runbook)",
        "and the plan (runbook suspend-ta).",
        "",
        "1. One step that is long enough to be",
        "   wrapped at forty columns.",
        "",
        "   kubectl get pods --with-a-line-longer-than-the-terminal",
        "",
        "Seen  Do",
        "x     y mend (runbook pod-failure)",
    ]


def test_tell_when_on_a_terminal_then_words_are_whole_and_a_command_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Talk wraps between words; what can be pasted does not wrap at all."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    with os.fdopen(theirs, "w") as stream, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stream)
        streams.tell("waiting for the merge: a pull request that is open")
        streams.tell("error: something else has to come first, namely: torghutctl suspend-ta -e lab --reason 'why so'")
        streams.tell("follow it: torghutctl suspend-ta -e lab --pr --wait --pull-request 1")
        shown = b""
        while not shown.endswith(b"request 1\r\n"):
            shown += os.read(ours, 65536)
    os.close(ours)
    assert shown.decode().splitlines() == [
        "waiting for the merge: a pull request",
        "  that is open",
        "error: something else has to come first,",
        "  namely:",
        "  torghutctl suspend-ta -e lab --reason 'why so'",
        "follow it: torghutctl suspend-ta -e lab --pr --wait --pull-request 1",
    ]


def test_telling_once_when_a_wait_looks_again_then_a_line_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Half an hour of looking is no half an hour of lines."""
    say = streams.telling_once()
    for line in ("reading the cluster", "reading the cluster", "not read: x", "reading the cluster"):
        say(line)
    assert capsys.readouterr().err.splitlines() == ["reading the cluster", "not read: x"]


def test_report_when_a_name_has_no_room_beside_then_the_message_goes_below() -> None:
    """A replica's name is never parted at its hyphens."""
    finding = {"reason": "clickhouse_readonly", "severity": "down", "since": None, "evidence": []}
    message = "a table is read-only on chi-torghut-clickhouse-default-0-0"
    report = {
        "classification": "down",
        "observedAt": torghut_cluster.NOW,
        "marketSession": "regular",
        "marketDay": None,
        "topCause": None,
        "nextProcedure": None,
        "components": [{"name": "clickhouse", "status": "down", "findings": [{**finding, "message": message}]}],
    }
    assert health(report, width=70).splitlines()[-1] == f"    {message}"


def test_plan_when_its_actions_were_carried_out_then_the_result_says_so() -> None:
    """What has neither branch nor pull request is done all the same."""
    report = {
        **dict.fromkeys(("procedure", "environment", "base", "digest"), "x"),
        **{key: [] for key in ("preconditions", "files", "verification", "rollback")},
        "actions": [{"target": "trading database, account paper", "statement": "turn the kill switch on"}],
        "act": None,
        "result": {"branch": None, "commit": None, "pullRequest": None},
    }
    assert plan_view.plan_table(report, width=44).splitlines()[5:] == [
        "actions",
        "  trading database, account paper: turn the",
        "  kill switch on",
        "",
        "result",
        "  carried out  every action of the plan",
    ]


def test_snapshot_when_a_source_is_missing_then_it_is_named_and_how_it_is_read(tmp_path: Path) -> None:
    """A count alone says nothing at night; what need not be there is not counted."""
    cluster = torghut_cluster.healthy()
    cluster.services.pop(torghut_cluster.GAUGES)
    with serve(cluster, tmp_path) as kubeconfig:
        done = CliRunner().invoke(app, ["snapshot", str(tmp_path / "s.tar.gz"), "--kubeconfig", str(kubeconfig)])
    assert "33 of 34 sources read, not clickhouse/gauges (upstream_error)" in done.stderr
    assert f"read it: torghutctl health-report --from-snapshot {tmp_path}/s.tar.gz" in done.stderr
