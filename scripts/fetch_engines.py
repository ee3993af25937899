"""Fetch Apache Kafka's jars into `.engines/kafka` by Maven, for the tests that need the real broker.

    .venv/bin/python scripts/fetch_engines.py

Without Java, Maven or the registry it says so and ends well: the tests then skip with that reason, or fail with CI=true.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

KAFKA_VERSION = "4.1.0"
ENGINES = Path(__file__).resolve().parents[1] / ".engines"
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>torghut.tests</groupId><artifactId>kafka-broker</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version></dependency>
  </dependencies>
</project>
"""


def main() -> int:
    target = ENGINES / f"kafka-{KAFKA_VERSION}"
    if (target / "complete").exists():
        return 0
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            print(f"engines: {tool} is not installed; tests against Apache Kafka will skip", file=sys.stderr)
            return 0
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    (target / "pom.xml").write_text(_POM)
    command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=libs"]
    done = subprocess.run(command, cwd=target, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        print(
            f"engines: Apache Kafka could not be fetched (mvn exit {done.returncode}); its tests will skip",
            file=sys.stderr,
        )
        return 0
    (target / "complete").touch()
    print(f"engines: Apache Kafka {KAFKA_VERSION} is in {target}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
