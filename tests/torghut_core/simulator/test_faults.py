"""Each fault, switched on and off while clients are connected."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from torghut_core.errors import InputError
from torghut_core.rfc3339 import parse_ns
from torghut_core.simulator.faults import FAULTS, FaultPanel
from torghut_core.simulator.process import KEY_ID, SECRET_KEY, SimulatorProcess

pytestmark = pytest.mark.slow  # each starts a simulator, and talks to it

AUTH = {"action": "auth", "key": KEY_ID, "secret": SECRET_KEY}
HEADERS = {"APCA-API-KEY-ID": KEY_ID, "APCA-API-SECRET-KEY": SECRET_KEY}
ORDER = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}


def rest_status(simulator: SimulatorProcess, path: str = "/v2/account", timeout: float = 5.0) -> int:
    """Return the status of a GET."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(simulator.http + path, headers=HEADERS), timeout=timeout
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


async def first_error(simulator: SimulatorProcess) -> dict[str, Any]:
    """Return the answer to an authentication."""
    async with connect(f"{simulator.ws}/v2/iex") as client:
        await client.recv()
        await client.send(json.dumps(AUTH))
        answer: dict[str, Any] = json.loads(await client.recv())[0]
        return answer


async def messages_until(client: Any, is_enough: Callable[[list[Any]], bool]) -> list[Any]:
    """Return the messages of whole frames until there are enough; a broken frame counts as None."""
    messages: list[Any] = []
    async with asyncio.timeout(20):
        while not is_enough(messages):
            try:
                messages += json.loads(await client.recv())
            except ValueError:
                messages.append(None)
    return messages


def test_faults_when_listed_then_each_has_a_meaning_and_a_state(simulator: SimulatorProcess) -> None:
    """Every fault is listed with one line of meaning, and off at first."""
    listed = simulator.call("/simulator/faults")["faults"]
    assert [fault["name"] for fault in listed] == [fault.name for fault in FAULTS]
    assert all(fault["meaning"] and not fault["on"] for fault in listed)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"name": "nonsense", "on": True}, "name='nonsense': must be one of"),
        ({"name": "reject_406"}, "on=None: must be true or false"),
        ({"name": "duplicates", "on": True, "share": 2}, "share=2: must be between 0 and 1"),
        ({"name": "duplicates", "on": True, "rate": 1}, "rate: duplicates has no such parameter"),
        ({"name": "auth_401", "on": True, "code": "x"}, "code='x': must be of the type of its default 401"),
    ],
)
def test_faults_when_a_request_is_wrong_then_it_is_refused_with_the_rule(body: dict[str, Any], words: str) -> None:
    """A wrong name, state or parameter changes nothing and is named."""
    panel = FaultPanel()
    with pytest.raises(InputError) as refusal:
        panel.switch(body)
    assert words in str(refusal.value)
    assert panel.active() == []


def test_faults_when_switched_over_http_then_a_refusal_is_422_with_the_words(simulator: SimulatorProcess) -> None:
    """What the panel refuses, the control route refuses."""
    with pytest.raises(InputError, match="name='nonsense': must be one of"):
        simulator.call("/simulator/faults", {"name": "nonsense", "on": True})
    assert simulator.state()["faults"] == []


@pytest.mark.parametrize(
    ("name", "parameters", "code"),
    [("reject_406", {}, 406), ("auth_401", {}, 401), ("auth_401", {"code": 402}, 402), ("stream_500", {}, 500)],
)
async def test_authentication_fault_when_on_then_new_connections_get_its_code(
    simulator: SimulatorProcess, name: str, parameters: dict[str, Any], code: int
) -> None:
    """A new connection is refused with the fault's code while it is on, and welcome after."""
    simulator.switch_fault(name, **parameters)
    assert (await first_error(simulator))["code"] == code
    simulator.switch_fault(name, on=False)
    assert await first_error(simulator) == {"T": "success", "msg": "authenticated"}


async def test_auth_401_when_on_then_rest_and_trading_stream_refuse(simulator: SimulatorProcess) -> None:
    """REST answers 401 and the trading stream unauthorized."""
    simulator.switch_fault("auth_401")
    assert rest_status(simulator) == 401
    async with connect(f"{simulator.ws}/stream") as client:
        await client.send(json.dumps(AUTH))
        assert json.loads(await client.recv())["data"]["status"] == "unauthorized"


async def test_silent_socket_when_on_then_nothing_arrives_and_pings_are_answered_or_not(
    simulator: SimulatorProcess, log_in: Any
) -> None:
    """A silent socket stays open; with pong false even a ping stays without answer; switched off, data goes on."""
    async with log_in(simulator, quotes=["*"]) as client:
        simulator.switch_fault("silent_socket")
        sent = simulator.state()["messages_sent"]
        published = simulator.state()["messages_published"]
        async with asyncio.timeout(10):
            await (await client.ping())
            while simulator.state()["messages_published"] == published:
                pass
        assert simulator.state()["messages_sent"] == sent
        simulator.switch_fault("silent_socket", pong=False)
        unanswered = await client.ping()
        simulator.switch_fault("silent_socket", on=False)
        assert await messages_until(client, bool)
        assert not unanswered.done()


async def test_slow_reader_when_on_then_407_and_the_end(simulator: SimulatorProcess, log_in: Any) -> None:
    """A client held to be slow is told so and closed, and its slot is free at once."""
    async with log_in(simulator, quotes=["*"]) as client:
        simulator.switch_fault("slow_reader")
        messages = await messages_until(client, lambda seen: any(message["T"] == "error" for message in seen))
        assert messages[-1] == {"T": "error", "code": 407, "msg": "slow client"}
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert simulator.state()["connections"]["slot"] == "nobody"


async def test_duplicates_when_all_are_repeated_then_each_message_comes_twice(
    simulator: SimulatorProcess, log_in: Any
) -> None:
    """With share 1, every message is followed by itself."""
    simulator.switch_fault("duplicates", share=1.0)
    async with log_in(simulator, trades=["*"]) as client:
        messages = await messages_until(client, lambda seen: len(seen) >= 8)
        assert messages[0:8:2] == messages[1:8:2]


async def test_out_of_order_when_on_then_messages_overtake_within_the_bound(start_simulator: Any, log_in: Any) -> None:
    """Messages overtake each other by no more than the bound, and none is lost when the fault ends."""
    simulator = start_simulator("--speed", "50", "--hold", "--symbols", "AAPL", "--late-trades", "0")
    simulator.switch_fault("out_of_order", max_ms=400)
    async with log_in(simulator, trades=["AAPL"]) as client:
        messages = await messages_until(client, lambda seen: len(seen) >= 60)
        simulator.switch_fault("out_of_order", on=False)
        ids = [message["i"] for message in messages]
        assert ids != sorted(ids)
        times = [parse_ns(message["t"]) for message in messages]
        lateness = [max(times[: index + 1]) - own for index, own in enumerate(times)]
        assert 0 < max(lateness) <= 400_000_000
        rest = await messages_until(client, lambda seen: len(seen) >= 40)
        missing = set(range(min(ids), max(ids) + 1)) - set(ids)
        assert missing <= {message["i"] for message in rest}


async def test_malformed_when_on_then_broken_elements_stand_between_the_true_ones(
    simulator: SimulatorProcess, log_in: Any
) -> None:
    """Broken frames and elements are added, and every true message still arrives."""
    simulator.switch_fault("malformed", share=0.5)
    simulator.call("/simulator/speed", {"speed": 20})
    async with log_in(simulator, trades=["AAPL"]) as client:
        messages = await messages_until(client, lambda seen: None in seen and len(seen) >= 30)
        true_ids = [
            m["i"] for m in messages if m is not None and m["T"] == "t" and isinstance(m.get("z"), str) and m["i"] > 2
        ]
        assert true_ids == list(range(true_ids[0], true_ids[0] + len(true_ids)))
        assert len(true_ids) < len(messages)


def test_http_500_when_on_then_rest_fails_where_it_should(simulator: SimulatorProcess) -> None:
    """REST fails with the given status under the given path and nowhere else."""
    simulator.switch_fault("http_500", status=503, path="/v2/stocks/")
    assert rest_status(simulator, "/v2/stocks/quotes/latest?symbols=AAPL") == 503
    assert rest_status(simulator) == 200
    simulator.switch_fault("http_500")
    assert rest_status(simulator) == 500


async def test_http_timeout_when_on_then_no_answer_until_it_is_off(simulator: SimulatorProcess) -> None:
    """A request hangs while the fault is on, and is answered once it is off."""
    simulator.switch_fault("http_timeout")
    asking = asyncio.create_task(asyncio.to_thread(rest_status, simulator))
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(rest_status, simulator, "/v2/clock", 0.3)
    assert not asking.done()
    simulator.switch_fault("http_timeout", on=False)
    assert await asking == 200


async def test_reject_orders_when_on_then_the_trade_update_says_rejected(simulator: SimulatorProcess) -> None:
    """An order that REST took is rejected by an update."""
    simulator.switch_fault("reject_orders")
    async with connect(f"{simulator.ws}/stream") as client, asyncio.timeout(10):
        await client.send(json.dumps(AUTH))
        await client.recv()
        await client.send(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        await client.recv()
        request = urllib.request.Request(
            f"{simulator.http}/v2/orders", data=json.dumps(ORDER).encode(), headers=HEADERS
        )
        await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=5).close())
        update = json.loads(await client.recv())["data"]
        assert (update["event"], update["order"]["status"]) == ("rejected", "rejected")


async def test_trade_updates_disconnect_when_on_then_trading_streams_are_cut(simulator: SimulatorProcess) -> None:
    """Connected trading streams are cut at once, new ones after they are authorised, and none once it is off."""
    async with connect(f"{simulator.ws}/stream") as client:
        await client.send(json.dumps(AUTH))
        await client.recv()
        simulator.switch_fault("trade_updates_disconnect")
        with pytest.raises(ConnectionClosed):
            await client.recv()
    async with connect(f"{simulator.ws}/stream") as client:
        await client.send(json.dumps(AUTH))
        with pytest.raises(ConnectionClosed):
            while True:
                await client.recv()


async def test_disconnect_when_asked_then_data_sockets_are_cut_once(simulator: SimulatorProcess, log_in: Any) -> None:
    """A disconnect cuts what is connected, and the next connection lives."""
    async with log_in(simulator, quotes=["*"]) as client:
        simulator.call("/simulator/disconnect", {"stream": "data"})
        with pytest.raises(ConnectionClosed):
            while True:
                await client.recv()
    async with log_in(simulator, quotes=["*"]) as client:
        assert await messages_until(client, bool)
