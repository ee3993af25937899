"""ClickHouse itself, asked only when its credentials are in the environment: which tables are replicated, where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from torghutctl.adapters import http_client
from torghutctl.adapters.http_client import ExchangeError
from torghutctl.snapshot import kept, services, sources
from torghutctl.snapshot.collector import Task
from torghutctl.snapshot.http import ReadError, from_exchange
from torghutctl.snapshot.model import Failure

_QUERY = (
    "SELECT hostName() AS host, name, engine FROM clusterAllReplicas('default', system.tables) "
    "WHERE database = 'torghut' AND name IN ('ta_signals', 'ta_microbars') ORDER BY host, name FORMAT JSONCompact"
)


def tasks(process: Mapping[str, str]) -> list[Task]:
    """Return the task that asks for the tables' engines; none without address, user and password in `process`."""
    url, user, password = (process.get(f"TA_CLICKHOUSE_{part}") for part in ("URL", "USERNAME", "PASSWORD"))
    if not url or not user or password is None or not url.startswith(("http://", "https://")):
        return []
    address = f"{url.rstrip('/')}/?query={quote(_QUERY)}"
    headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}

    def ask(seconds: float) -> list[dict[str, Any]]:
        try:
            rows = services.clickhouse_rows(http_client.get(address, deadline_s=seconds, headers=headers))
        except ExchangeError as error:
            raise from_exchange(error) from error
        if not all(len(row) == 3 for row in rows):
            raise ReadError(Failure.UNPARSABLE, "a row has not three columns")
        return [
            {
                "host": kept.name(host),
                "table": kept.one_of(table, ("ta_signals", "ta_microbars")),
                "engine": kept.word(engine),
            }
            for host, table, engine in rows
        ]

    return [Task(source=sources.CLICKHOUSE_TABLES, read=ask)]
