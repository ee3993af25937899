"""The ClickHouse that trading's settings address."""

from __future__ import annotations

from torghut_core.engines.clickhouse import Address
from torghut_core.engines.clickhouse_on_demand import ClickHouseOnDemand
from torghut_core.settings import reveal
from torghut_core.trading.settings import TradingSettings


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
