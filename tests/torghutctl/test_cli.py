"""The program as a whole: light help, every command documented, errors as one line with the right exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from torghutctl.cli import COMMANDS, LazyCommand

HEAVY = [
    "kubernetes",
    "github",
    "git",
    "clickhouse_connect",
    "chdb",
    "psycopg",
    "sqlalchemy",
    "alpaca",
    "aiokafka",
    "confluent_kafka",
    "websockets",
    "numpy",
    "pandas",
    "fastapi",
    "pydantic",
    "httpx",
]
ROOT = Path(__file__).resolve().parents[2]


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "torghutctl", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=inherited | {"NO_COLOR": "1", "COLUMNS": "110"} | environment,
    )


def test_help_when_shown_then_no_heavy_module_is_imported() -> None:
    """`--help` and completion read the table alone."""
    code = (
        "import sys; from typer.testing import CliRunner; from torghutctl.cli import app;"
        "result = CliRunner().invoke(app, ['--help']); assert result.exit_code == 0, result.output;"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_command_when_help_is_asked_then_it_teaches(name: str) -> None:
    """Every command in the table loads, and says more than its name."""
    command = LazyCommand(name, *COMMANDS[name]).load()
    assert command.name == name
    assert len(command.help or "") > 40
    assert typer.main.get_command is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "environment", "code", "words"),
    [
        (("nonsense",), {}, 2, "No such command 'nonsense'"),
        (
            ("health-report", "-o", "xml"),
            {},
            2,
            "error: --output='xml': is not one of 'table', 'markdown', 'json', 'yaml'\n",
        ),
        (("demo", "--speed", "x"), {}, 2, "error: --speed='x': must be a valid number"),
        (("demo", "--spede", "1"), {}, 2, "error: No such option: --spede"),
        (("--nope",), {}, 2, "error: No such option: --nope\n"),
        (("run", "ws"), {"ALPACA_FEED": "bogus"}, 2, "ALPACA_FEED='bogus': must be"),
        (("run", "ta"), {"TA_MAX_OUT_OF_ORDER_MS": "soon"}, 2, "TA_MAX_OUT_OF_ORDER_MS='soon': must be"),
        (
            ("run", "ta"),
            {"TA_GROUP_ID": "torghut-ta-replay-1"},
            2,
            "TA_AUTO_OFFSET_RESET='latest' would replay nothing",
        ),
        (("run", "visuals"), {"VISUALS_PORT": "99999"}, 2, "VISUALS_PORT='99999'"),
        (("run", "guardrails"), {}, 2, "TA_CLICKHOUSE_URL: must be set"),
        (("run", "trading"), {"TRADING_MODE": "yolo"}, 2, "TRADING_MODE='yolo'"),
        (("up", "--dir", "{tmp}"), {}, 2, "APCA_API_KEY_ID, APCA_API_SECRET_KEY: must be set"),
        (("up", "--dir", "{tmp}"), {"TRADING_MODE": "live"}, 2, "TRADING_MODE='live': up trades on paper only"),
        (("demo", "--dir", "{tmp}", "--replay", "/nowhere.ndjson"), {}, 2, "--replay=/nowhere.ndjson: no such file"),
        (("demo", "--dir", "{tmp}", "--speed", "-3"), {}, 2, "--speed=-3: must be above 0"),
    ],
)
def test_command_when_input_is_wrong_then_one_line_and_exit_code(
    arguments: tuple[str, ...], environment: dict[str, str], code: int, words: str, tmp_path: Path
) -> None:
    """Variable or option, value and rule; never a traceback."""
    done = _run(*(each.replace("{tmp}", str(tmp_path / "d")) for each in arguments), **environment)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "d").exists(), "what refuses leaves nothing behind"


def test_module_when_run_then_the_same_program() -> None:
    """`python -m torghutctl` is torghutctl."""
    done = _run("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)


def test_version_when_asked_then_it_is_the_installed_one() -> None:
    """What a bug report needs."""
    from importlib.metadata import version

    done = _run("--version")
    assert (done.returncode, done.stdout) == (0, f"torghutctl {version('torghut')}\n")


def test_demo_when_its_folder_is_taken_then_exit_2_names_it(tmp_path: Path) -> None:
    """A second demo in one folder, and a folder with other contents, are refused untouched."""
    from torghutctl.onemachine.folder import held

    with held(tmp_path / "demo"):
        done = _run("demo", "--dir", str(tmp_path / "demo"))
    assert (done.returncode, "another up or demo runs in this folder" in done.stderr) == (2, True)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years of work")
    done = _run("demo", "--dir", str(precious))
    assert (done.returncode, "has contents that are not of a local system" in done.stderr) == (2, True)
    assert (precious / "thesis.tex").read_text() == "years of work"


def test_port_when_in_use_then_variable_and_port_are_named(tmp_path: Path) -> None:
    """One clear line, exit 2."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = _run("run", "visuals", VISUALS_PORT=str(port), TORGHUT_HTTP_HOST="127.0.0.1", HOME=str(tmp_path))
    assert done.returncode == 2
    assert f"VISUALS_PORT={port}: cannot listen on 127.0.0.1:{port}" in done.stderr


def test_bug_when_it_happens_then_exit_1_and_no_secret_in_its_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody expected is said to be a bug; what its message quotes is masked."""
    from typer.testing import CliRunner

    from torghutctl import cli

    def broken(self: LazyCommand) -> None:
        raise KeyError("postgresql://user:hunter22@db/torghut")

    monkeypatch.setattr(LazyCommand, "load", broken)
    result = CliRunner().invoke(cli.app, ["status"])
    assert result.exit_code == 1
    assert "a bug in torghutctl (KeyError)" in result.output
    assert "hunter22" not in result.output


@pytest.mark.slow
def test_command_when_interrupted_then_exit_130_at_once(tmp_path: Path) -> None:
    """Ctrl-C while a cluster does not answer: no wait, no trace, and not the exit code of a bug."""
    import signal
    import socket

    silent = socket.create_server(("127.0.0.1", 0))
    config = tmp_path / "kubeconfig"
    config.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        f"clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{silent.getsockname()[1]}'}}}}]\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {token: t}}]\n"
    )
    # Whoever runs the tests in the background ignores the signal, and a child inherits that.
    line = ["env", "--default-signal=INT", sys.executable, "-m", "torghutctl", "health-report"]
    line += ["--kubeconfig", str(config)]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    with silent, silent.accept()[0]:
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in errors
