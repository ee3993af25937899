"""HTTP answers leave at once."""

from __future__ import annotations

import socket

from torghut_core.http_server import Binding, bind


def test_bind_when_a_connection_comes_then_its_protocol_is_tcp_so_that_answers_are_not_delayed() -> None:
    """asyncio turns Nagle's delay off only on a socket whose protocol says TCP; an accepted one inherits the listener's."""
    with bind(Binding(port=0, variable="X", host="127.0.0.1")) as listener:
        assert listener.proto == socket.IPPROTO_TCP
