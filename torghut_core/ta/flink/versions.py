"""The one Flink: of the PyPI package, the connector, the image and the manifest. A test compares them."""

from __future__ import annotations

FLINK = "2.2.1"
CONNECTOR = "5.0.0-2.2"
"""Of flink-sql-connector-kafka: its own version, and the Flink that it is for."""
CONNECTOR_JAR = f"flink-sql-connector-kafka-{CONNECTOR}.jar"
CONNECTOR_SHA256 = "5605c691d11a501382c383fecba37a7a552467da5ab7ba904ef5d6f3d62c5616"
JAVA = 17
