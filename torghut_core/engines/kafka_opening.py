"""Kafka by address: which adapter stands behind the interface."""

from __future__ import annotations

import re

from torghut_core.engines import embedded_folder
from torghut_core.engines.kafka import Kafka, KafkaAddress
from torghut_core.engines.kafka_cluster import ClusterKafka
from torghut_core.engines.kafka_sqlite import SqliteKafka
from torghut_core.errors import ConfigurationError

_SERVER = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")


def open_kafka(address: KafkaAddress) -> Kafka:
    """Return Kafka at `address`. Nothing is connected yet; the embedded log is opened.

    Raises ConfigurationError when the address has neither shape.
    """
    folder = embedded_folder(address.bootstrap, address.variable)
    if folder is not None:
        return SqliteKafka(folder)
    for server in address.bootstrap.split(","):
        found = _SERVER.fullmatch(server.strip())
        if found is None or not 0 < int(found[1]) < 65_536:
            shown = repr(address.bootstrap) if "@" not in address.bootstrap else "(hidden)"
            raise ConfigurationError(
                f"{address.variable}={shown}: must be HOST:PORT[,HOST:PORT…], without credentials, or embedded:DIR"
            )
    return ClusterKafka(address)
