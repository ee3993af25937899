"""Simulators in their own processes, and plain JSON clients of their streams."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from torghut_core.simulator import process
from torghut_core.simulator.process import KEY_ID, SECRET_KEY, SimulatorProcess

Start = Callable[..., SimulatorProcess]
Login = Callable[..., AbstractAsyncContextManager[ClientConnection]]

AUTH = json.dumps({"action": "auth", "key": KEY_ID, "secret": SECRET_KEY})


@pytest.fixture
def start_simulator(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts a simulator with further arguments; all of them end with the test."""
    started: list[SimulatorProcess] = []

    def start(*arguments: str) -> SimulatorProcess:
        folder = tmp_path / f"simulator{len(started)}"
        folder.mkdir()
        started.append(process.start(folder, ["--history-minutes", "2", "--calendar", "always-open", *arguments]))
        return started[-1]

    yield start
    for simulator in started:
        assert simulator.stop() == 0, "a simulator ends cleanly on SIGTERM"


@pytest.fixture
def simulator(start_simulator: Start) -> SimulatorProcess:
    """Return a generated market, always open."""
    return start_simulator()


async def receive(client: ClientConnection) -> list[dict[str, Any]]:
    """Return the next frame's messages."""
    frame: list[dict[str, Any]] = json.loads(await client.recv())
    return frame


async def collect(client: ClientConnection, is_enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """Return messages until there are enough of them."""
    messages: list[dict[str, Any]] = []
    while not is_enough(messages):
        messages += await receive(client)
    return messages


@pytest.fixture
def log_in() -> Login:
    """Return a context manager that connects and authenticates a JSON client, and subscribes to given channels."""

    @asynccontextmanager
    async def log_in(simulator: SimulatorProcess, **channels: list[str]) -> AsyncIterator[ClientConnection]:
        async with connect(f"{simulator.ws}/v2/iex") as client:
            assert await receive(client) == [{"T": "success", "msg": "connected"}]
            await client.send(AUTH)
            assert await receive(client) == [{"T": "success", "msg": "authenticated"}]
            if channels:
                await client.send(json.dumps({"action": "subscribe", **channels}))
                assert (await receive(client))[0]["T"] == "subscription"
            yield client

    return log_in
