"""The references are what the code says, and the topics that are shipped are the code's."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import yaml

from torghut_core.topics import ALL

ROOT = Path(__file__).resolve().parents[2]


def test_pages_when_written_then_the_stored_ones_are_the_same() -> None:
    """Run scripts/write_reference.py after a setting, a topic or a table changed."""
    found = spec_from_file_location("write_reference", ROOT / "scripts" / "write_reference.py")
    assert found is not None and found.loader is not None
    module: Any = module_from_spec(found)
    found.loader.exec_module(module)
    stored = {path.name: path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md")}
    assert module.pages() == stored
    schemas = {path.name: path.read_text() for path in (ROOT / "docs" / "schemas").glob("*.json")}
    assert module.schemas() == schemas


def test_topics_when_shipped_then_they_are_the_codes() -> None:
    """Names, partitions, retention and clean-up of every KafkaTopic."""
    documents = list(yaml.safe_load_all((ROOT / "manifests" / "kafka" / "torghut-topics.yaml").read_text()))
    shipped = {
        item["metadata"]["name"]: (
            item["spec"]["partitions"],
            item["spec"]["config"]["retention.ms"],
            item["spec"]["config"]["cleanup.policy"],
        )
        for item in documents
    }
    wanted = {t.name: (t.partitions, t.retention_ms, "compact,delete" if t.is_compacted else "delete") for t in ALL}
    assert shipped == wanted


@pytest.mark.e2e
def test_site_when_built_then_every_link_leads_somewhere(tmp_path: Path) -> None:
    """The pages by hand and the written ones, strictly: a page, an anchor or a file that is gone fails the build."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "reference" / "commands.html").exists()
