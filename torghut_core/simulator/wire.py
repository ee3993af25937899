"""HTTP and WebSocket on one port, close enough to the wire for its faults.

asyncio carries the bytes, h11 speaks HTTP/1.1 and websockets' sans-I/O protocol speaks WebSocket. A web framework would
hide what a simulator must be able to do: answer nothing, cut a connection before an answer, or leave a ping unanswered.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import h11
import msgspec
from websockets.exceptions import WebSocketException
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as UpgradeRequest
from websockets.protocol import State
from websockets.server import ServerProtocol

from torghut_core.errors import ConfigurationError

_READ_BYTES = 1 << 16
_HIGH_WATER_BYTES = 1 << 20
"""How much may wait for a client before its senders are held back."""
_MAX_BODY_BYTES = 1 << 20
_CLOSE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Request:
    """One HTTP request; header names are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Response:
    """One HTTP answer; `is_cut` drops the connection instead of sending it."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    is_cut: bool = False


def json_response(value: Any, status: int = 200) -> Response:
    """Return `value` as a JSON answer."""
    return Response(status=status, body=msgspec.json.encode(value))


class WebSocket:
    """The server's end of one accepted WebSocket."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, protocol: ServerProtocol, request: Request
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = protocol
        self._parts: list[bytes] = []
        self._inbox: deque[bytes] = deque()
        self._is_at_end = False
        self.request = request
        self.is_mute = False
        """Whether pings stay unanswered."""

    @property
    def is_open(self) -> bool:
        """Whether something can still be sent."""
        return self._protocol.state is State.OPEN and not self._writer.is_closing()

    @property
    def pending_bytes(self) -> int:
        """How many bytes the client has not taken yet, beyond what the machine's socket holds."""
        transport: asyncio.WriteTransport = self._writer.transport
        return transport.get_write_buffer_size()

    def send(self, data: bytes, *, is_binary: bool) -> None:
        """Queue one message; nothing happens on a socket that is closed or closing."""
        if not self.is_open:
            return
        if is_binary:
            self._protocol.send_binary(data)
        else:
            self._protocol.send_text(data)
        self._flush()

    async def drain(self) -> None:
        """Wait until the client has taken enough of what was sent."""
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def receive(self) -> bytes | None:
        """Return the next message's bytes, text or binary, fragments joined; None once the client is gone."""
        while not self._inbox:
            if self._protocol.state is not State.OPEN:
                return None
            await self._read()
        return self._inbox.popleft()

    async def _read(self) -> None:
        try:
            data = await self._reader.read(_READ_BYTES)
        except ConnectionError:
            data = b""
        if data:
            self._protocol.receive_data(data)
        else:
            self._is_at_end = True
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            message = self._join(event)
            if message is not None:
                self._inbox.append(message)
        self._flush(is_answer=True)

    def _join(self, event: Any) -> bytes | None:
        if not isinstance(event, Frame) or event.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return None
        self._parts.append(bytes(event.data))
        if not event.fin:
            return None
        message = b"".join(self._parts)
        self._parts.clear()
        return message

    def _flush(self, *, is_answer: bool = False) -> None:
        for chunk in self._protocol.data_to_send():
            if chunk and not (is_answer and self.is_mute) and not self._writer.is_closing():
                self._writer.write(chunk)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame and give the client a moment to answer it."""
        if self.is_open:
            self._protocol.send_close(code, reason)
            self._flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                while not (self._is_at_end or self._protocol.eof_sent or self._writer.is_closing()):
                    await self._read()

    def hang_up(self) -> None:
        """Begin to close after what is already written; a client that does not answer is cut off."""
        if self.is_open:
            self._protocol.send_close(1000)
            self._flush()
        asyncio.get_running_loop().call_later(_CLOSE_SECONDS, self.abort)

    def abort(self) -> None:
        """Cut the connection without a word."""
        self._writer.transport.abort()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises ConfigurationError, naming the port, when it is taken or not allowed.

    `torghut_core.http_server` has the same for FastAPI apps; importing that would treble the simulator's start.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"--port {port}: cannot listen on {host}:{port}: {error}",
            hint="stop what holds the port, or choose another",
        ) from error
    listener.listen(128)
    listener.setblocking(False)
    return listener


HttpHandler = Callable[[Request], Awaitable[Response]]
SocketHandler = Callable[[WebSocket], Awaitable[None]]
SocketRouter = Callable[[Request], SocketHandler | Response | None]
"""Returns who serves a stream, the answer that refuses it, or None where there is none."""


class WireServer:
    """Accepts connections and hands each request or socket to its handler."""

    def __init__(self, *, http: HttpHandler, sockets: SocketRouter) -> None:
        self._http = http
        self._sockets = sockets
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, listener: socket.socket) -> None:
        """Serve on a bound socket."""
        self._server = await asyncio.start_server(self._accept, sock=listener, limit=_READ_BYTES)

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        writer.transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        connection = writer.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"\r\nupgrade: websocket" in head.lower():
                await self._serve_socket(reader, writer, head)
            else:
                await self._serve_http(reader, writer, head)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, h11.ProtocolError):
            pass  # the client went away or speaks no HTTP; there is nobody to tell
        except asyncio.CancelledError:
            pass  # only `stop` cancels, and it waits for this end
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve_socket(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        protocol = ServerProtocol(extensions=None, max_size=_MAX_BODY_BYTES)
        protocol.receive_data(head)
        upgrades = [event for event in protocol.events_received() if isinstance(event, UpgradeRequest)]
        if not upgrades:
            return
        upgrade = upgrades[0]
        headers = {name.lower(): value for name, value in upgrade.headers.raw_items()}
        request = _request("GET", upgrade.path, headers, b"")
        handler = self._sockets(request)
        if handler is None:
            protocol.send_response(protocol.reject(404, "no such stream\n"))
        elif isinstance(handler, Response):
            refusal = protocol.reject(handler.status, "refused\n")
            for name, value in handler.headers.items():
                refusal.headers[name] = value
            protocol.send_response(refusal)
        else:
            try:
                protocol.send_response(protocol.accept(upgrade))
            except WebSocketException:
                return
        for chunk in protocol.data_to_send():
            writer.write(chunk)
        if handler is None or isinstance(handler, Response) or protocol.state is not State.OPEN:
            await writer.drain()
            return
        websocket = WebSocket(reader, writer, protocol, request)
        await handler(websocket)
        await websocket.close()

    async def _serve_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(head)
        while True:
            request = await _next_request(connection, reader)
            if request is None:
                return
            response = await self._http(request)
            if response.is_cut:
                writer.transport.abort()
                return
            _send_response(connection, writer, response)
            await writer.drain()
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()


async def _next_request(connection: h11.Connection, reader: asyncio.StreamReader) -> Request | None:
    start: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_READ_BYTES))
        elif isinstance(event, h11.Request):
            start = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > _MAX_BODY_BYTES:
                return None
        elif isinstance(event, h11.EndOfMessage):
            assert start is not None
            headers = {name.decode().lower(): value.decode("latin-1") for name, value in start.headers}
            return _request(start.method.decode(), start.target.decode(), headers, bytes(body))
        else:
            return None


def _request(method: str, target: str, headers: dict[str, str], body: bytes) -> Request:
    parts = urlsplit(target)
    return Request(
        method=method,
        path=unquote(parts.path),
        query=dict(parse_qsl(parts.query, keep_blank_values=True)),
        headers=headers,
        body=body,
    )


def _send_response(connection: h11.Connection, writer: asyncio.StreamWriter, response: Response) -> None:
    headers = {"content-length": str(len(response.body)), **response.headers}
    if response.body:
        headers.setdefault("content-type", "application/json")
    if response.status == 204:
        headers.pop("content-length")
    head = h11.Response(
        status_code=response.status, headers=[(name.encode(), value.encode()) for name, value in headers.items()]
    )
    for event in (head, h11.Data(data=response.body), h11.EndOfMessage()):
        if isinstance(event, h11.Data) and not response.body:
            continue
        data = connection.send(event)
        if data:
            writer.write(data)
