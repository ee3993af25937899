"""Which symbols: shapes of answers, one by one checked, shards, and what outlives a failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.forwarding import MARKET, environment, forwarding, ready, until
from torghut_core.ingest.universe import Universe, UniverseError, parse_symbols, read_answer, shard
from torghut_core.simulator import process as simulator


@pytest.mark.parametrize(
    ("body", "symbols"),
    [
        ({"symbols": ["aapl", " MSFT "]}, {"AAPL", "MSFT"}),
        ({"symbols": [{"symbol": "AAPL"}, {"contract_symbol": "MSFT"}]}, {"AAPL", "MSFT"}),
        (["AAPL", "BRK.B"], {"AAPL", "BRK.B"}),
        ({"symbols": ["AAPL"], "more": 1}, {"AAPL"}),
    ],
)
def test_answer_when_of_a_known_shape_then_its_symbols(body: Any, symbols: set[str]) -> None:
    """Objects, strings, and a bare array."""
    assert read_answer(body).symbols == symbols


def test_answer_when_one_symbol_is_bad_then_it_alone_is_left_out() -> None:
    """Each is checked by itself."""
    answer = read_answer({"symbols": ["AAPL", "no symbol", 7, None, {"name": "X"}, "x" * 33, "MSFT"]})
    assert answer.symbols == {"AAPL", "MSFT"}
    assert len(answer.rejected) == 5


@pytest.mark.parametrize(
    ("body", "reason"),
    [({"symbols": "MSFT"}, "bad_shape"), ({}, "bad_shape"), ("MSFT", "bad_shape"), (None, "bad_shape"),
     ({"symbols": []}, "empty_result"), ({"symbols": ["?"]}, "empty_result"), ([], "empty_result")],
)  # fmt: skip
def test_answer_when_it_holds_no_universe_then_a_failure_and_not_a_wish(body: Any, reason: str) -> None:
    """A string is not four symbols, and nothing is not everything to unsubscribe."""
    with pytest.raises(UniverseError, match=reason):
        read_answer(body)


def test_shard_when_crc32_is_known_then_the_symbol_is_in_that_one() -> None:
    """CRC-32 of the name modulo the count: AAPL 3060094812, NVDA 2809157911."""
    assert shard(["AAPL", "NVDA"], 5, 3060094812 % 5) >= {"AAPL"}
    assert [index for index in range(7) if shard(["NVDA"], 7, index)] == [2809157911 % 7]


@given(st.sets(st.text("ABCXYZ.", min_size=1, max_size=6)), st.integers(1, 5))
def test_shards_when_put_together_then_every_symbol_once(symbols: set[str], count: int) -> None:
    """No symbol is forwarded twice, none by nobody."""
    shards = [shard(symbols, count, index) for index in range(count)]
    assert sum(map(len, shards)) == len(symbols)
    assert frozenset().union(*shards) == symbols


def test_static_symbols_when_one_is_none_then_refused_by_name() -> None:
    """What an operator writes is corrected by the operator."""
    assert parse_symbols(" msft,AAPL,,AAPL") == ("AAPL", "MSFT")
    with pytest.raises(ValueError, match=r"'\$\$\$' is not a symbol"):
        parse_symbols("AAPL,$$$")


@asynccontextmanager
async def _answering(bodies: list[bytes | int]) -> AsyncIterator[str]:
    """Serve one body (or status) after the other, the last one for ever."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = bodies.pop(0) if len(bodies) > 1 else bodies[0]
        status, text = (body, b"") if isinstance(body, int) else (200, body)
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(text)) + text)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/symbols"


def _universe(url: str, on_change: Callable[[frozenset[str]], None]) -> Universe:
    return Universe(
        url=url, static=["SPY"], poll_seconds=0.01, shard_count=1, shard_index=0, on_change=on_change,
        monotonic=lambda: 0.0,
    )  # fmt: skip


async def test_universe_when_answers_fail_then_the_last_known_set_is_kept_and_each_failure_is_counted() -> None:
    """An outage of the URL, an empty table and garbage all leave what was."""
    changes: list[frozenset[str]] = []
    bodies: list[bytes | int] = [500, b"not json", b'{"symbols":[]}', b'["MSFT"]', b"[]", b'["MSFT","?"]']
    async with _answering(bodies) as url:
        universe, stop = _universe(url, changes.append), asyncio.Event()
        running = asyncio.create_task(universe.run(stop))
        await until(lambda: universe.rejected)
        stop.set()
        await running
    assert changes == [frozenset(["MSFT"])]
    assert universe.failures == {"http_500": 1, "not_json": 1, "empty_result": 2}
    assert (universe.error, universe.detail) == (None, "universe: not symbols: '?'")
    assert universe.read_at == 0.0


@pytest.mark.slow
async def test_forwarder_when_the_universe_comes_late_then_it_waits_for_it_and_says_so(tmp_path: Path) -> None:
    """An empty start connects to nothing, and is no reason to connect again every ten seconds."""
    with simulator.running(tmp_path, MARKET) as market:
        bodies: list[bytes | int] = [503]
        async with _answering(bodies) as url:
            given_ = environment(market, tmp_path / "kafka", SYMBOLS="", JANGAR_SYMBOLS_URL=url)
            async with forwarding(given_ | {"SYMBOLS_POLL_INTERVAL_MS": "50"}) as forwarder:
                await until(lambda: "no symbols yet" in (forwarder.readiness()[1]["detail"] or ""))
                assert forwarder.session.reconnects == 0
                bodies[:] = [b'{"symbols":["AAPL"]}']
                await ready(forwarder)
                bodies[:] = [b'{"symbols":["AAPL","MSFT"]}']
                await until(lambda: forwarder.session.subscriptions.acknowledged.get("bars") == {"AAPL", "MSFT"})
                bodies[:] = [b'{"symbols":["MSFT"]}']
                await until(lambda: forwarder.session.subscriptions.acknowledged.get("bars") == {"MSFT"})
                assert forwarder.session.reconnects == 0
