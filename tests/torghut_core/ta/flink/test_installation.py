"""What `run ta --engine flink` looks at before it starts anything: each thing that is not right in one clear line."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from torghut_core.errors import ConfigurationError
from torghut_core.settings import load
from torghut_core.ta.flink.installation import OWN_JAR, check_shared_python, find_installation
from torghut_core.ta.flink.service import check
from torghut_core.ta.flink.versions import CONNECTOR, CONNECTOR_JAR, CONNECTOR_SHA256, FLINK, JAVA
from torghut_core.ta.settings import TaSettings

ROOT = Path(__file__).resolve().parents[4]


def java(folder: Path, says: str, code: int = 0) -> dict[str, str]:
    """Return an environment whose Java says its version so."""
    tool = folder / "java"
    folder.mkdir(exist_ok=True)
    tool.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit {code}\n")
    tool.chmod(0o755)
    return {"PATH": str(folder)}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder as `make flink` leaves it, with a connector of its own."""
    folder = tmp_path / "flink"
    (folder / "lib" / "python3.11").mkdir(parents=True)
    for name, text in (
        ("bin/python", ""),
        (f"lib-flink/{CONNECTOR_JAR}", "connector"),
        (f"lib-flink/{OWN_JAR}", "own"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


SHA256 = hashlib.sha256(b"connector").hexdigest()
GOOD = 'openjdk version "17.0.15" 2025-04-15'


def test_installation_when_all_is_there_then_it_is_found(tmp_path: Path, here: Path) -> None:
    """Python and both jars, as absolute paths."""
    found = find_installation(here, java(tmp_path / "java", GOOD), SHA256)
    assert found.python == here / "bin" / "python"
    assert [jar.name for jar in found.jars] == [CONNECTOR_JAR, OWN_JAR]
    assert found.log_folder == here / "lib/python3.11/site-packages/pyflink/log"


@pytest.mark.parametrize(
    ("says", "code", "line"),
    [
        ('openjdk version "25.0.1" 2025-10-21', 0, f"java is version 25, Flink {FLINK} needs Java {JAVA}"),
        ('java version "1.8.0_462"', 0, f"java is version 8, Flink {FLINK} needs Java {JAVA}"),
        ("what?", 0, "does not say its version"),
        (GOOD, 1, "does not run"),
    ],
)
def test_installation_when_java_is_not_the_right_one_then_it_is_said(
    tmp_path: Path, here: Path, says: str, code: int, line: str
) -> None:
    """The version that is there and the one that is needed."""
    with pytest.raises(ConfigurationError, match=re.escape(line)):
        find_installation(here, java(tmp_path / "java", says, code), SHA256)


def test_installation_when_there_is_no_java_then_it_is_said(tmp_path: Path, here: Path) -> None:
    """Neither on the path nor where JAVA_HOME says."""
    with pytest.raises(ConfigurationError, match=rf"PATH: has no java, Flink {FLINK} needs Java {JAVA}"):
        find_installation(here, {"PATH": str(tmp_path)}, SHA256)
    with pytest.raises(ConfigurationError, match="JAVA_HOME='/nowhere': /nowhere/bin/java does not run"):
        find_installation(here, {"PATH": str(tmp_path), "JAVA_HOME": "/nowhere"}, SHA256)


@pytest.mark.parametrize(
    ("missing", "line"),
    [
        ("bin/python", f"has no Python with PyFlink {FLINK}"),
        (f"lib-flink/{CONNECTOR_JAR}", "the Kafka connector of Flink is not there"),
        (f"lib-flink/{OWN_JAR}", "the job's own jar is not there"),
    ],
)
def test_installation_when_a_part_is_missing_then_it_is_named(
    tmp_path: Path, here: Path, missing: str, line: str
) -> None:
    """The path, what should be there, and how it is made."""
    (here / missing).unlink()
    with pytest.raises(ConfigurationError, match=re.escape(line)) as failed:
        find_installation(here, java(tmp_path / "java", GOOD), SHA256)
    assert "make flink" in str(failed.value.hint)


def test_installation_when_the_connector_is_another_then_it_is_refused(tmp_path: Path, here: Path) -> None:
    """A jar of another checksum is never loaded."""
    with pytest.raises(ConfigurationError, match=f"has SHA-256 {SHA256[:12]}…, must have {CONNECTOR_SHA256[:12]}…"):
        find_installation(here, java(tmp_path / "java", GOOD))


def test_python_when_a_jvm_cannot_load_it_then_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's python3 has its library in a package of its own, and many a Python is built without one."""
    found = SimpleNamespace(find_libpython=lambda: None)
    monkeypatch.setitem(sys.modules, "find_libpython", found)
    with pytest.raises(ConfigurationError, match="its Python has no shared library") as failed:
        check_shared_python()
    assert "libpython3." in str(failed.value.hint)
    found.find_libpython = lambda: "/usr/lib/libpython3.so"
    check_shared_python()


def test_run_ta_when_flink_is_not_there_then_one_line_and_exit_code_2(tmp_path: Path) -> None:
    """As a user types it; nothing is started."""
    done = subprocess.run(
        [sys.executable, "-m", "torghutctl", "run", "ta", "--engine", "flink"],
        env={
            "PATH": java(tmp_path / "java", GOOD)["PATH"],
            "PYTHONPATH": str(ROOT),
            "TA_KAFKA_SECURITY": "PLAINTEXT",
            "TA_FLINK_DIR": str(tmp_path / "none"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert f"has no Python with PyFlink {FLINK}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TA_KAFKA_BOOTSTRAP", "embedded:log"),
        ("TA_CLICKHOUSE_URL", "embedded:rows"),
        ("TA_CHECKPOINT_DIR", "s3://bucket/checkpoints"),
    ],
)
def test_settings_when_flink_cannot_do_them_then_they_are_refused_by_name(variable: str, value: str) -> None:
    """An embedded engine is not reached from a worker; a bucket is the cluster's to know."""
    with pytest.raises(ConfigurationError, match=f"{variable}='{re.escape(value)}': must be"):
        check(load(TaSettings, {variable: value}))


def test_versions_when_compared_then_there_is_one_flink() -> None:
    """Package, connector, image, manifest and pins agree."""
    minor = FLINK.rpartition(".")[0]
    assert CONNECTOR.rpartition("-")[2] == minor
    image = (ROOT / "images/torghut-ta/Dockerfile").read_text()
    assert re.findall(r"FLINK=flink:(\S+?)@", image) == [f"{FLINK}-java{JAVA}"]
    assert set(re.findall(r"openjdk-([0-9]+)-", image)) == {str(JAVA)}
    manifest = (ROOT / "manifests/ta/flinkdeployment.yaml").read_text()
    assert re.findall(r"flinkVersion: (\S+)", manifest) == [f"v{minor.replace('.', '_')}"]
    assert re.findall(r"flink-python-(\S+)\.jar", manifest) == [FLINK]
    pins = dict(line.split("==") for line in (ROOT / "constraints-flink.txt").read_text().splitlines() if "==" in line)
    assert (pins["apache-flink"], pins["apache-flink-libraries"]) == (FLINK, FLINK)
    assert f'flink = ["apache-flink=={FLINK}"]' in (ROOT / "pyproject.toml").read_text()
