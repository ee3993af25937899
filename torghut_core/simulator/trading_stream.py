"""The trading WebSocket `/stream`: authentication, `listen`, and an update for each change of an order.

Both spellings of the greeting are taken: `auth` with `key` and `secret`, and `authenticate` with `data`. Answers are
JSON in binary frames, as the paper service sends them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from torghut_core.simulator.faults import FaultPanel
from torghut_core.simulator.stock_stream import Account
from torghut_core.simulator.wire import WebSocket


class TradingSession:
    """One client of the trading stream."""

    def __init__(self, websocket: WebSocket, *, account: Account, faults: FaultPanel) -> None:
        self._websocket = websocket
        self._account = account
        self._faults = faults
        self._is_authorised = False
        self._streams: tuple[str, ...] = ()

    @property
    def is_listening(self) -> bool:
        """Whether the client asked for trade updates."""
        return bool(self._streams)

    async def serve(self) -> None:
        """Speak with the client until it leaves or is sent away."""
        while (data := await self._websocket.receive()) is not None:
            try:
                request = msgspec.json.decode(data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                request = None
            if not isinstance(request, dict):
                self._send("error", {"code": 400, "error": "invalid syntax"})
                continue
            action = request.get("action")
            if action in ("auth", "authenticate"):
                self._authenticate(request)
                if self._faults.is_on("trade_updates_disconnect"):
                    self._websocket.abort()
            elif action == "listen":
                self._listen(request)
            else:
                self._send("error", {"code": 400, "error": f"unknown action {str(action)[:40]}"})

    def _authenticate(self, request: dict[str, Any]) -> None:
        data = request.get("data")
        nested = data if isinstance(data, dict) else {}
        given = (request.get("key", nested.get("key_id")), request.get("secret", nested.get("secret_key")))
        is_known = given == (self._account.key_id, self._account.secret_key)
        self._is_authorised = is_known and not self._faults.is_on("auth_401")
        status = "authorized" if self._is_authorised else "unauthorized"
        self._send("authorization", {"status": status, "action": "authenticate"})

    def _listen(self, request: dict[str, Any]) -> None:
        if not self._is_authorised:
            self._send("listening", {"error": "not authorized", "streams": []})
            return
        data = request.get("data")
        streams = data.get("streams") if isinstance(data, dict) else None
        wanted = streams if isinstance(streams, list) else []
        self._streams = tuple(stream for stream in wanted if stream == "trade_updates")
        self._send("listening", {"streams": list(self._streams)})

    def publish(self, update: dict[str, Any]) -> None:
        """Send one trade update, if the client listens."""
        if "trade_updates" in self._streams:
            self._send("trade_updates", update)

    def _send(self, stream: str, data: dict[str, Any]) -> None:
        self._websocket.send(msgspec.json.encode({"stream": stream, "data": data}), is_binary=True)

    def abort(self) -> None:
        """Cut the connection without a word."""
        self._websocket.abort()
