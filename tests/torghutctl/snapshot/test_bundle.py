"""Bundles: the same bytes each time, and nothing that is not a whole one is judged."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.fakes import direct_reading
from tests.fakes import torghut_cluster as base
from torghutctl.cli import app
from torghutctl.errors import InputError
from torghutctl.snapshot import bundle


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle of the healthy system, and beside it the same as an archive."""
    path = tmp_path_factory.mktemp("whole") / "bundle"
    snapshot = direct_reading.read(base.healthy(), base.NOW)
    bundle.write(snapshot, path, "PATH")
    bundle.write(snapshot, path.with_suffix(".tar.gz"), "PATH")
    return path


def _copy(whole: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(whole, tmp_path / "bundle"))


def _edit(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Edit the index and leave its digest as it is."""

    def apply(folder: Path) -> None:
        index = json.loads((folder / "snapshot.json").read_text())
        change(index)
        (folder / "snapshot.json").write_text(json.dumps(index))

    return apply


def _index(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Edit the index and its digest: what another version might have written, whole in itself."""

    def apply(folder: Path) -> None:
        index = json.loads((folder / "snapshot.json").read_text())
        change(index)
        index.pop("sha256", None)
        text = json.dumps(index, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        index["sha256"] = hashlib.sha256(text.encode()).hexdigest()
        (folder / "snapshot.json").write_text(json.dumps(index))

    return apply


def _drop(index: dict[str, Any], source: str) -> None:
    del index["readings"][source]


def _text(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


_CHANGED = "snapshot.json was changed after it was written"
DAMAGE = {
    "index-cut": (_text("snapshot.json", "{"), "snapshot.json is not JSON"),
    "index-deep": (_text("snapshot.json", "[" * 100_000), "snapshot.json is not JSON"),
    "index-list": (_text("snapshot.json", "[]"), "schemaVersion must be torghut.snapshot/v1"),
    "newer": (_index(lambda index: index.update(schemaVersion="torghut.snapshot/v2")), "schemaVersion must be"),
    "target": (_index(lambda index: index.update(target="moon")), "target must be one of cluster, local"),
    "names": (_index(lambda index: index.update(names=[])), "snapshot.json is incomplete"),
    "time": (_index(lambda index: index.update(observedAt=5)), "snapshot.json is incomplete"),
    "failure": (_index(lambda index: index["readings"].update(pods={"failure": "bored"})), "is incomplete"),
    "entry": (_index(lambda index: index["readings"].update(pods=5)), "is incomplete"),
    "source": (
        _index(lambda index: index["readings"].update({"no/such": {"failure": "timeout"}})),
        "names the unknown source 'no/such'",
    ),
    "elsewhere": (
        _index(lambda index: index["readings"].update(pods={"file": "../../etc/passwd", "sha256": ""})),
        "has no ../../etc/passwd",
    ),
    "index-time": (_edit(lambda index: index.update(observedAt="2026-02-14T15:30:00Z")), _CHANGED),
    "index-target": (_edit(lambda index: index.update(target="local")), _CHANGED),
    "index-name": (_edit(lambda index: index["names"].update(service="other")), _CHANGED),
    "index-reading-cut": (_edit(lambda index: _drop(index, "trading/service")), _CHANGED),
    "index-reading-excused": (
        _edit(lambda index: index["readings"].update({"keeper/installation": {"failure": "not_present"}})),
        _CHANGED,
    ),
    "index-added-key": (_edit(lambda index: index.update(note="checked by me")), _CHANGED),
    "index-without-digest": (_edit(lambda index: index.pop("sha256")), _CHANGED),
    "index-digest": (_edit(lambda index: index.update(sha256="0" * 64)), _CHANGED),
    "index-nan": (_edit(lambda index: index.update(observedAt=float("nan"))), "snapshot.json is incomplete"),
    "spare-file": (
        _text("readings/nobody.json", "[]"),
        "holds 'readings/nobody.json', which snapshot.json does not name",
    ),
    "spare-reading": (
        _index(lambda index: _drop(index, "pods")),
        "holds 'readings/pods.json', which snapshot.json does not name",
    ),
    "missing": (lambda folder: (folder / "readings" / "pods.json").unlink(), "has no readings/pods.json"),
    "emptied": (_text("readings/clickhouse/gauges.json", "[]"), "gauges.json was changed after it was written"),
    "edited": (_text("readings/pods.json", "[]\n"), "readings/pods.json was changed after it was written"),
    "no-json": (_text("readings/pods.json", "pods"), "readings/pods.json is not JSON"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_health_report_when_bundle_is_damaged_then_exit_2_says_how(name: str, whole: Path, tmp_path: Path) -> None:
    """Whatever was cut, edited or comes from another version is refused with a sentence, never judged."""
    damage, words = DAMAGE[name]
    folder = _copy(whole, tmp_path)
    damage(folder)
    result = CliRunner().invoke(app, ["health-report", "--from-snapshot", str(folder)])
    assert (2, f"--from-snapshot {folder}" in result.stderr, words in result.stderr) == (
        result.exit_code,
        True,
        True,
    ), result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "reading", ["pods", "argocd/application", "ta/flinkdeployment", "postgres/cluster", "operator"]
)
@pytest.mark.parametrize("value", [None, 5, "x", [5], {"x": 1}])
@pytest.mark.parametrize("command", ["health-report", "status"])
def test_command_when_a_reading_has_another_shape_then_exit_2_and_no_traceback(
    command: str, reading: str, value: Any, whole: Path, tmp_path: Path
) -> None:
    """A bundle of another version, whole in itself, is refused or judged, and never a crash of this program."""
    folder = _copy(whole, tmp_path)
    content = (json.dumps(value) + "\n").encode()
    path = folder / "readings" / f"{reading}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    entry = {"file": f"readings/{reading}.json", "sha256": hashlib.sha256(content).hexdigest()}
    _index(lambda index: index["readings"].update({reading: entry}))(folder)
    result = CliRunner().invoke(app, [command, "--from-snapshot", str(folder)])
    assert result.exit_code in (0, 2, 3, 4, 5)
    assert "Traceback" not in result.stderr


def _archive(path: Path, members: list[tuple[str, bytes]], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size, entry.type = (len(content), kind) if kind == tarfile.REGTYPE else (0, kind)
            entry.linkname = "/etc/passwd" if kind == tarfile.SYMTYPE else ""
            archive.addfile(entry, io.BytesIO(content))
    return path


def _members(whole: Path) -> list[tuple[str, bytes]]:
    return [(path.relative_to(whole).as_posix(), path.read_bytes()) for path in whole.rglob("*.json")]


@pytest.mark.parametrize(
    "name", ["../evil.json", "/abs.json", "readings/../../evil.json", "notes.txt", "snapshot.json"]
)
def test_read_when_archive_holds_something_else_then_refused(name: str, whole: Path, tmp_path: Path) -> None:
    """A member that leads elsewhere, that no bundle has, or that is there twice is named, and nothing is unpacked."""
    path = _archive(tmp_path / "b.tar.gz", [*_members(whole), (name, b"{}")])
    with pytest.raises(InputError, match=r"--from-snapshot .* holds"):
        bundle.read(path)
    assert [path] == list(tmp_path.iterdir())


def test_read_when_archive_holds_a_link_then_refused(tmp_path: Path) -> None:
    """A link is no file."""
    path = _archive(tmp_path / "b.tar.gz", [("snapshot.json", b"")], tarfile.SYMTYPE)
    with pytest.raises(InputError, match="which no bundle has"):
        bundle.read(path)


@pytest.mark.parametrize("cut", [1, 4, 8, 200])
def test_read_when_archive_is_cut_then_refused(cut: int, whole: Path, tmp_path: Path) -> None:
    """A file that lost its last bytes is noticed, even where every member is whole."""
    path = tmp_path / "b.tar.gz"
    path.write_bytes(whole.with_suffix(".tar.gz").read_bytes()[:-cut])
    with pytest.raises(InputError, match="cannot be read"):
        bundle.read(path)


def test_read_when_a_bit_flips_then_refused(whole: Path, tmp_path: Path) -> None:
    """Damage anywhere in the archive is noticed."""
    good = whole.with_suffix(".tar.gz").read_bytes()
    for place in range(20, len(good) - 1, max(1, len(good) // 25)):
        path = tmp_path / "b.tar.gz"
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x10]) + good[place + 1 :])
        with pytest.raises(InputError):
            bundle.read(path)


def test_read_when_archive_unpacks_to_too_much_then_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file that unpacks to a huge one is not unpacked."""
    monkeypatch.setattr(bundle, "MAX_ARCHIVE_BYTES", 1000)
    path = tmp_path / "b.tar.gz"
    path.write_bytes(gzip.compress(b"\0" * 5000))
    with pytest.raises(InputError, match="larger than a bundle can be"):
        bundle.read(path)


def test_read_when_folder_or_archive_then_the_same_snapshot(whole: Path) -> None:
    """Both forms hold the same."""
    assert bundle.read(whole) == bundle.read(whole.with_suffix(".tar.gz"))
