"""Faults that can be switched on and off while the simulator runs.

Each has a name, one line of meaning and parameters with defaults. What is drawn at random is drawn from the seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torghut_core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A kind of fault; `parameters` holds each parameter's default, whose type a given value must have."""

    name: str
    meaning: str
    parameters: dict[str, Any] = field(default_factory=dict)


FAULTS = (
    Fault(name="reject_406", meaning="market data: every new connection is answered 406 connection limit exceeded"),
    Fault(
        name="auth_401",
        meaning="every authentication is refused: REST 401, market data error `code`, trading stream unauthorized",
        parameters={"code": 401},
    ),
    Fault(
        name="silent_socket",
        meaning="market data sockets stay open and carry no data; with pong false they answer no ping either",
        parameters={"pong": True},
    ),
    Fault(
        name="slow_reader",
        meaning="a market data client with more than max_pending_bytes unsent gets 407 and is closed (-1: every client)",
        parameters={"max_pending_bytes": -1},
    ),
    Fault(
        name="duplicates",
        meaning="market data: a share of the messages is sent twice",
        parameters={"share": 0.1},
    ),
    Fault(
        name="out_of_order",
        meaning="market data: each message is held back by up to max_ms of market time, so that they overtake",
        parameters={"max_ms": 500},
    ),
    Fault(
        name="malformed",
        meaning="market data: broken elements and broken frames are put between the true ones",
        parameters={"share": 0.01},
    ),
    Fault(
        name="upgrade_status",
        meaning="market data: every upgrade is answered with HTTP `status`, and Retry-After when that is above 0",
        parameters={"status": 503, "retry_after": 0},
    ),
    Fault(
        name="refuse_subscription",
        meaning="market data: a subscription that names `symbol` or `channel` (empty: any) is refused whole with `code`",
        parameters={"code": 400, "symbol": "", "channel": ""},
    ),
    Fault(name="stream_500", meaning="market data: every new connection is answered 500 internal error"),
    Fault(
        name="http_500",
        meaning="REST requests whose path begins with `path` are answered with `status`",
        parameters={"status": 500, "path": "/v2/"},
    ),
    Fault(
        name="http_timeout",
        meaning="REST requests whose path begins with `path` are never answered while this is on",
        parameters={"path": "/v2/"},
    ),
    Fault(
        name="http_late",
        meaning="REST requests whose path begins with `path` are obeyed at once and answered `ms` later",
        parameters={"ms": 1000, "path": "/v2/"},
    ),
    Fault(
        name="http_cut",
        meaning="REST requests whose path begins with `path` are obeyed, and the connection is dropped before the answer",
        parameters={"path": "/v2/"},
    ),
    Fault(
        name="order_doubled",
        meaning="each order reaches the broker twice, and the answer is the second's: its client id is taken",
    ),
    Fault(
        name="order_answer_lost",
        meaning="orders are accepted and the connection is dropped before the answer",
    ),
    Fault(
        name="reject_orders",
        meaning="orders are taken by REST and then rejected: the status says so, and a trade update rejected",
    ),
    Fault(
        name="trade_updates_disconnect",
        meaning="trading streams are cut, and each new one as soon as it is authorised",
    ),
)
_BY_NAME = {fault.name: fault for fault in FAULTS}


class FaultPanel:
    """Which faults are on, with their parameters. `on_change` is called with the name after each switch."""

    def __init__(self) -> None:
        self._active: dict[str, dict[str, Any]] = {}
        self.on_change: Callable[[str], None] = lambda _name: None

    def switch(self, request: dict[str, Any]) -> None:
        """Obey `{"name", "on", parameter: value}`. Raises InputError that names what is wrong."""
        name = request.get("name")
        fault = _BY_NAME.get(name) if isinstance(name, str) else None
        if fault is None:
            raise InputError(f"name={name!r}: must be one of {', '.join(sorted(_BY_NAME))}")
        is_on = request.get("on")
        if not isinstance(is_on, bool):
            raise InputError(f"on={is_on!r}: must be true or false")
        given = {key: value for key, value in request.items() if key not in ("name", "on")}
        for key, value in given.items():
            _check_parameter(fault, key, value)
        if is_on:
            self._active[fault.name] = {**fault.parameters, **given}
        else:
            self._active.pop(fault.name, None)
        self.on_change(fault.name)

    def is_on(self, name: str) -> bool:
        """Tell whether a fault is on."""
        return name in self._active

    def parameter(self, name: str, key: str) -> Any:
        """Return a parameter of a fault that is on."""
        return self._active[name][key]

    def covers_path(self, name: str, path: str) -> bool:
        """Tell whether a fault of REST paths is on for `path`."""
        return name in self._active and path.startswith(self._active[name]["path"])

    def active(self) -> list[str]:
        """Return the names of the faults that are on."""
        return sorted(self._active)

    def describe(self) -> list[dict[str, Any]]:
        """Return every fault with its meaning, state and parameters."""
        return [
            {
                "name": fault.name,
                "on": fault.name in self._active,
                "meaning": fault.meaning,
                "parameters": self._active.get(fault.name, fault.parameters),
            }
            for fault in FAULTS
        ]


def _check_parameter(fault: Fault, key: str, value: Any) -> None:
    if key not in fault.parameters:
        known = ", ".join(fault.parameters) or "none"
        raise InputError(f"{key}: {fault.name} has no such parameter (it has: {known})")
    default = fault.parameters[key]
    is_number = isinstance(default, float) and isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number and type(value) is not type(default):
        raise InputError(f"{key}={value!r}: must be of the type of its default {default!r}")
    if key == "share" and not 0 <= value <= 1:
        raise InputError(f"share={value!r}: must be between 0 and 1")
    if key == "max_ms" and not 0 <= value <= 60_000:
        raise InputError(f"max_ms={value!r}: must be between 0 and 60000")
