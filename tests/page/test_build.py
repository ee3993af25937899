"""What the wheel ships of the page is what its sources build."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.page.browser import ROOT, missing

_SHIPPED = ROOT / "torghut_core" / "visuals" / "static"


@pytest.mark.e2e
def test_build_when_run_then_every_file_is_what_is_shipped(tmp_path: Path) -> None:
    """A page changed without `make page`, or files changed by hand, would ship what nobody can build."""
    node = shutil.which("node")
    if node is None or not (ROOT / "page" / "node_modules" / "esbuild").is_dir():
        missing("no Node, or the page's packages are not installed: `make page` needs npm")
    subprocess.run([str(node), "build.mjs", str(tmp_path)], cwd=ROOT / "page", check=True, timeout=120)
    built = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    shipped = {path.name: path.read_bytes() for path in _SHIPPED.iterdir()}
    assert sorted(built) == sorted(shipped)
    assert [name for name in built if built[name] != shipped[name]] == []


def test_shipped_when_read_then_no_file_names_another_host_to_load_from() -> None:
    """Scripts and styles come from the own origin; the licences of what is built in are there."""
    for name in ("index.html", "docs.html", "page.css"):
        text = (_SHIPPED / name).read_text()
        assert [
            mark
            for mark in ('src="http', 'src="//', "@import", "url(http", '<link rel="stylesheet" href="http')
            if mark in text
        ] == []
    licences = (_SHIPPED / "licences.txt").read_text()
    assert [name for name in ("lightweight-charts", "fancy-canvas", "swagger-ui-dist") if name not in licences] == []
    assert "TradingView" in (_SHIPPED / "index.html").read_text()
