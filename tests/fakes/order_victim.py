"""A trading process that ends or freezes at a labelled step of the order path, and its faults at the broker.

The process is a real one: it is killed or stopped by a signal that it sends to itself at the step, so that the step is
met exactly. It is forked from a server process that has the libraries loaded, and shares nothing with the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.fakes.trading_desk import open_desk
from tests.fakes.trading_values import NOW_NS, make_signal
from torghut_core.engines.postgres import Postgres
from torghut_core.trading import leadership
from torghut_core.trading.orders import execution
from torghut_core.trading.orders.broker import Broker
from torghut_core.trading.store.database import Database

STEPS = ("planned", "claimed", "sending", "answered", "settled", "refused", "unknown", "found", "adopted")
"""From the decision to its reconciliation; which of them a process meets is the broker's doing."""
How = Literal["kill", "freeze"]
IDLE_SECONDS = 1.0
"""How long the server keeps a silent leader here: less than the 15 s of production, so that many can be tried."""
CLAIM_SECONDS = 0.5
"""How old a claim may be here when it is sent: less than the server's patience, as in production."""
BROKER_SECONDS = 0.4
_LIBRARIES = (
    "psycopg", "httpx", "pydantic", "alembic", "pytest", "fastapi", "torghut_core.trading.orders.reconcile",
    "torghut_core.trading.store.decisions", "torghut_core.trading.store.listing",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Broken:
    """One run: where the process breaks and how, of which intent, at which broker."""

    step: str
    how: How
    number: int
    dsn: str
    url: str
    key: str
    secret: str
    symbol: str = "AAPL"

    @property
    def signal_ns(self) -> int:
        """When the intent's signal was: another in each run."""
        return NOW_NS - self.number * 1_000_000_000


def start(broken: Broken) -> multiprocessing.process.BaseProcess:
    """Start the process that breaks."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_LIBRARIES))
    process = context.Process(target=_live, args=(broken,), daemon=True)
    process.start()
    return process


def is_frozen(pid: int) -> bool:
    """Tell whether a process is stopped by a signal."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in ("T", "t")
    return False


def _live(broken: Broken) -> None:
    leadership.IDLE_SECONDS = IDLE_SECONDS
    execution.MAX_CLAIM_AGE_SECONDS = CLAIM_SECONDS
    asyncio.run(_trade(broken))


def _break_at(broken: Broken) -> Callable[[str], None]:
    left = [broken.step]

    def at(step: str) -> None:
        if step in left:
            left.clear()  # a process that was woken goes on
            os.kill(os.getpid(), signal.SIGKILL if broken.how == "kill" else signal.SIGSTOP)

    return at


async def _trade(broken: Broken) -> None:
    at, postgres = _break_at(broken), Postgres(broken.dsn)
    database = Database(postgres)
    database.open()
    broker = Broker(base_url=broken.url, key=broken.key, secret=broken.secret, timeout_seconds=BROKER_SECONDS)
    desk = open_desk(postgres, database, broker, at)
    # The claim's age is real time, as in production; only the hour of the market is not.
    desk.execution._wall = _RealTime(desk.wall)
    _tell_after(desk.orders, "mark_unknown", "unknown", at)
    _tell_after(desk.orders, "settle", "adopted", lambda step: at(step) if desk.is_reconciling else None)
    find = broker.find

    async def find_and_tell(key: str) -> Any:
        order = await find(key)
        at("found")
        return order

    broker.find = find_and_tell  # type: ignore[method-assign]
    await desk.lead()
    intent, decision_id = desk.plan(signal=make_signal(symbol=broken.symbol, event_ns=broken.signal_ns))
    at("planned")
    with contextlib.suppress(Exception):  # a former leader's errors are its own: what it left behind is what counts
        await desk.execution.submit(desk.request(intent, decision_id, qty=1))
        desk.is_reconciling = True
        await desk.reconciler.reconcile()
    database.close()
    # No release: a process that was given up for dead gives nothing back, and the server ends its session.
    await broker.close()


def _tell_after(store: Any, method: str, step: str, at: Callable[[str], None]) -> None:
    inner = getattr(store, method)

    def told(*arguments: Any, **named: Any) -> Any:
        result = inner(*arguments, **named)
        at(step)
        return result

    setattr(store, method, told)


class _RealTime:
    """The machine's monotonic time beside a market's hour that stands still."""

    is_simulated = True

    def __init__(self, hour: Any) -> None:
        self._hour = hour

    def now_ns(self) -> int:
        return int(self._hour.now_ns())

    def monotonic(self) -> float:
        import time

        return time.monotonic()
