"""A ClickHouse that is connected when it is first asked."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from torghut_core.engines.clickhouse import Address, ClickHouse, open_clickhouse


class ClickHouseOnDemand:
    """A ClickHouse that is connected when it is first asked, so that its outage does not keep the rest from starting."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._mutex = threading.Lock()
        self._clickhouse: ClickHouse | None = None

    def open(self) -> ClickHouse:
        """Return the connection, made now if need be. Raises ClickHouseError or ConfigurationError."""
        with self._mutex:
            if self._clickhouse is None:
                self._clickhouse = open_clickhouse(self._address)
            return self._clickhouse

    def query(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return the rows as dictionaries. Raises ClickHouseError, also while it cannot be connected."""
        return self.open().query(statement, parameters)

    def close(self) -> None:
        with self._mutex:
            if self._clickhouse is not None:
                self._clickhouse.close()
                self._clickhouse = None
