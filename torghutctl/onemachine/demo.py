"""The demo: `up` on the simulator, and an operator who types the commands anyone would type."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import httpx

from torghut_core.simulator import process as simulator
from torghut_core.simulator.replay import read_lines
from torghutctl import assets
from torghutctl.adapters.git_client import GitClient
from torghutctl.errors import InputError, UnverifiedError, UpstreamError
from torghutctl.onemachine.folder import LocalFolder
from torghutctl.onemachine.system import LocalSystem, local_environment

Say = Callable[[str], None]
_GITOPS_PATH = "argocd/applications/torghut"
_SYMBOLS = "AAPL,AMZN,MSFT,NVDA,TSLA"
_WALK_SPEED = 10.0
"""A faster replay slows down to this for the operator's walk: reports are made in real seconds."""


@dataclass
class Demo:
    """One run of the demo."""

    folder: LocalFolder
    shown: Path
    replay: Path | None
    speed: float
    seed: int
    port: int
    keep: bool
    say: Say
    show: Say
    checks: list[tuple[bool, str]] = field(default_factory=list)
    is_walked: bool = False
    _began: float = field(default_factory=time.monotonic)

    def run(self, loop: Callable[[asyncio.Event, Awaitable[None]], None]) -> None:
        """Start the simulator and the system, walk, and tell what was checked."""
        self._progress("starting a simulated market and an Alpaca-compatible server over it")
        with simulator.running(self.folder.path, self._simulator_arguments()) as market:
            environment = local_environment(self.folder, self._given(market), self.port)

            async def whole() -> None:
                system = LocalSystem(self.folder, environment, self._progress, stop=stop)
                await system.run(lambda running: self._walk(running, market))

            stop = asyncio.Event()
            loop(stop, whole())
        if not self.is_walked:
            raise UnverifiedError(f"the demo was stopped after {len(self.checks)} checks, before its end")
        failed = [what for is_ok, what in self.checks if not is_ok]
        if failed:
            raise UnverifiedError(
                f"{len(failed)} of {len(self.checks)} checks did not pass", hint=f"read {self.folder.log_file}"
            )
        self._progress(f"{len(self.checks)} checks passed")

    def _simulator_arguments(self) -> list[str]:
        arguments = ["--clock-file", str(self._clock_file), "--seed", str(self.seed), "--speed", str(self.speed)]
        if self.replay is None:
            return [*arguments, "--symbols", _SYMBOLS, "--calendar", "always-open"]
        return [*arguments, "--market", "replay", "--file", str(self.replay), "--hold", "--calendar", self._calendar]

    @property
    def _clock_file(self) -> Path:
        return self.folder.path / "clock.json"

    @property
    def _calendar(self) -> str:
        return "always-open" if self.replay is None else "XNYS"

    def _given(self, market: simulator.SimulatorProcess) -> dict[str, str]:
        symbols = _SYMBOLS if self.replay is None else ",".join(_symbols_of(self.replay))
        # Intervals of real time are short, since market time runs fast.
        return {
            "APCA_API_KEY_ID": simulator.KEY_ID,
            "APCA_API_SECRET_KEY": simulator.SECRET_KEY,
            "APCA_API_BASE_URL": market.http,
            "ALPACA_BASE_URL": market.http,
            "ALPACA_STREAM_URL": market.ws,
            "ALPACA_FEED": "iex" if self.replay is None else "sip",
            "SYMBOLS": symbols,
            "TORGHUT_CLOCK": f"file:{self._clock_file}",
            "TORGHUT_MARKET_CALENDAR": self._calendar,
            "TRADING_POLL_MS": "500",
            "TRADING_RECONCILE_MS": "1000",
            # Asked many times faster than a real account; the simulated broker has no limit.
            "TRADING_BROKER_REQUESTS_PER_MINUTE": "6000",
            "TA_CLICKHOUSE_FLUSH_MS": "250",
            "GUARDRAILS_SCRAPE_SECONDS": "1",
            "RECONNECT_BASE_MS": "200",
            "RECONNECT_MAX_MS": "1000",
            "RECONNECT_REFUSED_MS": "1000",
            "SYMBOLS_POLL_INTERVAL_MS": "2000",
        }

    # The walk

    async def _walk(self, system: LocalSystem, market: simulator.SimulatorProcess) -> None:
        if self.replay is None:
            self._progress("the market calendar is set to always open, so this works at any hour and on any day")
        else:
            self._progress(f"replaying {self.replay} at {self.speed:g} times its speed, on the recorded day's calendar")
        async with httpx.AsyncClient(timeout=10.0) as http:
            await self._see_it_work(system, http, market)
            await self._report("healthy", 0)
            await self._break_and_mend(system, http, market)
            await self._pause(self._make_forge())
            await self._report("healthy", 0)
            if self.replay is not None:
                await self._finish_replay(http, system, market)
        self.is_walked = True
        for is_ok, what in self.checks:
            self.show(f"{'ok    ' if is_ok else 'FAILED'}  {what}")
        if self.keep:
            self.say(f"the page is {system.page}/ - stop with Ctrl-C")
            await system.stop.wait()

    async def _see_it_work(
        self, system: LocalSystem, http: httpx.AsyncClient, market: simulator.SimulatorProcess
    ) -> None:
        services = system.services
        ready = {name: f"{services[name][role]}/readyz" for name, role in (("forwarder", "health"), ("ta", "health"))}
        for name, url in ready.items():
            await self._until(f"{name} is ready", partial(_status, http, url, 200))
        latest = f"{system.page}/api/torghut/ta/latest?symbol={system.environment['SYMBOLS'].split(',')[0]}"
        await self._until("rows arrive in ClickHouse", lambda: _answer(http, latest, lambda body: body["bars"]))
        await self._until(
            "signals are warm", lambda: _answer(http, latest, lambda body: (body["signals"] or {}).get("warm")), 120
        )
        if self.replay is not None:
            await self._until("the recorded day's regular session began", lambda: _is_regular(market), 600)
            if self.speed > _WALK_SPEED:
                market.call("/simulator/speed", {"speed": _WALK_SPEED})
                self._progress(f"slowed down to {_WALK_SPEED:g} times for the operator's walk")
        trading = services["trading"]["api"]
        await self._until(
            "the trading loop leads", lambda: _answer(http, f"{trading}/trading/status", lambda body: body["leader"])
        )
        decided = await self._until(
            "decisions are made", lambda: _answer(http, f"{trading}/trading/decisions?limit=5", lambda body: body), 120
        )
        ordered = await self._until(
            "paper orders are filled",
            lambda: _answer(
                http,
                f"{trading}/trading/executions?limit=50",
                lambda body: [each for each in body if float(each["filled_qty"] or 0) > 0],
            ),
            120,
        )
        if decided and ordered:
            order = ordered[0]
            self._progress(
                f"first filled order seen: {order['side']} {order['filled_qty']} {order['symbol']}"
                f" at {order['avg_fill_price']}"
            )

    async def _break_and_mend(
        self, system: LocalSystem, http: httpx.AsyncClient, market: simulator.SimulatorProcess
    ) -> None:
        readyz = f"{system.services['forwarder']['health']}/readyz"
        if self.replay is not None:
            # What a cut connection misses is gone; holding the market keeps the recorded day whole.
            market.call("/simulator/hold", {})
            await self._settled(http, system)
        self._progress("another client takes the account's one connection, and the forwarder's socket is cut")
        market.call("/simulator/occupy", {})
        market.call("/simulator/disconnect", {"stream": "data"})
        await self._until(
            "the reconnect is refused with 406",
            lambda: _answer(http, readyz, lambda body: body["error_class"] == "alpaca_406_second_connection"),
        )
        report = await self._report("down", 4)
        cause = (report.get("topCause") or {}).get("reason")
        self._check(f"the report names the cause: {cause}", cause == "alpaca_406_second_connection")
        procedure = (report.get("nextProcedure") or {}).get("name")
        self._check(f"the report names the next procedure: {procedure}", procedure == "restart-ws")
        forge = self._make_forge()
        code, out = await self._operator(
            "restart-ws", "--repo", str(forge), "--reason", "406 on the market-data stream"
        )
        self.show(out)
        self._check("restart-ws shows its plan", code == 0 and "restartedAt" in out)
        market.call("/simulator/release", {})
        self._progress("the other client lets go of the connection")
        await self._until("the forwarder recovers", lambda: _status(http, readyz, 200), 60)
        if self.replay is not None:
            market.call("/simulator/resume", {})

    def _make_forge(self) -> Path:
        """Return a bare GitOps repository with the shipped manifests: a local forge."""
        forge = self.folder.path / "gitops.git"
        if forge.exists():
            return forge
        with tempfile.TemporaryDirectory() as scratch:
            work = GitClient(Path(scratch))
            target = Path(scratch) / _GITOPS_PATH
            target.mkdir(parents=True)
            source = assets.folder("manifests")
            for path in sorted(source.rglob("*.yaml")):
                copy = target / path.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(path.read_bytes())
            identity = ("-c", "user.name=Torghut demo", "-c", "user.email=demo@torghut.invalid")
            work.run("init", "-q", "-b", "main")
            work.run("add", "-A")
            work.run(*identity, "commit", "-q", "-m", "chore(torghut): first manifests")
            work.run("clone", "-q", "--bare", scratch, str(forge))
        return forge

    async def _pause(self, forge: Path) -> None:
        arguments = ("pause-trading", "--repo", str(forge), "--reason", "the demo's operator is careful")
        acting = ("--confirm", "ACTUATE_TORGHUT", "--pr", "--audit-log", str(self.folder.path / "audit.jsonl"))
        code, out = await self._operator(*arguments, *acting, "-o", "json")
        try:
            plan = json.loads(out)
        except ValueError:
            plan = {}
        request = ((plan.get("result") or {}).get("pullRequest") or {}).get("number")
        self._check(
            f"a pull request that pauses trading is open on the local forge: #{request}", code == 0 and bool(request)
        )
        for file in plan.get("files", []):
            self.show(file["diff"])

    async def _finish_replay(
        self, http: httpx.AsyncClient, system: LocalSystem, market: simulator.SimulatorProcess
    ) -> None:
        market.call("/simulator/speed", {"speed": self.speed})
        self._progress(f"the walk is over; the rest of the recording runs at {self.speed:g} times")
        told = time.monotonic()
        while not system.stop.is_set():
            state = await asyncio.to_thread(market.state)
            if state["finished"]:
                break
            if time.monotonic() - told >= 10:
                told = time.monotonic()
                self._progress(f"market time {state['time'][:19]}Z, {state['messages_sent']} messages sent")
            await asyncio.sleep(0.5)
        await self._settled(http, system)
        rows = await _figures(http, system)
        self._check(
            f"the replay finished: {rows.get('microbars', 0):.0f} micro-bars in ClickHouse",
            rows.get("microbars", 0) > 0,
        )
        self.say(f"compare: python scripts/compare_microbars.py {self.replay} {self.shown / 'engines' / 'clickhouse'}")

    async def _settled(self, http: httpx.AsyncClient, system: LocalSystem) -> None:
        """Wait until nothing moves any more: received, produced, computed and written."""
        last: dict[str, float] = {}
        still_since = time.monotonic()
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline and not system.stop.is_set():
            figures = await _figures(http, system)
            if figures != last:
                last, still_since = figures, time.monotonic()
            elif time.monotonic() - still_since >= 4:
                return
            await asyncio.sleep(0.25)

    # The operator's hands

    async def _operator(self, *arguments: str) -> tuple[int, str]:
        """Type a torghutctl command and return exit code and standard output."""
        self.say(f"$ torghutctl {shlex.join(arguments)}")
        home = self.folder.path / "home"
        home.mkdir(exist_ok=True)
        environment = {
            name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH", "VIRTUAL_ENV") if name in os.environ
        }
        environment |= {"HOME": str(home), "NO_COLOR": "1"}
        running = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "torghutctl",
            *arguments,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal is for the demo, which ends it in its turn
        )
        try:
            out, err = await running.communicate()
        finally:
            if running.returncode is None:
                running.kill()
                await running.wait()
        code = running.returncode if running.returncode is not None else 1
        if code not in (0, 3, 4, 5):
            self.say(err.decode(errors="replace").strip())
        return code, out.decode(errors="replace").rstrip()

    async def _report(self, classification: str, exit_code: int) -> dict[str, Any]:
        """Ask for the health report until it says `classification`, at most 30 s, and show it."""
        deadline = time.monotonic() + 30
        local = ("health-report", "--local", str(self.folder.path))
        while True:
            code, out = await self._operator(*local, "-o", "json")
            try:
                report: dict[str, Any] = json.loads(out)
            except ValueError:
                report = {}
            if report.get("classification") == classification or time.monotonic() > deadline:
                break
            await asyncio.sleep(1)
        _, table = await self._operator(*local)
        self.show(table)
        said = report.get("classification", "nothing")
        self._check(f"health report: {said}", said == classification and code == exit_code)
        return report

    async def _until(self, what: str, probe: Callable[[], Awaitable[Any]], seconds: float = 60) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            found = await probe()
            if found or time.monotonic() > deadline:
                self._check(what, bool(found))
                return found
            await asyncio.sleep(0.2)

    def _check(self, what: str, is_ok: bool) -> None:
        self.checks.append((is_ok, what))
        self._progress(f"{'ok' if is_ok else 'FAILED'}: {what}")

    def _progress(self, text: str) -> None:
        self.say(f"[{time.monotonic() - self._began:6.1f} s] {text}")


def _symbols_of(file: Path) -> list[str]:
    """Return the symbols among the first messages of a recording."""
    found: set[str] = set()
    for number, line in enumerate(islice(read_lines(file), 20_000), 1):
        try:
            message = json.loads(line)
        except ValueError as error:
            raise InputError(f"--replay={file}: line {number} is not an Alpaca message") from error
        symbol = message.get("S") if isinstance(message, dict) else None
        if isinstance(symbol, str):
            found.add(symbol)
    if not found:
        raise InputError(f"--replay={file}: names no symbol")
    return sorted(found)


async def _status(http: httpx.AsyncClient, url: str, expected: int) -> bool:
    try:
        return (await http.get(url)).status_code == expected
    except httpx.HTTPError:
        return False


async def _answer(http: httpx.AsyncClient, url: str, look: Callable[[Any], Any]) -> Any:
    try:
        return look((await http.get(url)).json())
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None


async def _is_regular(market: simulator.SimulatorProcess) -> bool:
    """Tell whether the market's time is past 09:35 New York on a trading day, or the recording has ended."""
    from torghut_core.market_calendar import MarketCalendar, Session

    try:
        state = await asyncio.to_thread(market.state)
    except UpstreamError:
        return False
    at = int(state["time_ns"])
    return bool(state["finished"]) or MarketCalendar().session(at - 300_000_000_000) is Session.REGULAR


async def _figures(http: httpx.AsyncClient, system: LocalSystem) -> dict[str, float]:
    """Return counts that move while anything is under way."""
    wanted = {
        "torghut_ws_kafka_produce_success_total": "",
        "torghut_ta_input_events": "",
        'torghut_ta_clickhouse_written_rows{table="torghut.ta_microbars"}': "microbars",
        'torghut_ta_clickhouse_waiting_rows{table="torghut.ta_microbars"}': "",
    }
    found: dict[str, float] = {}
    for url in (system.services["forwarder"]["metrics"], system.services["ta"]["metrics"]):
        try:
            text = (await http.get(f"{url}/metrics")).text
        except httpx.HTTPError:
            continue
        for line in text.splitlines():
            name, _, value = line.rpartition(" ")
            for start, short in wanted.items():
                if name.startswith(start) and "status" not in name:
                    found[short or name] = float(value)
    return found
