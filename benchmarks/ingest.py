"""The forwarder beside alpaca-py: `python -m benchmarks.ingest`.

One server sends distinct ticks in frames of hundreds, as fast as they are taken. alpaca-py's `StockDataStream` decodes
them to dicts for an empty handler; the forwarder decodes, checks, dedups, numbers, serialises, compresses and sends them
to Apache Kafka. Each is a process of its own; what counts is messages per second of its CPU time.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import platform
import random
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from websockets.asyncio.server import ServerConnection, serve

from tests.fakes.apache_kafka import AS_IN_PRODUCTION, running
from torghut_core.exchange.messages import json_frame, msgpack_frame
from torghut_core.rfc3339 import format_ns

SYMBOLS = [f"S{number:03d}" for number in range(50)]
_PER_FRAME = 500
_BLOCK = 100_000
_START_NS = 1_767_623_400_000_000_000


def _messages(rng: random.Random, first: int, count: int) -> list[bytes]:
    """Return distinct trades and quotes, one of the first to three of the second."""
    found = []
    for number in range(first, first + count):
        at_ns = _START_NS + number * 20_000 + rng.randrange(20_000)
        symbol, price = SYMBOLS[rng.randrange(len(SYMBOLS))], rng.randrange(1_000, 90_000) / 100
        fields: dict[str, Any] = {"S": symbol, "c": ["@"], "z": "C", "t": format_ns(at_ns)}
        if number % 4 == 0:
            fields |= {"T": "t", "i": number, "x": "V", "p": price, "s": rng.randrange(1, 900)}
            fields = {"T": "t", **fields}
        else:
            fields = {
                "T": "q",
                **fields,
                "bx": "V",
                "bp": price,
                "bs": rng.randrange(1, 90),
                "ax": "V",
                "ap": round(price + 0.01, 2),
                "as": rng.randrange(1, 90),
                "c": ["R"],
            }
        found.append(msgspec.json.encode(fields))
    return found


def _frames(is_msgpack: bool, first: int, count: int) -> list[bytes]:
    messages = _messages(random.Random(first), first, count)
    frame = msgpack_frame if is_msgpack else json_frame
    return [frame(messages[at : at + _PER_FRAME]) for at in range(0, len(messages), _PER_FRAME)]


async def _serve(is_msgpack: bool, blocks: int, rate: float | None, port: Any) -> None:
    """Send blocks to each client that subscribes; frames of a block are made before it is sent."""
    ready = _frames(is_msgpack, 0, _BLOCK)

    async def handle(socket: ServerConnection) -> None:
        binary = "msgpack" in socket.request.headers.get("Content-Type", "")

        async def say(*messages: dict[str, Any]) -> None:
            await socket.send(msgspec.msgpack.encode(messages) if binary else msgspec.json.encode(messages).decode())

        await say({"T": "success", "msg": "connected"})
        await socket.recv()
        await say({"T": "success", "msg": "authenticated"})
        asked = await socket.recv()
        listed = dict.fromkeys(["trades", "quotes", "bars", "updatedBars", "statuses"], SYMBOLS)
        await say({"T": "subscription", **listed})
        del asked
        listening = asyncio.create_task(_listen(socket))
        sent = 0
        begun = time.monotonic()
        for block in range(blocks):
            frames = ready if block == 0 else await asyncio.to_thread(_frames, is_msgpack, block * _BLOCK, _BLOCK)
            if rate is None:
                begun = time.monotonic()
            for frame in frames:
                await socket.send(frame if binary else frame.decode())
                sent += _PER_FRAME
                if rate is not None:
                    await asyncio.sleep(max(0.0, begun + sent / rate - time.monotonic()))
        await listening

    async def _listen(socket: ServerConnection) -> None:
        async for _ in socket:
            pass

    async with serve(handle, "127.0.0.1", 0, compression=None, max_size=None, ping_interval=None) as server:
        port.send(server.sockets[0].getsockname()[1])
        await asyncio.get_running_loop().create_future()


def _server(is_msgpack: bool, blocks: int, rate: float | None, port: Any) -> None:
    asyncio.run(_serve(is_msgpack, blocks, rate, port))


def _alpaca(port: int, total: int, result: Any) -> None:
    """Decode `total` messages with alpaca-py; messages and CPU seconds after the first twentieth."""
    from alpaca.data.live import StockDataStream

    stream = StockDataStream("k", "s", raw_data=True, url_override=f"ws://127.0.0.1:{port}/v2/iex")
    seen = 0
    marks: list[tuple[int, float]] = []

    async def handler(_message: Any) -> None:
        nonlocal seen
        seen += 1
        if seen in (total // 20, total):
            marks.append((seen, time.process_time()))
            if seen == total:
                await stream.stop_ws()

    stream.subscribe_trades(handler, *SYMBOLS)
    stream.subscribe_quotes(handler, *SYMBOLS)
    stream.run()
    (first, began), (last, ended) = marks
    result.send({"rate": (last - first) / (ended - began)})


def _forward(port: int, bootstrap: str, codec: str, total: int, result: Any) -> None:
    """Forward `total` messages to Kafka; messages and CPU seconds after the first twentieth, latency, memory."""
    from torghut_core.engines.kafka_opening import open_kafka
    from torghut_core.ingest import service
    from torghut_core.ingest.settings import IngestSettings
    from torghut_core.settings import load

    settings = load(
        IngestSettings,
        {
            "ALPACA_KEY_ID": "k",
            "ALPACA_SECRET_KEY": "s",
            "ALPACA_STREAM_URL": f"ws://127.0.0.1:{port}",
            "SYMBOLS": ",".join(SYMBOLS),
            "KAFKA_BOOTSTRAP": bootstrap,
            "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
            "ALPACA_CODEC": codec,
            "TORGHUT_MARKET_CALENDAR": "always-open",
        },
    )
    latencies: list[float] = []

    async def run() -> dict[str, float]:
        forwarder, stop = service.Forwarder(settings, open_kafka(service.kafka_address(settings))), asyncio.Event()
        arrived: dict[int, float] = {}
        task = asyncio.create_task(forwarder.run(stop))
        lanes = forwarder.publisher.lanes

        def acked() -> int:
            return sum(lanes[topic].counts.produced for topic in (settings.topic_trades, settings.topic_quotes))

        put = forwarder.publisher.put

        def noted(chunks: Any) -> None:
            chunks = list(chunks)
            now = time.monotonic()
            for chunk in chunks:
                arrived[id(chunk)] = now
            put(chunks)

        forwarder.publisher.put = noted  # type: ignore[method-assign]
        original = forwarder._acked

        def on_acked(chunk: Any, seconds: float) -> None:
            at = arrived.pop(id(chunk), None)
            if at is not None:
                latencies.extend([time.monotonic() - at] * max(1, len(chunk) // 10))
            original(chunk, seconds)

        for lane in lanes.values():
            lane._on_acked = on_acked
        first, began = 0, 0.0
        while (count := acked()) < total:
            if not first and count >= total // 20:
                first, began = count, time.process_time()
                latencies.clear()
            await asyncio.sleep(0.02)
            if task.done():
                await task
        rate = (count - first) / (time.process_time() - began)
        stop.set()
        await task
        lost = sum(forwarder.publisher.dropped.values()) + sum(forwarder.drops.values())
        return {"rate": rate, "lost": lost, "repeats": sum(forwarder.repeats.values())}

    found = asyncio.run(run())
    latencies.sort()
    found["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if latencies:
        found["p50_ms"] = 1000 * latencies[len(latencies) // 2]
        found["p99_ms"] = 1000 * latencies[int(len(latencies) * 0.99)]
    result.send(found)


def _measure(
    target: Any, arguments: Sequence[Any], codec: str, total: int, rate: float | None = None
) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    port, told = context.Pipe(duplex=False)
    server = context.Process(target=_server, args=(codec == "msgpack", total // _BLOCK, rate, told), daemon=True)
    server.start()
    at = port.recv()
    result, send = context.Pipe(duplex=False)
    client = context.Process(target=target, args=(at, *arguments, send))
    client.start()
    send.close()
    try:
        found: dict[str, Any] = result.recv()
        return found
    finally:
        client.join(30)
        server.kill()
        server.join()


def run(messages: int, repeats: int, memory_messages: int) -> list[str]:
    """Return the report, a line each."""
    lines = [
        f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores; best of {repeats}, "
        f"{messages:,} distinct messages, frames of {_PER_FRAME}.",
        "",
        "| case | messages per CPU-second | beside alpaca-py |",
        "|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), AS_IN_PRODUCTION) as broker:
        theirs = max(_measure(_alpaca, (messages,), "msgpack", messages)["rate"] for _ in range(repeats))
        lines.append(f"| alpaca-py, decoding msgpack only | {theirs:,.0f} | 1.00 |")
        for codec in ("msgpack", "json"):
            found = [_measure(_forward, (broker.bootstrap, codec, messages), codec, messages) for _ in range(repeats)]
            best = max(found, key=lambda each: each["rate"])
            assert best["lost"] == 0, best
            lines.append(f"| run ws, {codec}, to Kafka | {best['rate']:,.0f} | {best['rate'] / theirs:.2f} |")
        paced = _measure(_forward, (broker.bootstrap, "msgpack", 400_000), "msgpack", 400_000, 20_000)
        lines += [
            "",
            f"At 20,000 messages a second, from the end of linger to the acknowledgement: p50 "
            f"{paced['p50_ms']:.1f} ms, p99 {paced['p99_ms']:.1f} ms.",
        ]
        if memory_messages:
            large = _measure(_forward, (broker.bootstrap, "msgpack", memory_messages), "msgpack", memory_messages)
            lines.append(f"Peak memory over {memory_messages:,} messages: {large['peak_mib']:.0f} MiB.")
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000, help="messages of each case (1,000,000)")
    parser.add_argument("--repeats", type=int, default=2, help="each case counts its best of so many (2)")
    parser.add_argument(
        "--memory-messages", type=int, default=5_000_000, help="messages of the memory case (5,000,000)"
    )
    chosen = parser.parse_args()
    for line in run(chosen.messages, chosen.repeats, chosen.memory_messages):
        print(line)


if __name__ == "__main__":
    main()
