"""Asks the visuals app through its ASGI door, and stands in for ClickHouse's answers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx

from torghut_core.engines.clickhouse import ClickHouseError
from torghut_core.visuals.api import Stores, create_app
from torghut_core.visuals.ta_reader import TaReader

NOW = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)
TOKEN = "writer"
WRITER = {"Authorization": f"Bearer {TOKEN}"}


class Client:
    """One request at a time, from this machine or from `peer`."""

    def __init__(self, stores: Stores, *, token: str | None = None, peer: str = "127.0.0.1") -> None:
        self._app = create_app(stores, token=token, now=lambda: NOW)
        self._peer = peer

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Return the app's answer; an exception that escapes it is the server's 500, as uvicorn makes it."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=False, client=(self._peer, 1234))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8090") as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)


class Rows:
    """ClickHouse's answers, or its failure, and what was asked."""

    def __init__(self, rows: list[dict[str, Any]] | ClickHouseError) -> None:
        self.rows = rows
        self.asked: list[dict[str, Any]] = []

    def query(self, statement: str, parameters: Any = None) -> list[dict[str, Any]]:
        self.asked.append({"statement": statement, **(parameters or {})})
        if isinstance(self.rows, ClickHouseError):
            raise self.rows
        return self.rows


def reader_of(rows: list[dict[str, Any]] | ClickHouseError) -> TaReader:
    """Return a reader that gets `rows` for every question."""
    return TaReader(Rows(rows))
