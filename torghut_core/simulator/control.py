"""REST of the simulator itself, without authentication: state, speed, faults, and who holds the account's slot."""

from __future__ import annotations

from typing import Any

import msgspec

from torghut_core.errors import InputError
from torghut_core.exchange.broker import Broker
from torghut_core.exchange.messages import Message
from torghut_core.rfc3339 import format_ns
from torghut_core.simulator.clock import MarketClock
from torghut_core.simulator.faults import FaultPanel
from torghut_core.simulator.market import Market
from torghut_core.simulator.stock_stream import ConnectionSlot
from torghut_core.simulator.trading_stream import TradingSession
from torghut_core.simulator.wire import Request, Response, json_response


class ControlApi:
    """Handlers of the control routes; each returns an answer or raises InputError."""

    def __init__(
        self,
        *,
        market: Market,
        broker: Broker,
        clock: MarketClock,
        faults: FaultPanel,
        slot: ConnectionSlot,
        trading_sessions: list[TradingSession],
    ) -> None:
        self._market = market
        self._broker = broker
        self._clock = clock
        self._faults = faults
        self._slot = slot
        self._trading_sessions = trading_sessions

    def state(self, _request: Request) -> Response:
        """GET /simulator/state."""
        now_ns = self._clock.now_ns()
        lag_ns = 0 if self._market.is_finished else max(0, now_ns - self._market.position_ns)
        return json_response(
            {
                "time": format_ns(now_ns),
                "time_ns": now_ns,
                "speed": self._clock.speed,
                "held": self._clock.is_held,
                "lag_ms": lag_ns // 1_000_000,
                "messages_published": self._market.messages_published,
                "messages_sent": self._market.messages_sent,
                "lines_left_out": self._market.lines_left_out,
                "finished": self._market.is_finished,
                "connections": {
                    "market_data": len(self._market.sessions),
                    "trading": len(self._trading_sessions),
                    "listening": sum(session.is_listening for session in self._trading_sessions),
                    "slot": self._slot.occupant,
                },
                "faults": self._faults.active(),
                "orders": self._broker.order_count,
            }
        )

    def change_speed(self, request: Request) -> Response:
        """POST /simulator/speed {"speed": x}."""
        speed = _body(request).get("speed")
        if isinstance(speed, bool) or not isinstance(speed, int | float):
            raise InputError(f"speed={speed!r}: must be a number")
        self._clock.change_speed(float(speed))
        return self.state(request)

    def hold(self, request: Request) -> Response:
        """POST /simulator/hold: time stands still."""
        self._clock.hold()
        return self.state(request)

    def resume(self, request: Request) -> Response:
        """POST /simulator/resume: a held clock runs."""
        self._clock.release()
        return self.state(request)

    def faults(self, _request: Request) -> Response:
        """GET /simulator/faults."""
        return json_response({"faults": self._faults.describe()})

    def switch_fault(self, request: Request) -> Response:
        """POST /simulator/faults {"name", "on", parameter: value}."""
        self._faults.switch(_body(request))
        return self.faults(request)

    def occupy(self, request: Request) -> Response:
        """POST /simulator/occupy: take the account's one market-data slot, at once or as soon as it is free."""
        self._slot.occupy()
        return self.state(request)

    def release(self, request: Request) -> Response:
        """POST /simulator/release: give the slot up again."""
        self._slot.release()
        return self.state(request)

    def inject(self, request: Request) -> Response:
        """POST /simulator/inject {"messages": [{"T", "S", …}]}: send these to whoever asked for their kind and symbol."""
        found = []
        given = _body(request).get("messages")
        for fields in given if isinstance(given, list) else []:
            kind, symbol = (fields.get("T"), fields.get("S")) if isinstance(fields, dict) else (None, None)
            if not isinstance(kind, str) or not isinstance(symbol, str):
                raise InputError("messages: each must be an object with T and S")
            now_ns = self._clock.now_ns()
            found.append(Message(now_ns, now_ns, kind, symbol, msgspec.json.encode({"t": format_ns(now_ns), **fields})))
        if not found:
            raise InputError("messages: must be a list of at least one message")
        for session in tuple(self._market.sessions):
            session.publish(found)
        return self.state(request)

    def disconnect(self, request: Request) -> Response:
        """POST /simulator/disconnect {"stream": "data" | "trading" | "all"}: cut the sockets once."""
        stream = _body(request).get("stream", "data")
        if stream not in ("data", "trading", "all"):
            raise InputError(f"stream={stream!r}: must be one of data, trading, all")
        if stream in ("data", "all"):
            for session in tuple(self._market.sessions):
                session.abort()
        if stream in ("trading", "all"):
            for trading in tuple(self._trading_sessions):
                trading.abort()
        return self.state(request)


def _body(request: Request) -> dict[str, Any]:
    if not request.body.strip():
        return {}
    try:
        body = msgspec.json.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"body: not JSON: {error}") from error
    if not isinstance(body, dict):
        raise InputError("body: must be a JSON object")
    return body
