"""A TCP proxy on loopback before a PostgreSQL: it forwards, keeps everything to itself, or cuts.

Held, its connections stay open and are acknowledged, as by a balancer whose other side is gone: TCP notices nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from torghut_core.engines.postgres import Postgres

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class CutWire:
    """The way to one PostgreSQL; `postgres` is its address through here."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._refuses = False
        self._last: bytes | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.postgres = server

    async def serve(self) -> asyncio.Server:
        listening = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        dsn = make_conninfo(self._server.dsn, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable")
        self.postgres = Postgres(dsn)
        return listening

    def hold(self) -> None:
        """Forward nothing more, in either direction, and close nothing."""
        self._is_open.clear()

    def hold_after(self, said: bytes) -> None:
        """Hold once these bytes have gone to the server: what it answers to them is not seen any more."""
        self._last = said

    def reset(self) -> None:
        """Reset every connection, and each new one."""
        self._refuses = True
        self.drop()

    def mend(self) -> None:
        """Forward again, what was kept first."""
        self._refuses, self._last = False, None
        self._is_open.set()

    def drop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if self._refuses:
            writer.transport.abort()
            return
        try:
            await self._is_open.wait()
            there, back = await self._dial()
            self._writers.add(back)
            await asyncio.gather(self._forward(reader, back), self._forward(there, writer))
        finally:
            writer.close()

    async def _dial(self) -> _Streams:
        address = conninfo_to_dict(self._server.dsn)
        host, port = str(address["host"]), int(str(address.get("port", 5432)))
        if Path(host).is_absolute():
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._is_open.wait()
                writer.write(data)
                if self._last is not None and self._last in data:
                    self.hold()
                await writer.drain()
        await self._is_open.wait()
        writer.close()


@asynccontextmanager
async def cut_wire(server: Postgres) -> AsyncIterator[CutWire]:
    """Yield a proxy before `server`, closed with all its connections afterwards."""
    wire = CutWire(server)
    listening = await wire.serve()
    try:
        yield wire
    finally:
        listening.close()
        wire.drop()
        wire.mend()
