"""The trading runtime as a process of its own: environment as JSON, its signals from a file that the test appends to.

    python -m tests.fakes.trading_process ROWS.json DSN '{"TRADING_ENABLED": "true"}'

Prints its HTTP port once it listens, and runs until it is ended.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.fakes.signal_tables import SignalTables
from torghut_core.engines.postgres import Postgres
from torghut_core.trading.service import run


class _Written(SignalTables):
    """The tables as the file says at each question."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def query(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        self.signals = [json.loads(line) for line in self._path.read_text().splitlines()]
        self.prices = {row["symbol"]: row["close"] for row in self.signals}
        return super().query(statement, parameters)


def main(rows: str, dsn: str, environment: str) -> None:
    """Run the runtime until the process is ended."""
    asyncio.run(
        run(
            json.loads(environment),
            clickhouse=_Written(Path(rows)),  # type: ignore[arg-type]
            postgres=Postgres(dsn),
            on_ready=lambda port: print(port, flush=True),
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
