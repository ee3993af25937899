"""`trading new-strategy`: a package whose test runs, and names and folders that are refused."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from torghut_core.clock import SystemClock
from torghut_core.trading.isolation import OpenLibrary
from torghut_core.trading.strategies.catalogue import read_catalogue
from torghut_core.trading.strategies.judgement import ask
from torghut_core.trading.strategies.library import load_rules
from torghut_core.trading.strategies.rule import View
from torghut_core.trading.strategies.shipped import SHIPPED
from torghut_core.trading.strategies.trial import bars
from torghutctl.cli import app


def _run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["trading", "new-strategy", *arguments])


@pytest.mark.slow
def test_new_strategy_when_written_then_its_test_runs_and_its_catalogue_trades_it(tmp_path: Path) -> None:
    """Every file, what to do next, a decision table that passes, and an entry point that leads to the rule."""
    folder = tmp_path / "deep" / "mine"
    done = _run("vwap-cross", str(folder))
    assert done.exit_code == 0
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    names = {"pyproject.toml", "README.md", "catalogue.yaml", "src/vwap_cross/__init__.py", "tests/test_vwap_cross.py"}
    assert written == names
    assert {str(folder / name) for name in names} == set(done.stdout.split())
    assert f"TRADING_STRATEGY_CONFIG_PATH={folder}/catalogue.yaml torghutctl up" in done.stderr
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=120,
    )
    assert (tested.returncode, "8 passed" in tested.stdout) == (0, True), tested.stdout
    import tomllib

    points = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"]["torghut.strategies"]
    packages = [EntryPoint(name=name, value=value, group="torghut.strategies") for name, value in points.items()]
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    library = OpenLibrary(SHIPPED, clock=SystemClock(), seconds=60, environment=environment, packages=packages)
    rules, faults = load_rules(read_catalogue(folder / "catalogue.yaml", library), library)
    assert faults == {}
    window = bars(close=[99.0, 101.0], vwap_session=100.0, rsi14=40.0)
    try:
        assert [each.side for each in ask(rules["vwap-cross"], View(window))] == ["buy"]
    finally:
        rules["vwap-cross"].close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Mine", "must be 1 to 50 lower-case"),
        ("-mine", "No such option"),
        ("mine-", "must be 1 to 50 lower-case"),
        ("a--b", "must be 1 to 50 lower-case"),
        ("../mine", "must be 1 to 50 lower-case"),
        ("a" * 51, "must be 1 to 50 lower-case"),
        ("macd-rsi", "is the name of a rule that ships"),
        ("conditions", "is the name of a rule that ships"),
        ("json", "its module json would hide"),
        ("import", "its module import would hide"),
    ],
)
def test_new_strategy_when_the_name_is_bad_then_exit_2_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    """Named with its rule."""
    monkeypatch.chdir(tmp_path)
    done = _run(name)
    assert done.exit_code == 2
    assert said in done.output or said in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_new_strategy_when_the_folder_exists_then_it_is_left_alone(tmp_path: Path) -> None:
    """Also an empty one, and a file in its place."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("mine")
    for place in ("empty", "file"):
        done = _run("vwap-cross", str(tmp_path / place))
        assert done.exit_code == 2
        assert "exists already" in done.output + str(done.exception)
    assert list((tmp_path / "empty").iterdir()) == []
    assert (tmp_path / "file").read_text() == "mine"
    done = _run("vwap-cross", str(tmp_path / "file" / "below"))
    assert (done.exit_code, "cannot be written" in done.output + str(done.exception)) == (2, True)
