"""The forwarder against the simulator's faults: each has its class and its remedy, and none needs a hand."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.forwarding import (
    MARKET,
    assert_complete,
    environment,
    forwarding,
    is_rising,
    market_trades,
    read_topic,
    ready,
    trade_numbers,
    unready,
    until,
)
from torghut_core import topics
from torghut_core.clock import FileClock
from torghut_core.engines.kafka import KafkaAddress
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.simulator import process as simulator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def market(tmp_path: Path) -> Iterator[simulator.SimulatorProcess]:
    """A market of two symbols."""
    with simulator.running(tmp_path, MARKET) as running:
        yield running


def _given(market: simulator.SimulatorProcess, folder: Path, **changes: str) -> dict[str, str]:
    return environment(market, folder / "kafka", **changes)


def _log(folder: Path) -> Any:
    return open_kafka(KafkaAddress(bootstrap=f"embedded:{folder / 'kafka'}", client_id="reader"))


@pytest.mark.parametrize(
    ("status", "error_class"),
    [(401, "alpaca_auth"), (403, "alpaca_auth"), (404, "alpaca_config"), (406, "alpaca_406_second_connection"),
     (429, "alpaca_406_second_connection"), (503, "unknown")],
)  # fmt: skip
async def test_upgrade_when_refused_then_the_status_decides_and_it_recovers(
    tmp_path: Path, market: simulator.SimulatorProcess, status: int, error_class: str
) -> None:
    """HTTP statuses are no frame codes; `detail` names the status."""
    market.switch_fault("upgrade_status", status=status)
    async with forwarding(_given(market, tmp_path)) as forwarder:
        body = await unready(forwarder, error_class)
        assert f"HTTP {status}" in body["detail"] or error_class == "unknown"
        market.switch_fault("upgrade_status", on=False)
        await ready(forwarder)
        assert forwarder.readiness()[1]["recent"][-1]["until"] is not None


async def test_upgrade_when_refused_with_retry_after_then_it_waits_that_long(
    tmp_path: Path, market: simulator.SimulatorProcess
) -> None:
    """A server that says when to come back is not asked before."""
    market.switch_fault("upgrade_status", status=429, retry_after=2)
    async with forwarding(_given(market, tmp_path)) as forwarder:
        await unready(forwarder, "alpaca_406_second_connection")
        await asyncio.sleep(1.2)
        assert forwarder.session.reconnects == 1


@pytest.mark.parametrize(("code", "error_class"), [(401, "alpaca_auth"), (402, "alpaca_auth"), (409, "alpaca_config")])
async def test_authentication_when_refused_then_its_class_and_it_recovers(
    tmp_path: Path, market: simulator.SimulatorProcess, code: int, error_class: str
) -> None:
    """The key is in no answer, and once it is taken again the forwarder goes on."""
    market.switch_fault("auth_401", code=code)
    async with forwarding(_given(market, tmp_path)) as forwarder:
        body = await unready(forwarder, error_class)
        assert str(code) in body["detail"]
        assert simulator.SECRET_KEY not in json.dumps(body)
        market.switch_fault("auth_401", on=False)
        await ready(forwarder)


async def test_stream_when_internal_error_then_unknown_and_it_recovers(
    tmp_path: Path, market: simulator.SimulatorProcess
) -> None:
    """500 names itself in `detail`, and is asked again."""
    market.switch_fault("stream_500")
    async with forwarding(_given(market, tmp_path)) as forwarder:
        await until(lambda: "500" in (forwarder.readiness()[1]["detail"] or ""))
        assert forwarder.readiness()[1]["error_class"] == "unknown"
        market.switch_fault("stream_500", on=False)
        await ready(forwarder)


async def test_subscription_when_the_plan_has_too_few_then_ready_for_what_fits_and_the_rest_is_named(
    tmp_path: Path,
) -> None:
    """Three symbols, a limit of four, a batch of 200 refused whole: two are forwarded."""
    options = [*MARKET, "--symbols", "AAPL,MSFT,NVDA", "--symbol-limit", "4"]
    with simulator.running(tmp_path, options) as market:
        async with forwarding(_given(market, tmp_path, SYMBOLS="AAPL,MSFT,NVDA")) as forwarder:
            await ready(forwarder)
            is_ready, body = forwarder.readiness()
            assert (is_ready, body["error_class"]) == (True, "alpaca_symbol_limit")
            assert body["left_out_symbols"] == ["NVDA"]
            assert "NVDA" in body["detail"]
            await until(lambda: forwarder.received > 20)
            assert forwarder.session.reconnects == 0
        async with forwarding(_given(market, tmp_path, SYMBOLS="AAPL,MSFT,NVDA", ALPACA_MAX_SYMBOLS="2")) as forwarder:
            await ready(forwarder)
            assert forwarder.readiness()[1]["left_out_symbols"] == ["MSFT", "NVDA"]


@pytest.mark.parametrize(
    ("refusal", "named"),
    [({"code": 400, "symbol": "MSFT"}, "MSFT"), ({"code": 410, "channel": "updatedBars"}, "updatedBars")],
)
async def test_subscription_when_a_part_is_refused_then_named_and_the_rest_flows(
    tmp_path: Path, market: simulator.SimulatorProcess, refusal: dict[str, Any], named: str
) -> None:
    """A matter of configuration: it is said which symbol or channel, it costs itself alone, and passes by itself."""
    market.switch_fault("refuse_subscription", **refusal)
    async with forwarding(_given(market, tmp_path)) as forwarder:
        body = await unready(forwarder, "alpaca_config")
        await until(lambda: named in (forwarder.readiness()[1]["detail"] or ""))
        lane = forwarder.publisher.lanes[topics.TRADES.name]
        await until(lambda: lane.counts.produced > 3)
        assert body["feed"] == "iex"
        connections = forwarder.session.reconnects
        market.switch_fault("refuse_subscription", on=False)
        await ready(forwarder)
        assert forwarder.session.reconnects == connections


async def test_stream_when_the_client_is_called_slow_then_counted_and_connected_again_ever_more_slowly(
    tmp_path: Path, market: simulator.SimulatorProcess
) -> None:
    """407 has its own class; failures that come before a stretch of readiness count on."""
    async with forwarding(_given(market, tmp_path)) as forwarder:
        await ready(forwarder)
        market.switch_fault("slow_reader", max_pending_bytes=-1)
        await unready(forwarder, "alpaca_slow_client")
        await until(lambda: forwarder.session.attempt >= 3)
        market.switch_fault("slow_reader", on=False)
        await ready(forwarder)
        assert forwarder.session.connect_errors["alpaca_slow_client"] >= 3


async def test_stream_when_mute_then_silent_at_once_and_an_acknowledgement_alone_is_not_enough(
    tmp_path: Path, market: simulator.SimulatorProcess
) -> None:
    """Pings tell of a mute socket; ready again only when a trade or quote comes."""
    async with forwarding(_given(market, tmp_path)) as forwarder:
        await ready(forwarder)
        await until(lambda: forwarder.received > 5)
        market.switch_fault("silent_socket", pong=False)
        body = await unready(forwarder, "feed_silent", 8)
        assert "ping" in body["recent"][-1]["detail"]
        market.switch_fault("silent_socket", pong=True)
        connects = forwarder.session.connects
        await until(lambda: forwarder.session.connects > connects and forwarder.session.failure is None)
        assert forwarder.readiness()[1]["error_class"] == "feed_silent"
        market.switch_fault("silent_socket", on=False)
        await ready(forwarder)


async def test_stream_when_silent_in_regular_hours_then_not_ready_and_connected_again(
    tmp_path: Path, market: simulator.SimulatorProcess
) -> None:
    """Answered pings do not make a feed; the limit is the setting's, thirty seconds at most."""
    given = _given(
        market, tmp_path, ALPACA_MARKET_DATA_READ_IDLE_TIMEOUT_MS="1500", ENABLE_TRADES_BACKFILL="true"
    )  # fmt: skip
    async with forwarding(given) as forwarder:
        await ready(forwarder)
        market.switch_fault("silent_socket")
        await unready(forwarder, "feed_silent")
        await until(lambda: forwarder.session.reconnects >= 1)
        market.switch_fault("silent_socket", on=False)
        await ready(forwarder)
        await asyncio.sleep(1.2)  # beyond what happens together and is filled together
        await until(lambda: forwarder._backfill.is_idle)  # type: ignore[union-attr]
    found = await read_topic(_log(tmp_path), topics.TRADES.name)
    for symbol in ("AAPL", "MSFT"):
        numbers = trade_numbers(found, symbol)
        made = await market_trades(market, symbol)
        last = max(made.index(number) for number in numbers)
        assert (len(set(numbers)), set(made[: last + 1]) - set(numbers)) == (len(numbers), set())


async def test_stream_when_cut_again_and_again_then_gaps_are_told_and_trades_backfilled_once(
    tmp_path: Path, market: simulator.SimulatorProcess
) -> None:
    """With trade backfill on, what the gaps cost is brought by REST, and nothing is there twice."""
    async with forwarding(_given(market, tmp_path, ENABLE_TRADES_BACKFILL="true")) as forwarder:
        await ready(forwarder)
        for _ in range(5):
            received = forwarder.received
            await until(lambda received=received: forwarder.received > received + 5)
            reconnects = forwarder.session.reconnects
            market.call("/simulator/disconnect", {"stream": "data"})
            await until(lambda reconnects=reconnects: forwarder.session.reconnects > reconnects)
            await ready(forwarder)
        received = forwarder.received
        await until(lambda: forwarder.received > received + 5)
        await until(lambda: forwarder._backfill.is_idle)  # type: ignore[union-attr]
    log = _log(tmp_path)
    found = await read_topic(log, topics.TRADES.name)
    assert is_rising(found)
    for symbol in ("AAPL", "MSFT"):
        numbers = trade_numbers(found, symbol)
        made = await market_trades(market, symbol)
        assert len(set(numbers)) == len(numbers)
        last = max(made.index(number) for number in numbers)
        assert set(made[: last + 1]) - set(numbers) == set()
    events = [each.payload for each in await read_topic(log, topics.STATUS.name) if each.symbol == "ws"]
    kinds = {each["event"] for each in events}
    assert {"connected", "subscribed", "reconnect", "gap", "degraded", "ready", "backfilled"} <= kinds
    (gap, *_) = [each for each in events if each["event"] == "gap"]
    assert gap["from"] <= gap["to"]


async def test_bars_when_the_forwarder_starts_late_then_the_minutes_before_are_there_once(tmp_path: Path) -> None:
    """From the last acknowledged minute, final, source rest; a second start brings none of them again."""
    options = [*MARKET, "--history-minutes", "30"]
    with simulator.running(tmp_path, options) as market:
        given = _given(market, tmp_path, ENABLE_BARS_BACKFILL="true")
        for _ in range(2):
            async with forwarding(given) as forwarder:
                await ready(forwarder)
                await until(lambda forwarder=forwarder: forwarder._backfill.is_idle)
                await until(lambda forwarder=forwarder: forwarder._backfill.filled.get("bars") is not None)
        bars = await read_topic(_log(tmp_path), topics.BARS_1M.name)
    rest = [each for each in bars if each.source == "rest"]
    assert {each.is_final for each in rest} == {True}
    minutes = {(each.symbol, each.event_ts) for each in rest}
    assert len(minutes) >= 50
    assert len(rest) == len(minutes)


async def test_stream_when_messages_are_malformed_then_each_is_counted_and_none_of_the_others_is_lost(
    tmp_path: Path,
) -> None:
    """One bad message in ten, frames among them, on both ways of encoding."""
    for codec in ("msgpack", "json"):
        folder = tmp_path / codec
        folder.mkdir()
        with simulator.running(folder, MARKET) as market:
            market.switch_fault("malformed", share=0.1)
            async with forwarding(_given(market, folder, ALPACA_CODEC=codec)) as forwarder:
                await ready(forwarder)
                await until(lambda forwarder=forwarder: sum(forwarder.drops.values()) > 10)
                assert forwarder.session.reconnects == 0
            await assert_complete(_log(folder), market)


async def test_stream_when_corrections_and_halts_come_then_they_are_forwarded(
    tmp_path: Path, market: simulator.SimulatorProcess
) -> None:
    """Corrections and cancels to the trades topic with their type, halts to the status topic."""
    messages = [
        {"T": "c", "S": "AAPL", "x": "V", "oi": 1, "op": 1.5, "os": 1, "oc": ["@"], "ci": 2, "cp": 1.6, "cs": 1},
        {"T": "x", "S": "AAPL", "i": 1, "x": "V", "p": 1.5, "s": 1, "a": "C", "z": "C"},
        {"T": "s", "S": "AAPL", "sc": "H", "sm": "Trading Halt", "rc": "T12", "rm": "News pending", "z": "C"},
    ]
    async with forwarding(_given(market, tmp_path)) as forwarder:
        await ready(forwarder)
        market.call("/simulator/inject", {"messages": messages})
        log = _log(tmp_path)

        async def told() -> list[tuple[str, object, object]]:
            trades, status = [await read_topic(log, each.name) for each in (topics.TRADES, topics.STATUS)]
            changes = [("trades", each.payload["T"], each.payload["x"]) for each in trades if each.payload.get("T")]
            halts = [("status", each.payload["sc"], each.payload["rc"]) for each in status if "sc" in each.payload]
            return sorted(changes + halts, key=str)

        async def all_there() -> bool:
            return len(await told()) >= 3

        await until(all_there)
        assert await told() == [("status", "H", "T12"), ("trades", "c", "V"), ("trades", "x", "V")]


async def test_overnight_when_asked_for_then_its_own_path(tmp_path: Path) -> None:
    """`/v1beta1/overnight`, not a path of the second version that answers 404 for ever."""
    with simulator.running(tmp_path, [*MARKET, "--feeds", "overnight"]) as market:
        async with forwarding(_given(market, tmp_path, ALPACA_FEED="overnight")) as forwarder:
            await ready(forwarder)
            log = _log(tmp_path)

            async def has_quotes() -> bool:
                return len(await read_topic(log, topics.QUOTES.name)) > 5

            await until(has_quotes)
            assert {each.feed for each in await read_topic(log, topics.QUOTES.name)} == {"overnight"}


async def test_trade_updates_when_enabled_then_each_is_in_its_topic_and_gates_readiness(
    tmp_path: Path, market: simulator.SimulatorProcess
) -> None:
    """Order events go to their own topic; a lost stream closes the gate and comes back."""
    given = _given(
        market, tmp_path, ENABLE_TRADE_UPDATES="true", ALPACA_TRADE_STREAM_URL=f"{market.ws}/stream",
        TOPIC_TRADE_UPDATES="torghut.trade-updates.v1",
    )  # fmt: skip
    import httpx

    headers = {"APCA-API-KEY-ID": simulator.KEY_ID, "APCA-API-SECRET-KEY": simulator.SECRET_KEY}
    async with forwarding(given) as forwarder:
        await ready(forwarder)
        order = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
        async with httpx.AsyncClient(headers=headers) as client:
            (await client.post(f"{market.http}/v2/orders", json=order)).raise_for_status()
        lane = forwarder.publisher.lanes["torghut.trade-updates.v1"]
        await until(lambda: lane.counts.produced >= 2)
        market.switch_fault("trade_updates_disconnect")
        await until(lambda: not forwarder.readiness()[1]["gates"]["trade_updates"])
        market.switch_fault("trade_updates_disconnect", on=False)
        await ready(forwarder)
    found = await read_topic(_log(tmp_path), "torghut.trade-updates.v1")
    assert {"new", "fill"} <= {each.payload["event"] for each in found}
    assert {each.symbol for each in found} == {"AAPL"}


async def test_numbers_when_the_clock_jumps_back_between_two_starts_then_they_still_rise(
    tmp_path: Path, market: simulator.SimulatorProcess
) -> None:
    """An hour back while it runs, and at the next start: the topic's last record says where numbers go on."""
    clock = tmp_path / "clock.json"
    FileClock.write(clock, origin_ns=time.time_ns(), speed=1.0)
    given = _given(market, tmp_path, TORGHUT_CLOCK=f"file:{clock}")
    for _ in range(2):
        async with forwarding(given) as forwarder:
            await ready(forwarder)
            await until(lambda forwarder=forwarder: forwarder.received > 20)
            FileClock.write(clock, origin_ns=time.time_ns() - 3_600_000_000_000, speed=1.0)
            received = forwarder.received
            await until(lambda forwarder=forwarder, received=received: forwarder.received > received + 10)
            assert forwarder.readiness()[0]
    for topic in (topics.TRADES, topics.QUOTES, topics.STATUS):
        assert is_rising(await read_topic(_log(tmp_path), topic.name))


async def test_liveness_when_only_a_restart_cures_then_it_fails_and_not_before(
    tmp_path: Path, market: simulator.SimulatorProcess
) -> None:
    """A refused key, a silent feed or a dead broker are nothing that a restart would cure."""
    market.switch_fault("auth_401")
    async with forwarding(_given(market, tmp_path, HEALTH_NOT_READY_KILL_AFTER_MS="1000")) as forwarder:
        await unready(forwarder, "alpaca_auth")
        await asyncio.sleep(1.5)
        assert forwarder.is_alive()
        forwarder.publisher.wedged_seconds = lambda: 1.0  # type: ignore[method-assign]
        assert not forwarder.is_alive()
