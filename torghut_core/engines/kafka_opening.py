"""Kafka by address: which adapter stands behind the interface."""

from __future__ import annotations

from torghut_core.engines import embedded_folder
from torghut_core.engines.kafka import Kafka, KafkaAddress
from torghut_core.engines.kafka_cluster import ClusterKafka
from torghut_core.engines.kafka_sqlite import SqliteKafka
from torghut_core.errors import ConfigurationError


def open_kafka(address: KafkaAddress) -> Kafka:
    """Return Kafka at `address`. Nothing is connected yet; the embedded log is opened.

    Raises ConfigurationError when the address has neither shape.
    """
    folder = embedded_folder(address.bootstrap, address.variable)
    if folder is not None:
        return SqliteKafka(folder)
    for server in address.bootstrap.split(","):
        host, separator, port = server.strip().rpartition(":")
        if not (separator and host and port.isdigit() and 0 < int(port) < 65_536):
            raise ConfigurationError(
                f"{address.variable}={address.bootstrap!r}: must be HOST:PORT[,HOST:PORT…] or embedded:DIR"
            )
    return ClusterKafka(address)
