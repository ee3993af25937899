"""Run the simulator: `python -m torghut_core.simulator --help`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from torghut_core.errors import TorghutError
from torghut_core.simulator.dump import write_dump
from torghut_core.simulator.generator import GeneratedSource
from torghut_core.simulator.options import Options, parse_options
from torghut_core.simulator.server import Simulator
from torghut_core.simulator.wire import listen

_PARENT_POLL_SECONDS = 0.5


def write_announcement(path: Path, host: str, port: int) -> None:
    """Write `{"pid", "port", "http", "ws"}` in one step, so that a reader sees all of it or nothing."""
    text = json.dumps({"pid": os.getpid(), "port": port, "http": f"http://{host}:{port}", "ws": f"ws://{host}:{port}"})
    scratch = path.with_name(f"{path.name}.{os.getpid()}.new")
    scratch.write_text(text)
    scratch.replace(path)


async def serve(options: Options) -> None:
    """Serve until SIGTERM or SIGINT, or the parent's end when asked to."""
    started_by = os.getppid()
    listener = listen(options.host, options.port)
    try:
        simulator = Simulator(options, time.time_ns())
        await simulator.wire.start(listener)
        running = asyncio.create_task(simulator.run(), name="simulator")
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):  # before anybody is told where the process is
            loop.add_signal_handler(number, running.cancel)
        watch = None
        if options.with_parent is not None:
            watch = asyncio.create_task(_watch_parent(options.with_parent or started_by, running))
        try:
            port = listener.getsockname()[1]
            if options.announce is not None:
                write_announcement(options.announce, options.host, port)
            sys.stderr.write(
                f"simulator: {options.market} market on http://{options.host}:{port} (ws: /v2/iex, /stream)\n"
            )
            with contextlib.suppress(asyncio.CancelledError):
                await running
        finally:
            if watch is not None:
                watch.cancel()
            await simulator.wire.stop()
    finally:
        listener.close()


async def _watch_parent(parent: int, running: asyncio.Task[None]) -> None:
    while os.getppid() == parent:  # noqa: ASYNC110  a parent's end is no event, only a changed number
        await asyncio.sleep(_PARENT_POLL_SECONDS)
    running.cancel()


def dump(options: Options, path: Path) -> None:
    """Write a stretch of the generated market to a file."""
    start_ns = options.dump_start_ns()
    source = GeneratedSource(
        seed=options.seed,
        symbols=options.symbols,
        start_ns=start_ns,
        calendar=options.calendar,
        late_trades=options.late_trades,
    )
    count = write_dump(path, source, start_ns + int(options.minutes * 60e9))
    sys.stderr.write(f"simulator: {count} messages written to {path}\n")


def main(arguments: Sequence[str]) -> int:
    """Run with command-line arguments; return the exit code."""
    try:
        options = parse_options(arguments)
        if options.dump is not None:
            dump(options, options.dump)
        else:
            asyncio.run(serve(options))
    except TorghutError as error:
        hint = f" ({error.hint})" if error.hint else ""
        sys.stderr.write(f"simulator: {error}{hint}\n")
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
