"""A release is a command, and what it builds runs where nothing of the checkout is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from datetime import date
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]


def _script(name: str) -> Any:
    """Return a script as a module."""
    found = spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert found is not None and found.loader is not None
    module: Any = module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def release() -> Any:
    """The script as a module."""
    return _script("release")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small project with two fragments."""
    (tmp_path / "changelog").mkdir()
    (tmp_path / "changelog" / "README.md").write_text("how\n")
    (tmp_path / "changelog" / "b.md").write_text("Second thing.\n")
    (tmp_path / "changelog" / "a.md").write_text("- First thing.\n- And another.\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "0.1.0"\n')
    return tmp_path


def test_release_when_written_then_version_section_and_no_fragment_is_left(release: Any, tree: Path) -> None:
    """The newest section stands on top, and the older ones stay."""
    (tree / "CHANGELOG.md").write_text("# Changelog\n\n## 0.1.0 (2026-01-02)\n\n- Begun.\n")
    assert release.check(tree, "0.2.0") == "0.1.0"
    release.write(tree, "0.2.0", date(2026, 11, 29))
    assert (tree / "CHANGELOG.md").read_text() == (
        "# Changelog\n\n## 0.2.0 (2026-11-29)\n\n- First thing.\n- And another.\n- Second thing.\n"
        "\n## 0.1.0 (2026-01-02)\n\n- Begun.\n"
    )
    assert 'version = "0.2.0"' in (tree / "pyproject.toml").read_text()
    assert [path.name for path in (tree / "changelog").iterdir()] == ["README.md"]


@pytest.mark.parametrize(
    ("version", "words"),
    [("0.1.0", "must be above 0.1.0"), ("0.0.9", "must be above"), ("v1", "must be three numbers")],
)
def test_release_when_the_version_cannot_be_then_refused_by_name(
    version: str, words: str, release: Any, tree: Path
) -> None:
    """Nothing is written."""
    with pytest.raises(release.ReleaseError, match=words):
        release.check(tree, version)
    (tree / "changelog" / "a.md").unlink()
    (tree / "changelog" / "b.md").unlink()
    with pytest.raises(release.ReleaseError, match="nothing to release"):
        release.check(tree, "9.0.0")


@pytest.mark.e2e
@pytest.mark.timeout(1200)
def test_wheel_when_installed_without_the_checkout_then_report_templates_demo_and_the_guide_run(
    release: Any, engine_folder: Path
) -> None:
    """What a user of the wheel has: every asset inside, the demo, and the guide to a strategy of one's own, by its letter."""
    source = engine_folder / "source"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, tracked.decode().split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name)
    sdist, wheel = sorted(release.build(source, engine_folder / "dist"), key=lambda path: path.suffix)
    assert (sdist.suffix, wheel.suffix) == (".gz", ".whl")
    shutil.rmtree(source)
    home = engine_folder / "home"
    home.mkdir()
    venv.create(home / "venv", with_pip=True)
    python = home / "venv" / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", f"{wheel}[runtime,embedded]"]
    subprocess.run(list(map(str, pip)), check=True, cwd=home)

    def run(*words: str) -> tuple[int, str]:
        environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
        call = [str(home / "venv" / "bin" / "torghutctl"), *words]
        done = subprocess.run(call, cwd=home, env=environment, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout

    assert run("runbook", "kafka-recovery")[1].startswith("# Kafka recovery")
    assert run("agentruns", "render", "agents")[1].count("kind: AgentProvider") > 1
    assert run("health-report", "--why", "ta_stalled")[0] == 0
    assert json.loads(run("env", "list", "-o", "json")[1])["environments"] == []
    code, said = run("demo", "--dir", str(home / "demo"))
    assert code == 0, said
    simulator_port, page_port = free_ports(2)
    walked = _script("write_walk").walk(home / "venv", home, simulator_port=simulator_port, page_port=page_port)
    words = ["messages written", "vwap_cross", "", "8 passed", "decisions", "listens on", "filled", "vwap-cross"]
    assert [word for step, word in zip(walked, words, strict=True) if word not in step.shown] == []
