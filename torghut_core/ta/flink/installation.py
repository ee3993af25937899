"""What `make flink` made, and Java: looked at before anything is started, one clear line for each that is not right."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torghut_core.errors import ConfigurationError
from torghut_core.ta.flink.versions import CONNECTOR_JAR, CONNECTOR_SHA256, FLINK, JAVA

OWN_JAR = "torghut-flink.jar"
_MAKE = "run `make flink`"


@dataclass(frozen=True)
class Installation:
    """A Python that has PyFlink, and the jars of the job."""

    python: Path
    jars: tuple[Path, ...]

    @property
    def log_folder(self) -> Path:
        """Where the JVM logs on this machine, what Python says in it included."""
        (version,) = self.python.parents[1].glob("lib/python3*")
        return version / "site-packages" / "pyflink" / "log"


def java_version(environment: Mapping[str, str]) -> int:
    """Return the major version of the Java that Flink would start. Raises ConfigurationError where there is none."""
    home = environment.get("JAVA_HOME", "").strip()
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java", path=environment.get("PATH"))
    where = f"JAVA_HOME={home!r}" if home else "PATH"
    hint = f"install OpenJDK {JAVA}, or set JAVA_HOME to one"
    if java is None:
        raise ConfigurationError(f"{where}: has no java, Flink {FLINK} needs Java {JAVA}", hint=hint)
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=True).stderr
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigurationError(f"{where}: {java} does not run, Flink {FLINK} needs Java {JAVA}", hint=hint) from error
    found = re.search(r'version "(?:1\.)?([0-9]+)', told)
    if found is None:
        raise ConfigurationError(f"{where}: {java} does not say its version, Flink needs Java {JAVA}", hint=hint)
    return int(found[1])


def check_java(environment: Mapping[str, str]) -> None:
    """Raise ConfigurationError unless Flink would start on the Java that it is tested with."""
    version = java_version(environment)
    if version != JAVA:
        raise ConfigurationError(
            f"JAVA_HOME, PATH: java is version {version}, Flink {FLINK} needs Java {JAVA}",
            hint=f"install OpenJDK {JAVA}, or set JAVA_HOME to one",
        )


def check_shared_python() -> None:
    """Raise ConfigurationError unless a JVM can load the very Python that runs this."""
    from find_libpython import find_libpython  # comes with PyFlink

    if find_libpython() is None:
        raise ConfigurationError(
            f"{sys.executable}: its Python has no shared library, which a JVM needs to run it",
            hint=f"install libpython{sys.version_info[0]}.{sys.version_info[1]}, or make .flink with a Python that was"
            " built with --enable-shared",
        )


def check_connector(jar: Path, sha256: str = CONNECTOR_SHA256) -> None:
    """Raise ConfigurationError unless the connector is there and is the one that this version was tested with."""
    try:
        with jar.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigurationError(f"{jar}: the Kafka connector of Flink is not there", hint=_MAKE) from error
    if found != sha256:
        raise ConfigurationError(
            f"{jar}: has SHA-256 {found[:12]}…, must have {sha256[:12]}…: it is not the connector of this version",
            hint=f"delete it and {_MAKE}",
        )


def find_installation(folder: Path, environment: Mapping[str, str], sha256: str = CONNECTOR_SHA256) -> Installation:
    """Return what `make flink` made in `folder`. Raises ConfigurationError that names the first thing that is not right."""
    check_java(environment)
    python = folder / "bin" / "python"
    if not python.exists():
        raise ConfigurationError(f"TA_FLINK_DIR={str(folder)!r}: has no Python with PyFlink {FLINK}", hint=_MAKE)
    connector, own = folder / "lib-flink" / CONNECTOR_JAR, folder / "lib-flink" / OWN_JAR
    check_connector(connector, sha256)
    if not own.exists():
        raise ConfigurationError(f"{own}: the job's own jar is not there", hint=_MAKE)
    return Installation(python.absolute(), (connector.absolute(), own.absolute()))
