"""Where compiled kernels go when a package is read-only and its user homeless."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from torghut_core import compile_cache


@pytest.fixture
def nobody_may_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write everywhere, so the answer is made."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)


@pytest.mark.usefixtures("nobody_may_write")
def test_cache_when_neither_package_nor_home_can_be_written_then_a_private_folder_is_named(tmp_path: Path) -> None:
    """The same one at every start, so that kernels are compiled once."""
    named = []
    for _ in range(2):
        environment = {"HOME": "/nonexistent"}
        compile_cache.place(environment, tmp_path, tmp_path)
        named.append(Path(environment[compile_cache.VARIABLE]))
    assert named[0] == named[1]
    assert named[0].stat().st_mode & 0o777 == 0o700


@pytest.mark.usefixtures("nobody_may_write")
def test_cache_when_others_may_write_the_folder_then_it_is_not_used(tmp_path: Path) -> None:
    """Whoever can put a file there could run code here."""
    taken = tmp_path / f"torghut-compiled-{os.getuid()}"
    taken.mkdir()
    taken.chmod(0o777)
    environment: dict[str, str] = {}
    compile_cache.place(environment, tmp_path, tmp_path)
    assert environment[compile_cache.VARIABLE] != str(taken)
    assert Path(environment[compile_cache.VARIABLE]).is_dir()


def test_cache_when_it_is_named_or_the_package_can_be_written_then_nothing_changes(tmp_path: Path) -> None:
    """A user's choice stands, and so does numba's own."""
    given = {compile_cache.VARIABLE: "/elsewhere"}
    compile_cache.place(given, tmp_path, tmp_path)
    empty: dict[str, str] = {}
    compile_cache.place(empty, tmp_path, tmp_path)
    assert (given, empty) == ({compile_cache.VARIABLE: "/elsewhere"}, {})
