"""The references are what the code says, and the topics that are shipped are the code's."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fakes.desk_scenes import SCENES
from torghut_core.topics import ALL
from torghutctl.procedures.catalogue import SPECS
from torghutctl.render.schemas import VERSIONS

ROOT = Path(__file__).resolve().parents[2]


def _script(name: str) -> Any:
    found = spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert found is not None and found.loader is not None
    module = module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module


def test_pages_when_written_then_the_stored_ones_are_the_same() -> None:
    """Run scripts/write_reference.py after a setting, a topic or a table changed."""
    module = _script("write_reference")
    stored = {path.name: path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md")}
    assert module.pages() == stored
    schemas = {path.name: path.read_text() for path in (ROOT / "docs" / "schemas").glob("*.json")}
    assert module.schemas() == schemas


_NO_REPORTS = {"torghut.alert/v1", "torghut.local/v1", "torghut.snapshot/v1"}
"""Versions of what is written elsewhere than on standard output: an alert, the state of `up`, a bundle's manifest."""


def test_schemas_when_the_code_names_a_version_then_it_is_published() -> None:
    """A command whose report has no schema is found here, before anybody reads it by program."""
    named: set[str] = set()
    for package in ("torghutctl", "torghut_core"):
        for path in (ROOT / package).rglob("*.py"):
            named |= set(re.findall(r"torghut\.[a-z-]+/v[0-9]+", path.read_text()))
    assert named - _NO_REPORTS == set(VERSIONS)


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


_PAGES = {path.stem: path for path in sorted((ROOT / "docs" / "procedures").glob("*.md"))}
_FIRST_OF_LITERAL = (
    "$ ",
    "digest ",
    "  torghutctl ",
    "next: ",
    "follow it: ",
    "  pod ",
    "diff ",
    "--- ",
    "+++ ",
    "+",
    "-",
    " ",
)
"""How a line of a terminal begins that is left as it is: what is pasted, and a diff."""


@pytest.mark.e2e
@pytest.mark.parametrize(
    "name",
    [pytest.param(s.name, marks=[pytest.mark.kafka] if s.needs_kafka else []) for s in SCENES.values()],
)
def test_transcript_when_driven_again_then_the_page_is_the_same(name: str) -> None:
    """Run scripts/write_transcripts.py after what a command prints, or a manifest, has changed."""
    assert _script("write_transcripts").page(name) == _PAGES[name].read_text()


def test_transcripts_when_listed_then_each_procedure_has_its_page() -> None:
    """A new procedure is driven before anybody else does."""
    assert set(_PAGES) - {"index"} == set(SCENES)
    assert set(SPECS) <= set(SCENES)


@pytest.mark.parametrize("name", [name for name in _PAGES if name != "index"])
def test_transcript_when_read_at_80_columns_then_only_what_is_pasted_is_wider(name: str) -> None:
    """A sentence that a terminal breaks in the middle of a word is one that nobody wrapped."""
    blocks = re.findall(r"^```text\n(.*?)^```$", _PAGES[name].read_text(), re.M | re.S)
    wide = [line for block in blocks for line in block.splitlines() if len(line) > 80]
    assert [line for line in wide if not line.startswith(_FIRST_OF_LITERAL)] == []


@pytest.mark.e2e
def test_site_when_built_then_every_link_leads_somewhere(tmp_path: Path) -> None:
    """The pages by hand and the written ones, strictly: a page, an anchor or a file that is gone fails the build."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "reference" / "commands.html").exists()
