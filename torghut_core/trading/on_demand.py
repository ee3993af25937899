"""A ClickHouse that is connected when it is first asked."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from torghut_core.engines.clickhouse import Address, ClickHouse, open_clickhouse
from torghut_core.settings import reveal
from torghut_core.trading.settings import TradingSettings


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


def clickhouse_of(settings: TradingSettings) -> ClickHouseOnDemand | None:
    """Return the ClickHouse that the settings address, not connected yet; None when they address none."""
    url = reveal(settings.clickhouse_url)
    if url is None:
        return None
    return ClickHouseOnDemand(
        Address(
            url=url,
            username=settings.clickhouse_username,
            password=reveal(settings.clickhouse_password),
            connect_timeout=settings.clickhouse_timeout_seconds,
        )
    )
