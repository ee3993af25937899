"""PyFlink, where it is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from torghut_core.ta.flink.versions import CONNECTOR_JAR

FLINK = Path(__file__).resolve().parents[4] / ".flink"


@pytest.fixture(scope="session")
def flink() -> Path:
    """The folder of `make flink`; without it the tests are skipped, in CI they fail."""
    if (FLINK / "lib-flink" / CONNECTOR_JAR).exists() and shutil.which("java") is not None:
        return FLINK
    reason = "PyFlink is not here: run `make flink` (needs Java 17 and Maven)"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
