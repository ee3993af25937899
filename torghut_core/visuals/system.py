"""The system's state for the page: verdict, account, positions, orders, decisions, each with what is not known said.

The verdict comes from a callable that the caller passes in, since the rules are the operations plane's; trading's part is
asked over HTTP. Both are read every few seconds while somebody looks, however many do, and not at all while nobody does:
what trading answers costs requests to the broker, and those are counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from torghut_core.clock import Clock
from torghut_core.market_calendar import MarketCalendar
from torghut_core.rfc3339 import format_ns
from torghut_core.visuals.stream import EventLog

Verdict = Callable[[], Awaitable[Mapping[str, Any]]]
"""Yields a report of schema `torghut.health/v1`."""

_SECONDS = 2.0
_VERDICT_EVERY = 3.0
_BROKER_EVERY = 10.0
"""Positions and account are the broker's own: twelve requests a minute of an account's two hundred."""
_FRESH_SECONDS = 10.0
_WATCHED_SECONDS = 60.0
"""How long after a question somebody still counts as looking."""
_ANSWER_SECONDS = 4.0
_VERDICT_SECONDS = 20.0
"""Longer than any one source may take; a verdict that takes more is not known."""
_CURVE = 5_000
_DONE = frozenset({"filled", "canceled", "cancelled", "expired", "rejected", "done_for_day", "replaced"})
_CLAIMS_OPEN = frozenset({"claimed", "unknown", "accepted", "arrived_late"})
_PATHS = {
    "status": "/trading/status",
    "account": "/trading/account",
    "positions": "/trading/positions",
    "orders": "/trading/orders?limit=200",
    "executions": "/trading/executions?limit=200",
    "decisions": "/trading/decisions?limit=200",
    "pnl": "/trading/pnl",
}
_BROKERS = ("account", "positions")
_PIPELINE = (
    ("forwarder", "forwarder"),
    ("kafka", "Kafka"),
    ("ta", "TA"),
    ("clickhouse", "ClickHouse"),
    ("trading", "trading"),
)
_LEVELS = {"healthy", "degraded", "down", "unknown"}
NOT_KNOWN = "not known"
_SHOWN_OF_STATUS = (
    "enabled",
    "mode",
    "live_enabled",
    "kill_switch_enabled",
    "running",
    "leader",
    "leader_silent",
    "last_error",
    "stop",
    "orders_uncertain",
    "loss_limit",
    "llm",
    "version",
    "commit",
)
"""What of trading's status a person looks at; the rest (ages, counters) changes at each reading."""


@dataclass
class SystemState:
    """What was last read. `refresh_*` are called by one task; `answer` costs nothing."""

    clock: Clock
    monotonic: Callable[[], float]
    """Seconds of the machine: what is asked of others is paced by real time, whatever the market's clock does."""
    calendar: MarketCalendar
    http: httpx.AsyncClient
    trading_url: Callable[[], str | None]
    verdict: Verdict | None
    store_trouble: Callable[[], str | None]
    """Why ClickHouse's rows are not current, None while they are."""
    log: EventLog
    _trading: dict[str, Any] = field(default_factory=dict)
    _trading_error: str | None = "not asked yet"
    _told: Mapping[str, Any] | None = None
    _told_error: str | None = "not asked yet"
    _decisions: set[str] | None = None
    _curve: list[tuple[int, float]] = field(default_factory=list)
    _asked_at: float | None = None
    _read_at: float | None = None
    _broker_at: float | None = None
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def current(self) -> dict[str, Any]:
        """Return `answer`, read now when nobody had looked for a while."""
        self._asked_at = self.monotonic()
        async with self._reading:
            if self._read_at is None or self.monotonic() - self._read_at > _FRESH_SECONDS:
                await asyncio.gather(self.refresh_trading(), self.refresh_verdict())
        return self.answer()

    def _is_watched(self) -> bool:
        if self.log.listeners:
            return True
        return self._asked_at is not None and self.monotonic() - self._asked_at < _WATCHED_SECONDS

    def answer(self) -> dict[str, Any]:
        """Return the body of `/api/torghut/system` as last read."""
        return {"ok": True, **self.moment(), **self._lasting()}

    def moment(self) -> dict[str, Any]:
        """Return what is true of this instant alone: server time and market session."""
        now = self.clock.now_ns()
        return {
            "serverTime": format_ns(now),
            "marketSession": self.calendar.session(now).value,
            "marketDay": self.calendar.day_name(now),
            "isClockSimulated": self.clock.is_simulated,
            "storeTrouble": self.store_trouble(),
        }

    def _lasting(self) -> dict[str, Any]:
        status = self._trading.get("status")
        shown = None if status is None else {name: status.get(name) for name in _SHOWN_OF_STATUS}
        return {
            **self._headline(),
            "trading": {"known": status is not None, "error": self._trading_error, "status": shown},
            "positions": self._trading.get("positions"),
            "openOrders": self._open_orders(),
            "orders": self._trading.get("orders"),
            "executions": self._trading.get("executions"),
            "decisions": self._trading.get("decisions"),
            "equityCurve": [{"at": at, "equity": equity} for at, equity in self._curve],
            "ai": None if status is None else status.get("llm"),
        }

    def _headline(self) -> dict[str, Any]:
        return {"verdict": self._verdict(), "pipeline": self._pipeline(), "account": self._account()}

    def _verdict(self) -> dict[str, Any]:
        if self.verdict is None:
            return {"known": False, "error": "no rules run here: ask torghutctl health-report"}
        if self._told is None:
            return {"known": False, "error": self._told_error}
        kept = ("classification", "topCause", "nextProcedure")
        parts = [
            {"name": part.get("name"), "status": part.get("status"), "findings": part.get("findings") or []}
            for part in self._told.get("components") or []
        ]
        return {"known": True, "error": None, **{name: self._told.get(name) for name in kept}, "components": parts}

    def _pipeline(self) -> list[dict[str, str]]:
        judged = {} if self._told is None else {part.get("name"): part for part in self._told.get("components") or []}
        store = self.store_trouble()
        seen = {"clickhouse": "answers" if store is None else "down", "trading": self._trading_word()}
        strip = []
        for name, label in _PIPELINE:
            status = str((judged.get(name) or {}).get("status") or "")
            strip.append(
                {"name": label, "status": status if status in _LEVELS else (status or seen.get(name, NOT_KNOWN))}
            )
        return [*strip, {"name": "AI", "status": self._ai_word()}]

    def _trading_word(self) -> str:
        return "answers" if self._trading_error is None else ("no answer" if self.trading_url() else NOT_KNOWN)

    def _ai_word(self) -> str:
        llm = (self._trading.get("status") or {}).get("llm")
        if not isinstance(llm, Mapping):
            return NOT_KNOWN
        if not llm.get("enabled"):
            return "off"
        circuit = llm.get("circuit")
        if isinstance(circuit, Mapping) and (circuit.get("open") or circuit.get("is_open")):
            return "circuit open"
        return "shadow" if llm.get("shadow_mode") else "on"

    def _account(self) -> dict[str, Any]:
        status, account = self._trading.get("status"), self._trading.get("account")
        profit = self._trading.get("pnl")
        equity, last = _number(account, "equity"), _number(account, "last_equity")
        return {
            "badge": _badge(status),
            "equity": equity,
            "dayProfit": None if equity is None or last is None else equity - last,
            "realised": _number(profit, "realised"),
            "cash": _number(account, "cash"),
            "buyingPower": _number(account, "buying_power"),
        }

    def _open_orders(self) -> list[Any] | None:
        orders = self._trading.get("orders")
        return None if orders is None else [order for order in orders if _is_open(order)]

    async def refresh_trading(self) -> None:
        """Ask trading once; what it does not answer is not known, and the rest is kept."""
        now, base = self.monotonic(), self.trading_url()
        self._read_at = now
        if base is None:
            self._trading, self._trading_error = {}, "VISUALS_TRADING_URL is not set"
            return
        is_broker_due = self._broker_at is None or now - self._broker_at >= _BROKER_EVERY
        paths = {name: path for name, path in _PATHS.items() if is_broker_due or name not in _BROKERS}
        found = await asyncio.gather(*(self._asked(base, path) for path in paths.values()))
        answers = {name: self._trading.get(name) for name in _BROKERS} | dict(zip(paths, found, strict=True))
        self._trading = {name: body for name, body in answers.items() if body is not None}
        if is_broker_due:
            self._broker_at = now
        self._trading_error = None if "status" in self._trading else "trading did not answer"
        equity = _number(self._trading.get("account"), "equity")
        if equity is not None and (not self._curve or self._curve[-1][1] != equity):
            self._curve = [*self._curve[-_CURVE:], (self.clock.now_ns() // 1_000_000, equity)]
        self._tell_decisions()

    async def _asked(self, base: str, path: str) -> Any:
        try:
            answer = await self.http.get(f"{base.rstrip('/')}{path}", timeout=_ANSWER_SECONDS)
            body = answer.json() if answer.status_code == 200 else None
        except (httpx.HTTPError, ValueError):
            return None
        wanted = (
            list
            if path.partition("?")[0].rsplit("/", 1)[1] in ("positions", "orders", "executions", "decisions")
            else dict
        )
        return body if isinstance(body, wanted) else None

    def _tell_decisions(self) -> None:
        decisions = [item for item in self._trading.get("decisions", []) if isinstance(item, dict) and "id" in item]
        marks = {f"{item['id']} {item.get('status')}": item for item in reversed(decisions)}
        if self._decisions is not None:
            for mark, item in marks.items():
                if mark not in self._decisions:
                    self.log.append("decision", item, symbol=item.get("symbol"))
        if "decisions" in self._trading:
            self._decisions = set(marks)

    async def refresh_verdict(self) -> None:
        """Ask for the verdict once; one that fails or takes too long is not known."""
        if self.verdict is None:
            return
        try:
            async with asyncio.timeout(_VERDICT_SECONDS):
                self._told = await self.verdict()
            self._told_error = None
        except Exception as error:  # noqa: BLE001  rules that fail are one unknown verdict, not the end of the page
            self._told, self._told_error = None, f"the rules failed ({type(error).__name__})"

    async def run(self, stop: asyncio.Event, *, seconds: float = _SECONDS) -> None:
        """Keep up until `stop`; a change is told to listeners as `system`: the headline, and that the rest is to be read."""
        await asyncio.gather(
            self._keep(self.refresh_trading, stop, seconds),
            self._keep(self.refresh_verdict, stop, seconds * _VERDICT_EVERY / _SECONDS),
        )

    async def _keep(self, refresh: Callable[[], Awaitable[None]], stop: asyncio.Event, seconds: float) -> None:
        told: dict[str, Any] | None = None
        while not stop.is_set():
            if self._is_watched():
                await refresh()
            lasting = self._lasting()
            if lasting != told and self._is_watched():
                told = lasting
                self.log.append("system", {"ok": True, **self.moment(), **self._headline()})
            try:
                await asyncio.wait_for(stop.wait(), seconds)
            except TimeoutError:
                continue


def _badge(status: Any) -> str:
    if not isinstance(status, Mapping):
        return NOT_KNOWN
    if status.get("mode") == "live" or status.get("live_enabled") is True:
        return "LIVE"
    return {"paper": "PAPER", "dry-run": "DRY RUN"}.get(str(status.get("mode")), NOT_KNOWN)


def _number(body: Any, name: str) -> float | None:
    value = body.get(name) if isinstance(body, Mapping) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _is_open(order: Any) -> bool:
    """Return whether an order may still fill: by the broker's word where there is one, else by its claim's state."""
    if not isinstance(order, Mapping):
        return False
    if order.get("status") is not None:
        return order["status"] not in _DONE
    return order.get("state") in _CLAIMS_OPEN
