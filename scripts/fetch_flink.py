"""Make `.flink`: a Python with PyFlink and this package, the Kafka connector from Maven Central, the job's own jar.

    .venv/bin/python scripts/fetch_flink.py [DIR]

Needs Java 17 with its compiler, and Maven. What is not right is said in one line, with exit code 2; what is there already
is kept.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from os import environ
from pathlib import Path

from torghut_core.errors import ConfigurationError
from torghut_core.ta.flink.installation import OWN_JAR, check_connector, check_java
from torghut_core.ta.flink.versions import CONNECTOR, CONNECTOR_JAR, FLINK, JAVA

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "torghut_core" / "ta" / "flink" / "java"
HERE = ROOT / ".flink"
CONSTRAINTS = ROOT / "constraints-flink.txt"
PACKAGES = (
    f"apache-flink=={FLINK}",
    *("aiokafka[lz4]", "clickhouse-connect", "cramjam", "fsspec", "msgspec", "numba", "orjson", "prometheus-client"),
    *("psycopg", "pydantic", "s3fs", "zstandard"),
)
"""PyFlink, and what the engine, its outputs and its clients import."""


def _run(command: Sequence[str | Path], what: str, seconds: float = 1800) -> None:
    try:
        done = subprocess.run(
            [str(word) for word in command], cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
        )
    except OSError as error:
        raise ConfigurationError(f"{what}: {command[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1]
        raise ConfigurationError(f"{what}: exit code {done.returncode}: {last[:300]}")


def _python(folder: Path) -> None:
    done = folder / f"pyflink-{FLINK}"
    newest = max(CONSTRAINTS.stat().st_mtime, Path(__file__).stat().st_mtime)
    if done.exists() and done.stat().st_mtime >= newest:
        return
    python = folder / "bin" / "python"
    if not python.exists():
        _run([sys.executable, "-m", "venv", folder], "environment")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "-c", CONSTRAINTS, *PACKAGES], f"PyFlink {FLINK}")
    package = ["-e", ROOT] if folder == HERE else [ROOT]
    _run([*pip, "--no-deps", *package], "this package")
    checked = "from torghut_core.ta.flink.installation import check_shared_python; check_shared_python()"
    _run([python, "-c", checked], "Python for a JVM")
    done.touch()


def _connector(jars: Path) -> None:
    jar = jars / CONNECTOR_JAR
    if not jar.exists():
        artifact = f"org.apache.flink:flink-sql-connector-kafka:{CONNECTOR}"
        _run(
            ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={jars}"],
            "the Kafka connector of Flink",
        )
    check_connector(jar)


def _own_jar(folder: Path, jars: Path) -> None:
    target = jars / OWN_JAR
    sources = sorted(SOURCES.glob("*.java"))
    if target.exists() and target.stat().st_mtime >= max(each.stat().st_mtime for each in sources):
        return
    home = environ.get("JAVA_HOME", "").strip()
    compiler, archiver = (str(Path(home) / "bin" / tool) if home else tool for tool in ("javac", "jar"))
    if not shutil.which(compiler):
        raise ConfigurationError(f"javac: is not here, the job's own jar needs the compiler of OpenJDK {JAVA}")
    (flink,) = (folder / "lib").glob("python3*/site-packages/pyflink")
    path = ":".join(str(jar) for jar in [*sorted((flink / "lib").glob("*.jar")), jars / CONNECTOR_JAR])
    with tempfile.TemporaryDirectory() as classes:
        options = ["--release", str(JAVA), "-Xlint:all,-processing,-classfile,-path", "-d", classes, "-cp", path]
        _run([compiler, *options, *sources], "compiling the job's own jar")
        _run([archiver, "--create", "--file", target, "-C", classes, "."], "the job's own jar")


def main(arguments: Sequence[str]) -> int:
    """Make what is missing."""
    folder = Path(arguments[0] if arguments else HERE).absolute()
    jars = folder / "lib-flink"
    try:
        check_java(environ)
        _python(folder)
        jars.mkdir(parents=True, exist_ok=True)
        _connector(jars)
        _own_jar(folder, jars)
    except ConfigurationError as error:
        print(f"flink: {error}" + (f" ({error.hint})" if error.hint else ""), file=sys.stderr)
        return 2
    print(f"flink: PyFlink {FLINK} and its connector are in {folder}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
