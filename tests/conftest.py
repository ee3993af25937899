"""Every test runs with a scrubbed environment and no network but loopback (pytest-socket, see pyproject.toml)."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_OURS = re.compile(
    r"^(TORGHUT|TA|TRADING|LLM|KAFKA|ALPACA|APCA|JANGAR|DB|DATABASE|CLICKHOUSE|CH|TOPIC|GITHUB|GH|KUBE|AWS|SYMBOLS|FEED)(_|$)"
)


@pytest.fixture(autouse=True)
def scrubbed_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Remove every variable a runtime or a client would read, and point HOME at an empty folder."""
    for name in list(os.environ):
        if _OURS.match(name) or "TOKEN" in name:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("XDG_CONFIG_HOME", os.environ["HOME"] + "/.config")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "110")


@pytest.fixture
def engine_folder() -> Iterator[Path]:
    """A folder for an embedded PostgreSQL, outside pytest's own.

    As root the server runs as another user, and every pytest that starts locks others out of its base folder again.
    """
    with tempfile.TemporaryDirectory(prefix="torghut-engine-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
