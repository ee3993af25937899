"""The market-data stream as a plain WebSocket client sees it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from torghut_core.simulator.process import KEY_ID, SECRET_KEY, SimulatorProcess

pytestmark = pytest.mark.slow  # each starts a simulator, and talks to it

CONNECTED = [{"T": "success", "msg": "connected"}]
AUTH = {"action": "auth", "key": KEY_ID, "secret": SECRET_KEY}


def error(code: int, msg: str) -> list[dict[str, Any]]:
    """Return the frame of one error."""
    return [{"T": "error", "code": code, "msg": msg}]


async def exchange(client: Any, request: Any) -> Any:
    """Send a request and return the next frame."""
    await client.send(request if isinstance(request, str) else json.dumps(request))
    return json.loads(await client.recv())


async def test_stream_when_subscribed_in_steps_then_acknowledgements_are_cumulative(
    start_simulator: Any, log_in: Any
) -> None:
    """Each acknowledgement lists everything subscribed so far, per channel."""
    simulator = start_simulator("--hold")
    async with log_in(simulator) as client:
        [first] = await exchange(client, {"action": "subscribe", "trades": ["AAPL"], "bars": ["*"]})
        simulator.call("/simulator/hold", {})
        empty: dict[str, list[str]] = {"updatedBars": [], "dailyBars": [], "statuses": [], "lulds": []}
        follows = {"corrections": ["AAPL"], "cancelErrors": ["AAPL"]}
        assert first == {"T": "subscription", "trades": ["AAPL"], "quotes": [], "bars": ["*"], **empty, **follows}


async def test_stream_when_unsubscribed_then_the_rest_stays(simulator: SimulatorProcess, log_in: Any) -> None:
    """Taking symbols away leaves the others, and the acknowledgement says so."""
    async with log_in(simulator) as client:
        await exchange(client, {"action": "subscribe", "statuses": ["AAPL", "MSFT"]})
        [left] = await exchange(client, {"action": "unsubscribe", "statuses": ["AAPL"]})
        assert left["statuses"] == ["MSFT"]


async def test_stream_when_symbols_are_named_then_only_they_arrive(simulator: SimulatorProcess, log_in: Any) -> None:
    """A client gets the channels and symbols it asked for, and nothing else."""
    async with log_in(simulator, trades=["AAPL"], quotes=["MSFT"]) as client:
        seen: set[tuple[str, str]] = set()
        while len(seen) < 2:
            seen |= {(message["T"], message["S"]) for message in json.loads(await client.recv())}
        for _ in range(5):
            seen |= {(message["T"], message["S"]) for message in json.loads(await client.recv())}
        assert seen == {("t", "AAPL"), ("q", "MSFT")}


async def test_stream_when_requests_are_wrong_then_each_gets_its_code(simulator: SimulatorProcess) -> None:
    """Requests before, during and after authentication are answered with Alpaca's codes, and the socket stays."""
    async with connect(f"{simulator.ws}/v2/iex") as client:
        assert json.loads(await client.recv()) == CONNECTED
        assert await exchange(client, "no json") == error(400, "invalid syntax")
        assert await exchange(client, {"action": "subscribe", "trades": ["A"]}) == error(401, "not authenticated")
        assert await exchange(client, AUTH) == [{"T": "success", "msg": "authenticated"}]
        assert await exchange(client, AUTH) == error(403, "already authenticated")
        assert await exchange(client, {"action": "dance"}) == error(400, "invalid syntax")
        assert await exchange(client, {"action": "subscribe", "trades": "AAPL"}) == error(400, "invalid syntax")
        wrong_channel = {"action": "subscribe", "orderbooks": ["AAPL"]}
        assert await exchange(client, wrong_channel) == error(410, "invalid subscribe action for this feed")


async def test_stream_when_the_secret_is_wrong_then_402_and_the_end(simulator: SimulatorProcess) -> None:
    """Bad credentials are told apart from none, and end the connection."""
    async with connect(f"{simulator.ws}/v2/iex") as client:
        await client.recv()
        assert await exchange(client, {**AUTH, "secret": "wrong"}) == error(402, "auth failed")
        with pytest.raises(ConnectionClosed):
            await client.recv()


async def test_stream_when_nobody_authenticates_then_404_and_the_end(start_simulator: Any) -> None:
    """A client that says nothing is sent away."""
    simulator = start_simulator("--auth-seconds", "0.1")
    async with connect(f"{simulator.ws}/v2/iex") as client:
        assert json.loads(await client.recv()) == CONNECTED
        assert json.loads(await client.recv()) == error(404, "auth timeout")
        with pytest.raises(ConnectionClosed):
            await client.recv()


async def test_stream_when_limits_of_the_plan_are_passed_then_405_and_409(start_simulator: Any, log_in: Any) -> None:
    """Too many symbols leave the subscription as it was; a feed outside the plan is refused."""
    simulator = start_simulator("--symbol-limit", "3", "--feeds", "iex")
    async with log_in(simulator) as client:
        assert (await exchange(client, {"action": "subscribe", "statuses": ["A", "B", "C", "D"]}))[0]["statuses"]
        too_many = {"action": "subscribe", "trades": ["A", "B"], "quotes": ["A", "B"]}
        assert await exchange(client, too_many) == error(405, "symbol limit exceeded")
        assert (await exchange(client, {"action": "unsubscribe"}))[0]["trades"] == []
    async with connect(f"{simulator.ws}/v2/sip") as client:
        await client.recv()
        assert await exchange(client, AUTH) == error(409, "insufficient subscription")


async def test_stream_when_a_second_client_comes_then_406_until_the_slot_is_free(
    simulator: SimulatorProcess, log_in: Any
) -> None:
    """An account has one connection; another client may have it after the first has gone."""
    async with log_in(simulator), connect(f"{simulator.ws}/v2/iex") as second:
        await second.recv()
        assert await exchange(second, AUTH) == error(406, "connection limit exceeded")
        with pytest.raises(ConnectionClosed):
            await second.recv()
    while simulator.state()["connections"]["slot"] != "nobody":
        pass
    async with log_in(simulator):
        assert simulator.state()["connections"]["slot"] == "client"


async def test_stream_when_the_simulator_occupies_the_slot_then_406_until_released(
    simulator: SimulatorProcess, log_in: Any
) -> None:
    """The slot can be wished for while a client has it, is taken when that client is cut, and given back."""
    async with log_in(simulator) as client:
        assert simulator.call("/simulator/occupy", {})["connections"]["slot"] == "client"
        assert simulator.call("/simulator/disconnect", {})["connections"]["slot"] == "simulator"
        with pytest.raises(ConnectionClosed):
            await client.recv()
    async with connect(f"{simulator.ws}/v2/iex") as second:
        await second.recv()
        assert await exchange(second, AUTH) == error(406, "connection limit exceeded")
    assert simulator.call("/simulator/release", {})["connections"]["slot"] == "nobody"
    async with log_in(simulator):
        assert simulator.state()["connections"]["slot"] == "client"


async def test_stream_when_asked_for_msgpack_then_frames_are_binary_with_exact_times(
    start_simulator: Any,
) -> None:
    """A client that sends the msgpack content type speaks msgpack both ways."""
    simulator = start_simulator("--hold")
    headers = {"Content-Type": "application/msgpack"}
    async with connect(f"{simulator.ws}/v2/iex", additional_headers=headers) as client:
        frame = await client.recv()
        assert isinstance(frame, bytes)
        assert msgspec.msgpack.decode(frame) == CONNECTED
        await client.send(msgspec.msgpack.encode(AUTH))
        await client.recv()
        await client.send(msgspec.msgpack.encode({"action": "subscribe", "quotes": ["AAPL"]}))
        await client.recv()
        quote = msgspec.msgpack.decode(await client.recv())[0]
        assert (quote["T"], quote["S"], quote["t"].tzinfo is not None) == ("q", "AAPL", True)


async def test_stream_when_the_path_is_unknown_then_404(simulator: SimulatorProcess) -> None:
    """A stream that does not exist is refused at the handshake."""
    with pytest.raises(InvalidStatus) as refusal:
        async with connect(f"{simulator.ws}/v9/nothing"):
            raise AssertionError("a handshake with an unknown path succeeded")
    assert refusal.value.response.status_code == 404


async def test_trading_stream_when_greeted_either_way_then_it_answers_in_binary(simulator: SimulatorProcess) -> None:
    """Both spellings of the greeting authorise, answers are JSON in binary frames, a wrong key is unauthorized."""
    nested = {"action": "authenticate", "data": {"key_id": KEY_ID, "secret_key": SECRET_KEY}}
    for greeting, status in ((AUTH, "authorized"), (nested, "authorized"), ({**AUTH, "key": "x"}, "unauthorized")):
        async with connect(f"{simulator.ws}/stream") as client, asyncio.timeout(10):
            await client.send(json.dumps(greeting))
            answer = await client.recv()
            assert isinstance(answer, bytes)
            assert json.loads(answer)["data"]["status"] == status
            await client.send(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
            streams = json.loads(await client.recv())["data"]["streams"]
            assert streams == (["trade_updates"] if status == "authorized" else [])
