"""`env list|show|check` and `completion`: files on this machine, no network, no token in any answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # a process each
FILE = """default: paper
environments:
  paper:
    context: lab
    kubeconfig: {folder}/kubeconfig
    repo: {repo}
    tokenFile: {folder}/token
  prod:
    production: true
    live: true
    repo: https://github.com/acme/lab
"""


@pytest.fixture
def config(tmp_path: Path, gitops: Any) -> Path:
    """A file with nothing wrong."""
    kubeconfig = {
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "contexts": [{"name": "lab", "context": {"cluster": "c"}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
    (tmp_path / "token").write_text("forge-token-123")
    (tmp_path / "token").chmod(0o600)
    path = tmp_path / "environments.yaml"
    path.write_text(FILE.format(folder=tmp_path, repo=gitops.clone))
    return path


def test_list_and_show_when_there_is_a_file_then_entries_defaults_and_no_token(run: Any, config: Path) -> None:
    """Who it is, what it is for, which one is the default, and where it was found."""
    listed = json.loads(run("env", "list", "--config", str(config), "-o", "json").stdout)
    rows = [(row["name"], row["isDefault"], row["production"], row["live"]) for row in listed["environments"]]
    assert (listed["file"], rows) == (str(config), [("paper", True, False, False), ("prod", False, True, True)])
    shown = run("env", "show", "--config", str(config), "-o", "json")
    entry = json.loads(shown.stdout)["environment"]
    assert (entry["name"], entry["base"], entry["namespace"], entry["kafkaNamespace"]) == (
        "paper",
        "main",
        "torghut",
        "kafka",
    )
    assert "forge-token-123" not in shown.stdout


def test_check_when_all_is_well_then_exit_0(run: Any, config: Path) -> None:
    """Nothing is wrong, and it says so."""
    done = run("env", "check", "--config", str(config))
    assert (done.returncode, done.stdout) == (0, f"{config}: nothing is wrong with it\n"), done.stdout


WRONG: dict[str, tuple[tuple[str, str], str, str]] = {
    "an unknown key": (("    context: lab\n", "    contxt: lab\n"), "error", "contxt is not known"),
    "a token in it": (("    context: lab\n", "    token: abc123\n"), "error", "environments.paper.token is not known"),
    "another default": (("default: paper", "default: staging"), "error", "default='staging': there is no such"),
    "a context that is not there": (("context: lab", "context: lob"), "error", "has no such context; it has lab"),
    "no kubeconfig": (("/kubeconfig", "/none"), "error", "there is no such file"),
    "no token": (("/token", "/none"), "error", "cannot be read (No such file or directory)"),
    "no repository": (("/clone", "/none"), "error", "no such folder"),
    "no branch": (("    context: lab\n", "    context: lab\n    base: trunk\n"), "error", "has no such branch"),
    "no folder": (
        ("    context: lab\n", "    context: lab\n    gitopsPath: apps/x\n"),
        "error",
        "there is no such folder",
    ),
    "a boolean as text": (("live: true", 'live: "true"'), "error", "must be true or false"),
}


@pytest.mark.parametrize("case", WRONG)
def test_check_when_something_is_wrong_then_named_and_exit_2(case: str, run: Any, config: Path) -> None:
    """Every fault by entry, key and rule; one bad entry costs itself alone."""
    (old, new), level, words = WRONG[case]
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    done = run("env", "check", "--config", str(config), "-o", "json")
    problems = json.loads(done.stdout)["problems"]
    assert [row["level"] for row in problems if words in row["problem"]] == [level], problems
    assert done.returncode == 2


def test_check_when_git_trades_live_or_a_token_is_readable_then_a_warning(run: Any, config: Path, gitops: Any) -> None:
    """An entry that says nothing of live beside a repository that trades so draws a word, and changes no exit code."""
    gitops.replace("knative-service.yaml", "value: paper", "value: live")
    (config.parent / "token").chmod(0o644)
    done = run("env", "check", "--config", str(config), "-o", "json")
    rows = json.loads(done.stdout)["problems"]
    assert (done.returncode, {row["level"] for row in rows}, len(rows)) == (0, {"warning"}, 2), rows
    assert any("says TRADING_MODE=live" in row["problem"] for row in rows)
    assert any("others may read it (mode 644)" in row["problem"] for row in rows)


def test_plan_when_the_files_default_is_used_then_its_name_is_said(run: Any, config: Path) -> None:
    """Nobody acts on an environment that he did not see named."""
    done = run("pause-trading", "--config", str(config), "--kubeconfig", str(config.parent / "kubeconfig"))
    assert f"environment paper, the default of {config}" in done.stderr.splitlines()


COMPLETIONS = {
    "torghutctl resta": "restart-ws",
    "torghutctl pause-trading --canc": "--cancel-orders",
    "torghutctl health-report --why ta_sta": "ta_stalled",
    "torghutctl runbook kafka-r": "kafka-recovery",
    "torghutctl agentruns render roll": "rollback-image",
    "torghutctl completion ": "fish",
    "torghutctl explain-config gu": "guardrails",
    "torghutctl explain-config ta TA_LATE": "TA_LATE_TRADES",
    "torghutctl pause-trading --config CONFIG -e pr": "prod",
}


@pytest.mark.parametrize("line", COMPLETIONS)
def test_completion_when_bash_asks_then_what_can_follow_is_offered(line: str, config: Path, tmp_path: Path) -> None:
    """Commands, options, reasons, runbooks, procedures, variables and environments, by bash itself with the script that is written."""
    words = line.replace("CONFIG", str(config)).split(" ")
    program = tmp_path / "bin" / "torghutctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m torghutctl "$@"\n')
    program.chmod(0o755)
    script = (
        'source <(torghutctl completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _torghutctl_completion torghutctl;'
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environment = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    done = subprocess.run(
        ["bash", "-c", script, "bash", *words], env=environment, capture_output=True, text=True, check=True
    )
    assert COMPLETIONS[line] in done.stdout.split(), done.stderr


def test_completion_when_the_shell_is_another_then_2_names_those_there_are(run: Any) -> None:
    """One line, with what it takes."""
    done = run("completion", "tcsh")
    assert (done.returncode, "must be one of bash, zsh, fish" in done.stderr) == (2, True)
    for shell in ("zsh", "fish"):
        assert "_TORGHUTCTL_COMPLETE" in run("completion", shell).stdout
