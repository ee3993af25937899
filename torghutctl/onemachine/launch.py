"""Start `up` and `demo`: the folder is taken, the environment made, the loop run, Ctrl-C obeyed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from torghutctl.errors import ConfigurationError
from torghutctl.onemachine.folder import held

Say = Callable[[str], None]


def up(folder: Path, port: int, given: Mapping[str, str], say: Say) -> None:
    """Run the whole system in `folder` until it is told to stop."""
    with held(folder) as local:
        try:
            from torghutctl.onemachine.system import LocalSystem, local_environment
        except ModuleNotFoundError as error:
            raise _missing(error) from error
        system = LocalSystem(local, local_environment(local, given, port), say)

        async def work(running: LocalSystem) -> None:
            say(f"up: the page is {running.page}/")
            say(f"look at it: torghutctl health-report --local {folder}")
            await running.stop.wait()

        asyncio.run(_until_signalled(system.stop, system.run(work)))
        say("stopped; the next start goes on from here")


def demo(
    folder: Path, *, replay: Path | None, speed: float, seed: int, port: int, keep: bool, say: Say, show: Say
) -> None:
    """Run the demo in `folder`. Raises UnverifiedError when a check did not pass."""
    if speed <= 0 or speed > 100_000:
        raise ConfigurationError(f"--speed={speed:g}: must be above 0 and at most 100000")
    if replay is not None and not replay.is_file():
        raise ConfigurationError(f"--replay={replay}: no such file")
    with held(folder) as local:
        try:
            from torghut_core.engines.postgres_embedded import stop_forgotten
            from torghutctl.onemachine.demo import Demo
        except ModuleNotFoundError as error:
            raise _missing(error) from error
        stop_forgotten(local.engines / "postgres")  # of a run that was killed: its files are about to go
        local.clear()
        walk = Demo(
            folder=local, shown=folder, replay=replay, speed=speed, seed=seed, port=port, keep=keep, say=say, show=show
        )
        walk.run(lambda stop, running: asyncio.run(_until_signalled(stop, running)))


def _missing(error: ModuleNotFoundError) -> ConfigurationError:
    return ConfigurationError(f"{error.name} is not installed", hint="pip install 'torghut[runtime,embedded]'")


async def _until_signalled(stop: asyncio.Event, running: Awaitable[None]) -> None:
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    await running
