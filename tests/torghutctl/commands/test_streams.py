"""Streams that are closed, full, narrow or left: an effect is told by its exit code, whatever its report met."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

pytestmark = pytest.mark.slow  # a process each

ACT = ("--reason", "stale data", "--confirm", "ACTUATE_TORGHUT", "--pr")
ROOT = Path(__file__).parents[3]


def shell(command: str, tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run torghutctl by a shell, which closes and points its streams as `command` says (`$@` is the program)."""
    program = [sys.executable, "-m", "torghutctl", *arguments]
    given = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "NO_COLOR": "1", **environment}
    return subprocess.run(
        ["sh", "-c", command, "sh", *program], cwd=ROOT, env=given, capture_output=True, check=False, timeout=120
    )


@pytest.mark.parametrize(
    ("command", "is_told"),
    [
        ('exec "$@" <&-', False),
        ('exec "$@" >&-', False),
        ('exec "$@" 2>&-', False),
        ('exec "$@" <&- >&- 2>&-', False),
        ('exec "$@" >/dev/full', True),
        ('exec "$@" 2>/dev/full', False),
        ('{ "$@"; echo "code $?" >&2; } | true', False),
    ],
)
def test_pause_when_a_stream_cannot_be_used_then_it_is_done_and_ends_with_0(
    command: str, is_told: bool, gitops: Any, tmp_path: Path
) -> None:
    """The pull request is open: that the report could not be written is said beside it, and is no failure."""
    done = shell(command, tmp_path, "pause-trading", "--repo", str(gitops.bare), *ACT)
    said = done.stderr.decode()
    code = int(said.rsplit("code ", 1)[1]) if "| true" in command else done.returncode
    pulls = [name for name in gitops.refs() if "pull-requests" in name]
    assert (code, pulls) == (0, ["refs/torghut/pull-requests/1"]), said
    assert ("it is done, but standard output cannot be written" in said) is is_told
    assert "Traceback" not in said


def test_pause_when_a_document_cannot_be_encoded_then_it_is_done_and_escaped(gitops: Any, tmp_path: Path) -> None:
    """A narrow terminal shows an escape in place of a letter; it stops nothing."""
    reason = ("--reason", "Kurs fällt — Ω", "--confirm", "ACTUATE_TORGHUT", "--pr")
    narrow = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C.UTF-8"}
    done = shell('exec "$@"', tmp_path, "pause-trading", "--repo", str(gitops.bare), *reason, "-o", "json", **narrow)
    assert (done.returncode, json.loads(done.stdout)["result"]["pullRequest"]["number"]) == (0, 1), done.stderr
    for form in ("json", "yaml"):
        plan = (
            "pause-trading",
            "--repo",
            str(gitops.bare),
            "--cancel-orders",
            "--reason",
            "Kurs fällt — Ω",
            "-o",
            form,
        )
        shown = shell('exec "$@"', tmp_path, *plan, **narrow)
        document = YAML(typ="safe", pure=True).load(shown.stdout.decode("ascii"))
        assert "'Kurs fällt — Ω'" in document["act"]


def test_report_when_the_disk_is_full_then_9_and_one_sentence(gitops: Any, tmp_path: Path) -> None:
    """Where nothing was done, what cannot be shown is a failure of its own; the interpreter adds nothing at its end."""
    plan = ("pause-trading", "--repo", str(gitops.bare))
    for arguments in (plan, ("runbook",), ("--help",)):
        done = shell('exec "$@" >/dev/full', tmp_path, *arguments)
        assert (done.returncode, b"standard output cannot be written" in done.stderr) == (9, True), arguments
        assert b"Traceback" not in done.stderr
        assert b"Exception ignored" not in done.stderr


def test_file_when_a_stream_was_closed_then_no_file_takes_its_place(gitops: Any, tmp_path: Path) -> None:
    """What is printed to a closed standard output never ends up in the audit log that was opened after it."""
    log = tmp_path / "audit.jsonl"
    arguments = ("pause-trading", "--repo", str(gitops.bare), *ACT, "--audit-log", str(log))
    assert shell('exec "$@" <&- >&- 2>&-', tmp_path, *arguments).returncode == 0
    assert {type(json.loads(line)) for line in log.read_text().splitlines()} == {dict}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("health-report", "--kubeconfig", "/nowhere", "-o", "json"), 2, "kubeconfig"),
        (("pause-trading", "--nonsense", "-o", "json"), 2, "--nonsense"),
        (("pause-trading", "-ojson", "--repo", "/nowhere"), 2, "no such folder"),
        (("nonsense", "--output=json"), 2, "nonsense"),
    ],
)
def test_error_when_json_is_asked_for_then_it_is_one_object_beside_its_sentence(
    arguments: tuple[str, ...], code: int, words: str, tmp_path: Path
) -> None:
    """Whoever reads JSON reads the reason as JSON too."""
    done = shell('exec "$@"', tmp_path, *arguments)
    document = json.loads(done.stdout)
    error = document["error"]
    assert (done.returncode, document["schemaVersion"], error["exitCode"]) == (code, "torghut.error/v1", code)
    assert (words in error["message"], set(error)) == (True, {"exitCode", "message", "hint"})
    assert f"error: {error['message']}\n" in done.stderr.decode()


def test_plan_when_it_would_be_refused_then_its_document_carries_the_error_and_is_the_only_one(
    gitops: Any, tmp_path: Path
) -> None:
    """One document on standard output, whatever the exit code."""
    gitops.replace("ta/flinkdeployment.yaml", "state: running", "state: suspended")
    done = shell('exec "$@"', tmp_path, "resume-ta", "--repo", str(gitops.bare), "--reason", "x", "-o", "json")
    plan = json.loads(done.stdout)
    assert (done.returncode, plan["schemaVersion"], plan["error"]["exitCode"], plan["act"]) == (
        6,
        "torghut.plan/v1",
        6,
        None,
    )
    assert {item["refuses"] for item in plan["preconditions"] if item["ok"] is not True} == {True, False}
