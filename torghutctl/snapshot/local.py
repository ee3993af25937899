"""Reads the processes of `torghutctl up` or `demo` through the HTTP endpoints their folder names."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from torghut_core.clock import Clock, open_clock
from torghutctl.adapters import http_client
from torghutctl.adapters.http_client import Answer, ExchangeError
from torghutctl.errors import InputError
from torghutctl.snapshot import services, sources
from torghutctl.snapshot.collector import Task, collect
from torghutctl.snapshot.http import from_exchange
from torghutctl.snapshot.model import Failure, Names, Reading, Snapshot
from torghutctl.snapshot.seal import seal

SCHEMA = "torghut.local/v1"
SYMBOL_CHARACTERS = ":"
_CALENDARS = ("XNYS", "always-open")
_ABSENT_HERE = (
    sources.PODS,
    sources.FORWARDER_DEPLOYMENT,
    sources.TA_DEPLOYMENT,
    sources.TA_PROCESS,
    sources.KEEPER_INSTALLATION,
    sources.POSTGRES_CLUSTER,
    sources.TRADING_SERVICE,
    sources.KAFKA_CLUSTER,
    sources.ARGOCD_APPLICATION,
)


@dataclass(frozen=True, kw_only=True)
class LocalTarget:
    """What `endpoints.json` of a folder says: who runs there, on which clock and calendar, and at which addresses."""

    folder: Path
    pid: int
    calendar: str
    clock: Clock
    feed: str
    services: dict[str, dict[str, str]]

    def address(self, service: str, kind: str) -> str | None:
        """Return the base URL of a service's endpoint, None when the folder names none."""
        return self.services.get(service, {}).get(kind)


def open_folder(folder: Path) -> LocalTarget:
    """Return the target that `folder/endpoints.json` describes.

    Raises InputError, naming file and field, when it is missing or not of this schema.
    """
    path = folder / "endpoints.json"
    hint = "name the folder that `torghutctl up` or `torghutctl demo` printed"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--local {folder}: {path.name} cannot be read ({error.strerror})", hint=hint) from error
    except ValueError as error:
        raise InputError(f"--local {folder}: {path.name} is not JSON", hint=hint) from error
    if not isinstance(data, dict) or data.get("schemaVersion") != SCHEMA:
        raise InputError(f"--local {folder}: {path.name}: schemaVersion must be {SCHEMA}", hint=hint)
    calendar, given = data.get("marketCalendar", "XNYS"), data.get("services")
    if calendar not in _CALENDARS:
        raise InputError(f"--local {folder}: marketCalendar must be one of {', '.join(_CALENDARS)}", hint=hint)
    if not isinstance(given, dict) or not all(isinstance(entry, dict) for entry in given.values()):
        raise InputError(f"--local {folder}: services must map each service to its addresses", hint=hint)
    return LocalTarget(
        folder=folder,
        pid=int(data.get("pid") or 0),
        calendar=calendar,
        clock=open_clock(str(data.get("clock", "system"))),
        feed=str(data.get("feed", "iex")),
        services={
            name: {kind: url.rstrip("/") for kind, url in entry.items() if isinstance(url, str)}
            for name, entry in given.items()
        },
    )


def read(
    target: LocalTarget,
    *,
    observed_at_ns: int,
    deadline_s: float = 5.0,
    monotonic: Callable[[], float] = time.monotonic,
    tell: Callable[[str], None] = lambda _: None,
) -> Snapshot:
    """Return everything the folder's services answer, each within `deadline_s` seconds."""
    readings = collect(_tasks(target), deadline_s=deadline_s, monotonic=monotonic, tell=tell)
    readings[sources.LOCAL] = Reading(
        source=sources.LOCAL,
        value={
            "pid": target.pid,
            "marketCalendar": target.calendar,
            "feed": target.feed,
            "isClockSimulated": target.clock.is_simulated,
        },
    )
    for source in _ABSENT_HERE:
        readings[source] = Reading(source=source, failure=Failure.NOT_PRESENT, detail="a local system has none")
    return seal(observed_at_ns=observed_at_ns, names=Names(), target="local", readings=readings)


def _tasks(target: LocalTarget) -> list[Task]:
    def task(source: str, service: str, kind: str, path: str, parse: Callable[[Answer], Any], **more: Any) -> Task:
        return Task(source=source, read=_reader(target.address(service, kind), path, parse), **more)

    def latest(reading: Reading) -> list[Task]:
        universe = reading.value if reading.is_ok else []
        return [
            task(
                f"{sources.LATEST}{symbol}",
                "visuals",
                "api",
                f"/api/torghut/ta/latest?symbol={quote(symbol, safe=SYMBOL_CHARACTERS)}",
                services.ta_latest,
            )
            for symbol in universe
        ]

    return [
        task(f"{sources.FORWARDER_READY}local", "forwarder", "health", "/readyz", services.forwarder_ready),
        task(sources.TA_READY, "ta", "health", "/readyz", services.ta_ready),
        task(f"{sources.TRADING_STATUS}local", "trading", "api", "/trading/status", services.trading_status),
        task(f"{sources.TRADING_HEALTH}local", "trading", "api", "/trading/health", services.trading_health),
        task(sources.CLICKHOUSE_GAUGES, "guardrails", "metrics", "/metrics", services.gauges),
        task(sources.SYMBOLS, "visuals", "api", "/api/torghut/symbols", services.symbols, then=latest),
    ]


def _reader(base: str | None, path: str, parse: Callable[[Answer], Any]) -> Callable[[float], Any]:
    def read_endpoint(seconds: float) -> Any:
        try:
            if base is None:
                raise ExchangeError(http_client.Trouble.UNREACHABLE, "endpoints.json names no address")
            return parse(http_client.get(f"{base}{path}", deadline_s=seconds))
        except ExchangeError as error:
            raise from_exchange(error) from error

    return read_endpoint
