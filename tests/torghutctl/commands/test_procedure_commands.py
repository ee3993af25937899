"""The procedures as a user runs them: options, exit codes, formats, and what never appears in any output."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from torghutctl.cli import COMMANDS

pytestmark = pytest.mark.slow  # git processes: half a second each
PROCEDURES = (
    "pause-trading",
    "resume-trading",
    "restart-ws",
    "suspend-ta",
    "resume-ta",
    "restart-ta",
    "rollback-image",
    "restore-replica",
)
ACT = ("--reason", "stale data", "--confirm", "ACTUATE_TORGHUT")
KSERVICE = b"""apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: torghut}
spec:
  template:
    spec:
      containers:
        - name: user-container
          env:
            - name: BROKER_PASSWORD
              value: planted-secret-value
            - name: TRADING_ENABLED
              value: "true"
            - name: API_TOKEN
              value: planted-secret-token
"""
SCHEDULER = b"""apiVersion: apps/v1
kind: Deployment
metadata: {name: torghut-scheduler}
spec: {template: {spec: {containers: [{name: main, env: [{name: TRADING_ENABLED, value: 'yes'}]}]}}}
"""


def test_pause_when_run_as_the_demo_does_then_a_pull_request_is_on_the_local_forge(run: Any, gitops: Any) -> None:
    """A bare repository at --repo selects the local forge; stdout is JSON alone."""
    done = run("pause-trading", "--repo", str(gitops.bare), *ACT, "--pr", "-o", "json")
    report = json.loads(done.stdout)
    assert (
        done.returncode,
        report["result"]["pullRequest"]["number"],
        report["result"]["pullRequest"]["adopted"],
    ) == (0, 1, False)
    assert set(report) == {
        "schemaVersion",
        "procedure",
        "environment",
        "base",
        "digest",
        "files",
        "actions",
        "preconditions",
        "verification",
        "rollback",
        "act",
        "result",
    }
    assert [list(file) for file in report["files"]] == [["path", "diff"]]


def test_pause_when_only_planned_then_result_is_null_and_the_diff_applies(run: Any, gitops: Any) -> None:
    """A mere plan changes nothing, and its diff is what git takes."""
    refs = gitops.refs()
    done = run("pause-trading", "--repo", str(gitops.bare), "-o", "json")
    report = json.loads(done.stdout)
    subprocess.run(["git", "apply", "-"], cwd=gitops.clone, input=report["files"][0]["diff"].encode(), check=True)
    assert (0, None, refs) == (done.returncode, report["result"], gitops.refs())
    assert 'value: "false"' in gitops.git("diff")


def test_pause_when_several_manifests_set_it_then_all_are_changed_and_what_cannot_be_is_named(
    run: Any, empty_gitops: Any
) -> None:
    """Six at the end, with the file by name; the others are on the branch; prose and look-alikes are left alone."""
    made = empty_gitops(
        {
            "knative-service.yaml": KSERVICE,
            "scheduler/deployment.yaml": SCHEDULER,
            "config.yaml": b"kind: ConfigMap\nmetadata: {name: c}\ndata:\n  TRADING_ENABLED: 'true'\n  X_TRADING_ENABLED_Y: 'true'\n",
            "twice.yaml": SCHEDULER.replace(b"value: 'yes'}", b"value: 'yes'}, {name: TRADING_ENABLED, value: 'no'}"),
            "overlay/kustomization.yaml": b"configMapGenerator:\n- name: x\n  literals:\n  - TRADING_ENABLED=true\n",
            "off.env": b"TRADING_ENABLED=false\n",
            "notes.md": b"TRADING_ENABLED=true\n",
            "comment.yaml": b"# TRADING_ENABLED: true\nkind: ConfigMap\n",
        }
    )
    done = run("pause-trading", "--repo", str(made.bare), *ACT, "--branch", "-o", "json")
    report = json.loads(done.stdout)
    folder = "argocd/applications/torghut"
    assert done.returncode == 6
    assert [f"{folder}/{name}" for name in ("config.yaml", "knative-service.yaml", "scheduler/deployment.yaml")] == [
        file["path"] for file in report["files"]
    ]
    assert ("twice.yaml" in done.stderr, "overlay/kustomization.yaml" in done.stderr, "notes.md" in done.stderr) == (
        True,
        True,
        False,
    )
    commit = report["result"]["commit"]
    assert made.read(commit, "scheduler/deployment.yaml") == SCHEDULER.replace(b"'yes'", b"'false'")
    assert made.read(commit, "twice.yaml").count(b"'yes'") == 1


def test_pause_when_a_value_comes_from_elsewhere_then_it_is_never_nothing_to_change(
    run: Any, empty_gitops: Any
) -> None:
    """A reference that cannot be followed may be true."""
    reference = b"value: 'yes'", b"valueFrom: {configMapKeyRef: {name: c, key: other}}"
    made = empty_gitops(
        {"knative-service.yaml": KSERVICE.replace(b'"true"', b'"false"'), "s.yaml": SCHEDULER.replace(*reference)}
    )
    done = run("pause-trading", "--repo", str(made.bare))
    assert (done.returncode, "s.yaml" in done.stderr, "nothing to change\n" in done.stderr) == (6, True, False)


@pytest.mark.slow
def test_outputs_when_a_secret_stands_beside_the_edit_then_it_appears_nowhere(
    run: Any, empty_gitops: Any, tmp_path: Path
) -> None:
    """Neither in the plan, in any format, nor in commit message, description and audit log; the commit keeps the file."""
    made = empty_gitops({"knative-service.yaml": KSERVICE})
    said = ""
    for output in ("table", "markdown", "json", "yaml"):
        done = run("pause-trading", "--repo", str(made.bare), "-o", output, GITHUB_TOKEN="planted-github-token")
        said += done.stdout + done.stderr
        assert done.returncode == 0
    done = run(
        "pause-trading",
        "--repo",
        str(made.bare),
        "--pr",
        "--reason",
        "password=planted-in-reason",
        "--confirm",
        "ACTUATE_TORGHUT",
    )
    said += done.stdout + done.stderr
    said += made.git("log", "--all", "--format=%B", where=made.bare)
    said += made.git("show", "refs/torghut/pull-requests/1:description.md", where=made.bare)
    said += (tmp_path / "home/.local/state/torghut/audit.jsonl").read_text()
    assert "planted" not in said
    branch = next(name for name in made.refs() if "agentruns" in name)
    assert made.read(branch, "knative-service.yaml") == KSERVICE.replace(b'"true"', b'"false"')


@pytest.mark.parametrize(
    "name", [*PROCEDURES, "replay-ta start", "replay-ta exit", "replay-ta status", "audit show", "audit verify"]
)
def test_help_when_asked_then_it_teaches_and_loads_nothing_heavy(name: str) -> None:
    """What, when, needs, does, verify, undo; no client is imported for it (typer itself brings pydantic)."""
    code = (
        "import sys\nfrom torghutctl.cli import app\n"
        f"sys.argv = ['torghutctl', *{name.split()!r}, '--help']\n"
        "try:\n    app()\nexcept SystemExit as end:\n    status = end.code\n"
        "heavy = {'kubernetes', 'github', 'git', 'httpx', 'numpy', 'clickhouse_connect', 'ruamel'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy), status)\n"
    )
    root = str(Path(__file__).resolve().parents[3])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": root, "PATH": "/usr/bin"},
    )
    assert "HEAVY [] 0" in done.stdout
    if name in PROCEDURES:
        assert [word in done.stdout for word in ("When:", "Needs:", "Does:", "Verify:", "Undo:", "--confirm")] == [
            True
        ] * 6


SCRATCH = ["replay-ta", "start", "--repo", "REPO", "--id", "x", "--mode", "from-scratch", "--kafka-pod", "k"]
USAGE = {
    "empty environment": (["suspend-ta", "--repo", "REPO", "-e", ""], "-e ''"),
    "empty repository": (["suspend-ta", "--repo", ""], "--repo ''"),
    "empty base": (["suspend-ta", "--repo", "REPO", "--base", ""], "--base ''"),
    "empty folder": (["suspend-ta", "--repo", "REPO", "--gitops-path", ""], "--gitops-path ''"),
    "empty kubeconfig": (["suspend-ta", "--repo", "REPO", "--kubeconfig", ""], "--kubeconfig ''"),
    "empty log": (["suspend-ta", "--repo", "REPO", "--audit-log", ""], "--audit-log ''"),
    "empty label": (["suspend-ta", "--repo", "REPO", "--pr", "--label", " "], "--label ' '"),
    "label without pr": (["suspend-ta", "--repo", "REPO", "--label", "x"], "--draft and --label"),
    "no digest": (["suspend-ta", "--repo", "REPO", "--plan", "123"], "--plan '123'"),
    "no branch name": (["suspend-ta", "--repo", "REPO", "--base", "a..b"], "--base 'a..b'"),
    "no text": (["suspend-ta", "--repo", "REPO", "--reason", b"caf\xe9"], "--reason 'caf\\udce9'"),
    "a pull request below one": (
        ["suspend-ta", "--repo", "REPO", "--pr", "--wait", "--pull-request", "0"],
        "--pull-request 0",
    ),
    "a pull request that is not there": (
        ["suspend-ta", "--repo", "REPO", "--pr", "--wait", "--pull-request", "3", "--kubeconfig", "x"],
        "pull request 3",
    ),
    "a begin that is no time": (["replay-ta", "start", "--repo", "REPO", "--id", "x", "--since", "y"], "--since 'y'"),
    "a broker with a second command": (
        [*SCRATCH, "--minio-pod", "m", "--kafka-bootstrap", "h:9092; x"],
        "--kafka-bootstrap h:9092; x",
    ),
    "a namespace with a path": (
        [*SCRATCH, "--minio-pod", "m", "--minio-namespace", "a/../b"],
        "--minio-namespace a/../b",
    ),
    "a log that is not there": (["audit", "verify", "--audit-log", "/nowhere/audit.jsonl"], "--audit-log /nowhere"),
    "no repository": (["suspend-ta", "--repo", "/nowhere"], "--repo /nowhere"),
    "not a repository": (["suspend-ta", "--repo", "/tmp"], "--repo /tmp"),
    "two effects": (["suspend-ta", "--repo", "REPO", "--branch", "--pr"], "--branch, --pr"),
    "bad time": (["restart-ws", "--repo", "REPO", "--at", "noon"], "--at"),
    "unknown environment": (["suspend-ta", "--repo", "REPO", "-e", "nope"], "-e nope"),
    "wait without pr": (["suspend-ta", "--repo", "REPO", "--wait"], "--wait"),
    "act on a snapshot": (["suspend-ta", "--repo", "REPO", "--pr", "--from-snapshot", "x"], "--from-snapshot"),
    "an option": (["suspend-ta", "--repo", "--upload-pack=x"], "--repo"),
    "unknown output": (["suspend-ta", "--repo", "REPO", "-o", "xml"], "xml"),
    "wrong folder": (["suspend-ta", "--repo", "REPO", "--gitops-path", "x"], "--gitops-path x"),
    "wrong base": (["suspend-ta", "--repo", "REPO", "--base", "x"], "--base x"),
    "bad duration": (
        ["suspend-ta", "--repo", "REPO", "--pr", "--wait", "--pull-request", "1", "--timeout", "soon"],
        "--timeout soon",
    ),
}


@pytest.mark.parametrize("case", USAGE)
def test_command_when_used_wrongly_then_it_says_so_in_a_line_and_exits_2(case: str, run: Any, gitops: Any) -> None:
    """The option is named, and there is no traceback."""
    arguments, named = USAGE[case]
    done = run(*[str(gitops.bare) if word == "REPO" else word for word in arguments])
    problem = (done.returncode, named in done.stderr, "Traceback" in done.stderr, done.stdout)
    assert problem == (2, True, False, ""), done.stderr


@pytest.mark.slow
def test_command_when_off_a_terminal_without_confirmation_then_6(run: Any, gitops: Any) -> None:
    """Nobody can be asked, so it is refused; the hint has the phrase."""
    done = run("suspend-ta", "--repo", str(gitops.bare), "--pr", "--reason", "x")
    assert (done.returncode, "--confirm ACTUATE_TORGHUT" in done.stderr) == (6, True)


@pytest.mark.slow
@pytest.mark.parametrize(("typed", "code"), [("ACTUATE_TORGHUT", 0), ("yes", 6), ("", 6)])
def test_command_when_at_a_terminal_then_the_plan_is_shown_before_the_phrase_is_asked(
    typed: str, code: int, gitops: Any, tmp_path: Path
) -> None:
    """A person sees the diff first; anything but the exact phrase refuses."""
    import pty

    child, terminal = pty.fork()
    if child == 0:
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[3])}
        arguments = ["-m", "torghutctl", "suspend-ta", "--repo", str(gitops.bare), "--branch", "--reason", "x"]
        os.execve(sys.executable, [sys.executable, *arguments], environment)
    said = b""
    while not said.endswith(b"go on: "):
        said += os.read(terminal, 1024)
    os.write(terminal, typed.encode() + b"\n")
    try:
        while os.read(terminal, 4096):
            pass
    except OSError:
        os.close(terminal)
    assert (code, True) == (os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), b"+    state: suspended" in said)


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"metadata": {}}'])
def test_command_when_in_an_agent_run_that_cannot_be_trusted_then_6(
    content: str | None, run: Any, gitops: Any, tmp_path: Path
) -> None:
    """Absent, empty or unreadable means refused."""
    path = tmp_path / "run.json"
    if content is not None:
        path.write_text(content)
    done = run("suspend-ta", "--repo", str(gitops.bare), "--pr", *ACT, AGENT_RUN_SPEC=str(path))
    assert (done.returncode, "agent run" in done.stderr) == (6, True)


@pytest.mark.slow
def test_command_when_the_environment_is_production_then_it_has_to_be_named(
    run: Any, gitops: Any, tmp_path: Path
) -> None:
    """A default that happens to be production is not enough."""
    config = tmp_path / "environments.yaml"
    config.write_text(
        yaml.safe_dump({"default": "prod", "environments": {"prod": {"production": True, "repo": str(gitops.bare)}}})
    )
    refused = run("suspend-ta", "--config", str(config), "--pr", *ACT)
    named = run("suspend-ta", "--config", str(config), "-e", "prod", "--pr", *ACT)
    assert (refused.returncode, "-e NAME" in refused.stderr, named.returncode) == (6, True, 0), named.stderr


def test_command_when_the_digest_is_another_then_7(run: Any, gitops: Any) -> None:
    """--plan binds."""
    done = run("suspend-ta", "--repo", str(gitops.bare), "--pr", *ACT, "--plan", "sha256:" + "0" * 64)
    assert done.returncode == 7


@pytest.mark.slow
def test_rollback_when_listed_then_the_history_is_told_and_the_choice_moves_all_three(run: Any, gitops: Any) -> None:
    """Digest, version and commit go together; one that was rolled back before is marked and passed over."""
    old = "torghut/torghut:0.1.0"
    for number, text in ((1, "0.1.1"), (2, "0.1.2"), (1, "0.1.1"), (3, "0.1.3")):
        new = f"torghut/torghut@sha256:{str(number) * 64}"
        path = gitops.clone / "argocd/applications/torghut/knative-service.yaml"
        data = path.read_text().replace(old, new)
        before = "0.1.0" if 'TORGHUT_VERSION\n              value: "0.1.0"' in data else None
        lines = data.split("\n")
        at = next(i for i, line in enumerate(lines) if "TORGHUT_VERSION" in line)
        lines[at + 1], lines[at + 3] = f'              value: "{text}"', f"              value: commit{number}"
        assert before or number
        gitops.write("knative-service.yaml", "\n".join(lines).encode(), f"promote {text}")
        old = new
    listed = json.loads(run("rollback-image", "--repo", str(gitops.bare), "--list", "-o", "json").stdout)["releases"]
    assert [(r["version"], r["wasRolledBack"]) for r in listed] == [("0.1.3", False), ("0.1.1", False), ("0.1.2", True)]
    done = run("rollback-image", "--repo", str(gitops.bare), "-o", "json")
    diff = json.loads(done.stdout)["files"][0]["diff"]
    added = [line[1:].strip() for line in diff.splitlines() if line.startswith("+ ")]
    assert added == [f"image: torghut/torghut@sha256:{'1' * 64}", 'value: "0.1.1"', "value: commit1"]
    assert done.returncode == 6


@pytest.mark.slow
def test_audit_when_a_line_is_edited_removed_or_the_tail_cut_then_verify_says_where(
    run: Any, gitops: Any, tmp_path: Path
) -> None:
    """Eight for each kind of damage; nothing more is done on a damaged end."""
    log = tmp_path / "audit.jsonl"
    for name in ("pause-trading", "suspend-ta"):
        assert run(name, "--repo", str(gitops.bare), *ACT, "--branch", "--audit-log", str(log)).returncode == 0
    lines = log.read_text().splitlines(keepends=True)
    verify = ("audit", "verify", "--audit-log", str(log), "--repo", str(gitops.bare), "-o", "json")
    damaged = {
        "whole": "".join(lines),
        "edited": "".join(lines).replace("stale data", "all is well", 1),
        "missing": "".join(lines[:1] + lines[2:]),
        "swapped": "".join([lines[1], lines[0], *lines[2:]]),
        "tail cut": "".join(lines[:2]),
        "half a line": "".join(lines)[:-5],
    }
    codes = {}
    for case, text in damaged.items():
        log.write_text(text)
        codes[case] = run(*verify).returncode
    assert codes == {case: 0 if case == "whole" else 8 for case in damaged}
    refused = run("restart-ta", "--repo", str(gitops.bare), *ACT, "--branch", "--audit-log", str(log))
    assert (refused.returncode, any("restart-ta" in name for name in gitops.refs())) == (8, False)


AUDIT_TROUBLE = {
    "damaged": (lambda path: path.write_text('{"event": "half'), 8, "noted behind the damage"),
    "a folder": (lambda path: path.mkdir(), 9, "not on record"),
    "below a file": (lambda path: path.parent.write_text(""), 9, "not on record"),
}


@pytest.mark.slow
@pytest.mark.parametrize("effect", ["--branch", "--pr"])
@pytest.mark.parametrize("case", AUDIT_TROUBLE)
def test_stop_when_the_audit_log_cannot_be_used_then_it_is_done_and_says_so_and_a_start_is_not(
    case: str, effect: str, run: Any, gitops: Any, tmp_path: Path
) -> None:
    """Nothing of a log may keep trading running; the code and a sentence tell that the record has a gap."""
    spoil, code, said = AUDIT_TROUBLE[case]
    log = tmp_path / "state" / "audit.jsonl"
    log.parent.mkdir() if case != "below a file" else None
    spoil(log)
    common = ("--repo", str(gitops.bare), *ACT, effect, "--audit-log", str(log), "-o", "json")
    stops = [run(name, *common) for name in ("pause-trading", "suspend-ta")]
    refs = gitops.refs()
    other = run("restart-ta", *common)
    lines = 3 if effect == "--pr" else 2  # the third says how to follow the pull request
    expected = [(code, True, lines)] * 2
    assert [(done.returncode, said in done.stderr, done.stderr.count("\n")) for done in stops] == expected
    assert [json.loads(done.stdout)["result"]["branch"] is not None for done in stops] == [True, True]
    assert (other.returncode, "nothing is done" in other.stderr, refs) == (code, True, gitops.refs())


@pytest.mark.slow
def test_audit_when_a_stop_was_made_without_a_line_then_verify_names_it_until_it_is_noted(
    run: Any, gitops: Any, tmp_path: Path
) -> None:
    """The commit itself says that there was no record; repeating the command once the log works puts it there."""
    log = tmp_path / "audit.jsonl"
    log.mkdir()
    pause = ("pause-trading", "--repo", str(gitops.bare), *ACT, "--pr", "--audit-log", str(log))
    verify = ("audit", "verify", "--audit-log", str(log), "--repo", str(gitops.bare))
    done = run(*pause)
    branch = next(name for name in gitops.refs() if "agentruns" in name)
    assert (
        done.returncode,
        gitops.git("log", "-1", "--format=%B", branch, where=gitops.bare).splitlines()[-1],
    ) == (9, "Audit-Head: none")
    log.rmdir()
    found = run(*verify)
    assert (found.returncode, "was made while its log could not be written" in found.stdout) == (8, True)
    again = run(*pause)
    assert (again.returncode, run(*verify).returncode) == (0, 0), again.stderr


def test_every_procedure_when_in_the_table_then_it_has_a_runbook() -> None:
    """A procedure without a page that says when to use it is not finished."""
    runbooks = Path(__file__).resolve().parents[3] / "runbooks"
    missing = [
        name for name in (*PROCEDURES, "replay-ta") if not (runbooks / f"{name}.md").is_file() or name not in COMMANDS
    ]
    assert missing == []


def test_plan_when_the_caller_s_git_points_elsewhere_then_that_repository_is_left_alone(
    run: Any, gitops: Any, tmp_path: Path
) -> None:
    """A hook or a pipeline sets GIT_DIR for a repository of its own; nothing of it is read or written."""
    other = tmp_path / "other"
    subprocess.run(["git", "init", "-q", str(other)], check=True)
    before = {path: path.read_bytes() for path in other.rglob("*") if path.is_file()}
    done = run("pause-trading", "--repo", str(gitops.bare), GIT_DIR=str(other / ".git"), GIT_WORK_TREE=str(other))
    after = {path: path.read_bytes() for path in other.rglob("*") if path.is_file()}
    assert (done.returncode, after) == (0, before)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        "[push]\n gpgSign = true\n",
        "[push]\n pushOption = ci.skip\n",
        "[push]\n recurseSubmodules = only\n followTags = true\n default = nothing\n",
        "[safe]\n bareRepository = explicit\n",
        "[log]\n showSignature = true\n follow = true\n[color]\n ui = always\n[i18n]\n logOutputEncoding = ISO-8859-1\n",
    ],
)
def test_pull_request_when_the_user_s_git_is_set_otherwise_then_it_is_made_all_the_same(
    settings: str, run: Any, gitops: Any, tmp_path: Path
) -> None:
    """Settings for the user's own pushes and logs decide nothing about a procedure's; the log's heads are still read."""
    config = tmp_path / "gitconfig"
    config.write_text(settings)
    done = run("pause-trading", "--repo", str(gitops.bare), *ACT, "--pr", GIT_CONFIG_GLOBAL=str(config))
    checked = run("audit", "verify", "--repo", str(gitops.bare), GIT_CONFIG_GLOBAL=str(config))
    assert (done.returncode, checked.returncode) == (0, 0), done.stderr + checked.stderr


@pytest.mark.parametrize(
    "given",
    [
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.hooksPath", "GIT_CONFIG_VALUE_0": "HOOKS"},
        {"GIT_CONFIG_PARAMETERS": "'core.hookspath'='HOOKS'"},
    ],
)
def test_pull_request_when_the_caller_names_hooks_then_none_of_them_runs(
    given: dict[str, str], run: Any, gitops: Any, tmp_path: Path
) -> None:
    """An alias or a pipeline hands its configuration on in the environment; its hooks are not for this."""
    hooks, ran = tmp_path / "hooks", tmp_path / "ran"
    hooks.mkdir()
    for name in ("pre-push", "reference-transaction", "post-index-change"):
        (hooks / name).write_text(f"#!/bin/sh\necho {name} >> {ran}\nexit 1\n")
        (hooks / name).chmod(0o755)
    environment = {key: value.replace("HOOKS", str(hooks)) for key, value in given.items()}
    for repo, effect in ((gitops.bare, "--pr"), (gitops.clone, "--branch")):
        done = run("pause-trading", "--repo", str(repo), *ACT, effect, **environment)
        assert (done.returncode, ran.exists()) == (0, False), done.stderr


def test_pause_when_the_user_s_own_hooks_say_no_then_a_plan_and_a_pull_request_are_made_all_the_same(
    run: Any, gitops: Any, tmp_path: Path
) -> None:
    """Hooks from the user's configuration are for the user's own repositories, not for the scratch one."""
    hooks, config = tmp_path / "hooks", tmp_path / "gitconfig"
    hooks.mkdir()
    for name in ("pre-push", "post-index-change", "pre-receive", "update", "reference-transaction"):
        (hooks / name).write_text("#!/bin/sh\nexit 1\n")
        (hooks / name).chmod(0o755)
    config.write_text(f"[core]\n hooksPath = {hooks}\n autocrlf = true\n[commit]\n gpgSign = true\n")
    done = run("pause-trading", "--repo", str(gitops.bare), *ACT, "--pr", GIT_CONFIG_GLOBAL=str(config))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("procedure", "expected"), [("pause-trading", 0), ("restart-ta", 0), ("resume-ta", 9)])
def test_procedure_when_the_remote_cannot_be_reached_then_only_what_needs_it_waits(
    procedure: str, expected: int, run: Any, gitops: Any
) -> None:
    """A stop and a restart stand on the base as the clone last had it, say so, and can be committed on a branch."""
    gitops.git("fetch", "-q", "origin")
    gitops.git("remote", "set-url", "origin", "https://127.0.0.1:1/acme/lab.git")
    plan = run(procedure, "--repo", str(gitops.clone))
    branch = run(procedure, "--repo", str(gitops.clone), *ACT, "--branch")
    assert (plan.returncode, branch.returncode) == (expected, expected)
    assert ("as this clone last had it" in plan.stderr) == (expected == 0)


@pytest.mark.parametrize(("procedure", "expected"), [("pause-trading", 0), ("restart-ws", 0), ("resume-ta", 6)])
def test_procedure_when_the_kubeconfig_is_damaged_then_a_stop_is_planned_and_a_start_is_refused(
    procedure: str, expected: int, run: Any, gitops: Any, tmp_path: Path
) -> None:
    """What cannot be read of the cluster is advice to the one and a no to the other; never a trace."""
    gitops.replace("ta/flinkdeployment.yaml", "state: running", "state: suspended")
    broken = tmp_path / "kubeconfig"
    broken.write_text("{[")
    done = run(procedure, "--repo", str(gitops.bare), "--kubeconfig", str(broken))
    assert (done.returncode, "Traceback" in done.stderr) == (expected, False)


def test_gitops_path_when_it_leads_out_of_the_repository_then_the_option_is_named(run: Any, gitops: Any) -> None:
    """A usage error, not git's own words."""
    done = run("pause-trading", "--repo", str(gitops.bare), "--gitops-path", "../elsewhere")
    assert (done.returncode, "--gitops-path ../elsewhere" in done.stderr) == (2, True)


def test_messages_when_they_name_a_path_in_the_working_directory_then_it_is_readable(run: Any, tmp_path: Path) -> None:
    """PWD and OLDPWD are folders, not passwords: an error names the path it is about."""
    done = run("pause-trading", "--repo", str(tmp_path / "nowhere"), PWD=str(tmp_path), OLDPWD=str(tmp_path))
    assert (done.returncode, str(tmp_path / "nowhere") in done.stderr) == (2, True)


def test_branch_when_the_user_s_clone_has_hooks_then_none_of_them_runs(run: Any, gitops: Any, tmp_path: Path) -> None:
    """Whatever stands in the clone's own hooks folder, or the one its configuration names, is for its user's pushes."""
    ran, elsewhere = tmp_path / "ran", tmp_path / "elsewhere"
    elsewhere.mkdir()
    names = ("pre-receive", "update", "post-receive", "post-update", "reference-transaction", "pre-push", "pre-auto-gc")
    for folder in (gitops.clone / ".git" / "hooks", elsewhere):
        folder.mkdir(exist_ok=True)
        for name in names:
            (folder / name).write_text(f"#!/bin/sh\necho {folder}/{name} >> {ran}\nexit 1\n")
            (folder / name).chmod(0o755)
    done = run("pause-trading", "--repo", str(gitops.clone), *ACT, "--branch")
    assert (done.returncode, ran.exists()) == (0, False), done.stderr
    subprocess.run(["git", "config", "core.hooksPath", str(elsewhere)], cwd=gitops.clone, check=True)
    done = run("suspend-ta", "--repo", str(gitops.clone), *ACT, "--branch")
    assert (done.returncode, ran.exists()) == (0, False), done.stderr


@pytest.mark.slow
def test_pull_request_when_the_forge_has_hooks_then_they_are_its_rules(run: Any, gitops: Any) -> None:
    """A forge that refuses the push is heard: nothing goes round it."""
    hook = gitops.bare / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    refs = gitops.refs()
    done = [run("pause-trading", "--repo", str(gitops.bare), *ACT, effect) for effect in ("--pr", "--branch")]
    elsewhere = gitops.bare / "rules"
    elsewhere.mkdir()
    hook.rename(elsewhere / "pre-receive")
    gitops.git("config", "core.hooksPath", "rules", where=gitops.bare)
    done.append(run("pause-trading", "--repo", str(gitops.bare), *ACT, "--pr"))
    assert ([item.returncode for item in done], refs) == ([9, 9, 9], gitops.refs())


KUBECONFIG_OF_NOBODY = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "x",
    "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "x", "user": {}}],
    "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
}
PRINTED = {
    "pause-trading": ([], "resume-trading"),
    "suspend-ta": ([], "resume-ta"),
    "restart-ta": ([], None),
    "restart-ws": ([], None),
    "resume-ta": (["state: running", "state: suspended"], "suspend-ta"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PRINTED)
def test_printed_commands_when_pasted_then_they_are_commands_for_the_same_place(
    name: str, run: Any, gitops: Any, tmp_path: Path
) -> None:
    """Verification and rollback carry the options of the call, from any folder and with blanks in a path."""
    spare = tmp_path / "a folder"
    spare.mkdir()
    config = spare / "environments.yaml"
    config.write_text(yaml.safe_dump({"environments": {"lab": {}}}))
    replaced, undoing = PRINTED[name]
    if replaced:
        gitops.replace("ta/flinkdeployment.yaml", *replaced)
    away = spare / "kubeconfig"
    away.write_text(json.dumps(KUBECONFIG_OF_NOBODY))
    where = ["-e", "lab", "--config", str(config), "--repo", str(gitops.bare), "--base", "main"]
    where += ["--kubeconfig", str(away)]
    done = run(name, *where, "--gitops-path", "argocd/applications/torghut", "-o", "json")
    report = json.loads(done.stdout)
    lines = [line for key in ("verification", "rollback") for line in report[key] if line.startswith("torghutctl ")]
    assert [line for line in lines if "TEXT" in line] == []
    for line in lines:
        words = shlex.split(line)
        assert [words[words.index(option) + 1] for option in where[::2]] == where[1::2]
        again = run(*words[1:])
        assert "No such option" not in again.stderr and again.returncode != 2, again.stderr
    assert [shlex.split(line)[1] for line in report["rollback"] if line.startswith("torghutctl ")] == [
        item for item in [undoing] if item is not None
    ]


@pytest.mark.parametrize(
    "name", ["resume-trading", "resume-ta", "rollback-image", "restore-replica", "pause-trading", "restart-ws"]
)
@pytest.mark.parametrize("bundle", ["absent", "empty", "no bundle"])
def test_plan_when_the_snapshot_cannot_be_read_then_a_start_is_refused_and_a_stop_is_planned(
    bundle: str, name: str, run: Any, gitops: Any, tmp_path: Path
) -> None:
    """Evidence that cannot be read is missing evidence, for every procedure alike; the option is named."""
    gitops.replace("ta/flinkdeployment.yaml", "state: running", "state: suspended")
    old = "torghut/torghut:0.1.0"
    for number in (1, 2):
        new = f"torghut/torghut@sha256:{str(number) * 64}"
        gitops.replace("knative-service.yaml", old, new)
        old = new
    if name == "resume-trading":
        gitops.replace(
            "knative-service.yaml",
            'TRADING_ENABLED\n              value: "true"',
            'TRADING_ENABLED\n              value: "false"',
        )
    path = tmp_path / "snapshot"
    if bundle == "empty":
        path.mkdir()
    if bundle == "no bundle":
        path.write_text("no bundle")
    done = run(name, "--repo", str(gitops.bare), "--from-snapshot", str(path), "-o", "json")
    is_stop = name in ("pause-trading", "restart-ws")
    assert (done.returncode, "Traceback" in done.stderr) == (0 if is_stop else 6, False), done.stderr
    assert is_stop or str(path) in done.stderr


@pytest.mark.slow
def test_restart_ws_when_acted_on_with_the_plan_s_time_then_the_stamp_is_that_and_the_record_the_clock_s(
    run: Any, gitops: Any, tmp_path: Path
) -> None:
    """--plan needs the same --at; what the log and the commit say of when is not an option's to say."""
    at, log = "2026-03-04T15:06:07Z", tmp_path / "audit.jsonl"
    where = ("--repo", str(gitops.bare), "--audit-log", str(log), "--at", at, "-o", "json")
    planned = json.loads(run("restart-ws", *where).stdout)
    done = run("restart-ws", *where, *ACT, "--branch", "--plan", planned["digest"])
    commit = json.loads(done.stdout)["result"]["commit"]
    stamps = [json.loads(line)["at"] for line in log.read_text().splitlines()]
    assert at.encode() in gitops.read(commit, "ws/deployment.yaml")
    assert [stamp for stamp in stamps if stamp < "2026-03-05"] == []
    assert gitops.git("log", "-1", "--format=%cI", commit, where=gitops.bare) > "2026-03-05"


@pytest.mark.slow
def test_replay_status_when_nothing_can_be_read_then_5_and_each_unread_thing_is_named(run: Any, gitops: Any) -> None:
    """Unknown is not fine: the report is still written."""
    done = run("replay-ta", "status", "--repo", str(gitops.bare), "--kubeconfig", "/nowhere", "-o", "json")
    checks = json.loads(done.stdout)["checks"]
    assert (done.returncode, [check["ok"] for check in checks]) == (5, [None, None])
    assert ("the ConfigMap torghut-ta-config" in done.stderr, "the FlinkDeployment" in done.stderr) == (True, True)


def test_pause_when_a_switch_is_shared_then_the_setting_and_what_it_is_shared_with_are_named(
    run: Any, empty_gitops: Any
) -> None:
    """An anchor or a merge key ties it to something else: that file is left as it is, the others are planned."""
    container = (
        b"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: second}\nspec: {template: {spec: {containers: "
    )
    made = empty_gitops(
        {
            "knative-service.yaml": KSERVICE,
            "anchored.yaml": container
            + b"[{name: main, env: [{name: TRADING_ENABLED, value: &on 'true'}, {name: OTHER, value: *on}]}]}}}\n",
            "merged.yaml": b"x: &base {name: TRADING_ENABLED, value: 'true'}\n"
            + container
            + b"[{name: main, env: [{<<: *base}]}]}}}\n",
        }
    )
    done = run("pause-trading", "--repo", str(made.bare), "-o", "json")
    folder = "argocd/applications/torghut"
    assert (done.returncode, [file["path"] for file in json.loads(done.stdout)["files"]]) == (
        6,
        [f"{folder}/knative-service.yaml"],
    )
    place = "spec.template.spec.containers[0].env[1].value"
    assert (
        f"{folder}/anchored.yaml: TRADING_ENABLED of Deployment second: an edit would change {place} too" in done.stderr
    )
    assert f"{folder}/merged.yaml: TRADING_ENABLED of " in done.stderr
    assert done.stderr.count("through an anchor or a merge key") >= 2


@pytest.mark.slow
def test_stop_when_it_is_not_on_record_and_the_wait_fails_then_both_are_told(
    run: Any, gitops: Any, tmp_path: Path
) -> None:
    """Whatever ends the command, the gap in the log is never silent."""
    away = tmp_path / "kubeconfig"
    away.write_text(json.dumps(KUBECONFIG_OF_NOBODY))
    where = ("--repo", str(gitops.bare), "--audit-log", str(tmp_path), "--kubeconfig", str(away))
    done = run("pause-trading", *where, *ACT, "--pr", "--wait", "--timeout", "0s")
    assert (done.returncode, "it is not on record" in done.stderr, "the merge: not so" in done.stderr) == (
        8,
        True,
        True,
    )
