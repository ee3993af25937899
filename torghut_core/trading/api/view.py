"""What the API shows of the running parts: status, health, readiness."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any

from torghut_core.clock import utc_datetime
from torghut_core.engines.clickhouse import Queries
from torghut_core.errors import TorghutError
from torghut_core.trading.encoding import format_datetime
from torghut_core.trading.errors import NotTradingError
from torghut_core.trading.leadership import SILENT_SECONDS
from torghut_core.trading.model import Position
from torghut_core.trading.money.events import Event, Mark
from torghut_core.trading.money.shown import statement_json
from torghut_core.trading.money.statement import make_statement
from torghut_core.trading.orders.broker import BrokerUnavailableError
from torghut_core.trading.parts import Parts
from torghut_core.trading.review.policy import PolicyResolution
from torghut_core.trading.status import Lane
from torghut_core.trading.store.money import Shares
from torghut_core.trading.store.schema import SchemaState

_PROBE_SECONDS = 2.0
_FOLLOW_SECONDS = 2.0
_CORE: frozenset[Lane] = frozenset({"leadership", "trading", "exits", "reconcile", "control", "kill_switch", "losses"})
"""Lanes whose error makes the scheduler unwell; the others are told of."""


class RuntimeView:
    """Reads the state of the parts; changes nothing."""

    def __init__(
        self,
        parts: Parts,
        *,
        policy: PolicyResolution,
        clickhouse: Queries | None,
        schema: Callable[[], SchemaState],
        unknown: tuple[str, ...] = (),
    ) -> None:
        self._unknown = unknown
        self._beats = 0
        self._told: dict[str, Any] | None = None
        self._told_key: tuple[object, ...] | None = None
        self._told_at = 0.0
        self._parts = parts
        self._policy = policy
        self._clickhouse = clickhouse
        self.schema = schema

    def status(self) -> dict[str, Any]:
        """Return the body of `/trading/status`: this process's own, or what the trading one last said.

        Raises NotTradingError for an API process that has not heard of any.
        """
        if self._parts.settings.trades:
            return self._own_status()
        if self._told is None:
            raise NotTradingError("scheduler_runtime_unavailable")
        is_silent = self._is_told_silent()
        return {
            **self._told,
            "role": "api",
            "leader_silent": is_silent or bool(self._told.get("leader_silent")),
            "running": bool(self._told.get("running")) and not is_silent,
        }

    def _own_status(self) -> dict[str, Any]:
        parts, settings, state = self._parts, self._parts.settings, self._parts.state
        control = state.control
        is_stopped = control is not None and control.is_stopped
        return {
            "enabled": settings.enabled,
            "mode": settings.mode,
            "live_enabled": settings.live_enabled,
            "kill_switch_enabled": settings.kill_switch_enabled or (control is not None and control.is_killed),
            "kill_switch": {
                "environment": settings.kill_switch_enabled,
                "database": None if control is None else control.is_killed,
            },
            "running": state.running,
            "role": settings.role,
            "revision": parts.revision,
            "leader": parts.leadership.is_leader,
            "leader_epoch": parts.leadership.epoch,
            "leader_silent": parts.leadership.is_leader_silent,
            "stop": {"since": _time(control.stopped_since_ns), "by": control.stopped_by}
            if control is not None and is_stopped
            else None,
            "orders_uncertain": {
                "never_arrived": state.uncertain.get("never_arrived", 0),
                "arrived_late": state.uncertain.get("arrived_late", 0),
                "orphans": state.orphans,
                "cancels_not_obeyed": state.not_obeyed,
                "missing": state.uncertain.get("missing", 0),
            },
            "loss_limit": {
                "latched": control is not None and control.loss_limit is not None,
                "since": None if control is None else _time(control.loss_since_ns),
            },
            "emergency_stop": {
                "enabled": settings.emergency_stop_enabled,
                "reasons": list(parts.emergency.reasons),
            },
            "account_confirmed": state.is_account_confirmed,
            "last_run_at": _time(state.last_run_ns),
            "last_reconcile_at": _time(state.last_reconcile_ns),
            "last_error": state.last_error,
            "errors": dict(state.errors),
            "lanes": self._lanes(),
            "alerts": list(parts.alerts.recent),
            "foreign": dict(state.foreign),
            "strategies": list(state.strategies),
            "unknown_variables": list(self._unknown),
            "market_session": parts.calendar.session(parts.clock.now_ns()).value,
            "market_calendar": parts.calendar.name,
            "version": settings.version,
            "commit": settings.commit,
            "metrics": parts.metrics.as_json(),
            "llm": {
                "enabled": settings.llm_enabled,
                "shadow_mode": settings.llm_shadow_mode,
                "rollout_stage": settings.llm_rollout_stage,
                "fail_mode": self._policy.effective_fail_mode,
                "policy_resolution": self._policy.as_json(),
                "circuit": None if parts.reviewer is None else parts.reviewer.circuit.as_json(),
                "spending": None if parts.reviewer is None else parts.reviewer.spending_json(),
            },
        }

    def _lanes(self) -> dict[str, Any]:
        state, now = self._parts.state, self._parts.wall.monotonic()
        return {
            lane: {
                "error": state.errors.get(lane),
                "last_success_seconds": None
                if lane not in state.succeeded_at
                else round(now - state.succeeded_at[lane], 3),
            }
            for lane in sorted({*state.succeeded_at, *state.errors})
        }

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Return whether the process can serve, and the body of `/readyz`.

        The schema once seen, the stop recorded and the loop running: outages of brokers and databases later show in
        `/trading/health`, since a pod that is taken out for them helps nobody. A standby that sees the leader silent says
        so, and is ready: it is the one that will take over. `database_reachable` says whether PostgreSQL answered
        when what may not be done was read last, and when the lock was looked at; while it does not, nothing is traded.
        """
        state, trades = self._parts.state, self._parts.settings.trades
        gates = {"schema": state.is_schema_current}
        if trades:
            gates |= {"stop_recorded": state.is_stop_recorded, "loop": state.running}
        ready = all(gates.values())
        body = {"status": "ready" if ready else "not_ready", "ready": ready, "gates": gates}
        if trades:
            body["leader_silent"] = self._parts.leadership.is_leader_silent
            body["database_reachable"] = state.control is not None and "leadership" not in state.errors
        return ready, body

    async def health(self) -> dict[str, Any]:
        """Return the body of `/trading/health`: the lanes, and what they depend on, each asked within 2 s."""
        parts = self._parts
        scheduler = self._scheduler()
        postgres, clickhouse, alpaca = await asyncio.gather(
            _probe("postgres", lambda: asyncio.to_thread(self.schema)), self._probe_clickhouse(), self._probe_broker()
        )
        dependencies = {"postgres": postgres, "clickhouse": clickhouse, "alpaca": alpaca}
        ok = scheduler["ok"] and all(item["ok"] for item in dependencies.values())
        return {
            "status": "ok" if ok else "degraded",
            "scheduler": scheduler,
            "lanes": self._lanes(),
            "dependencies": dependencies,
            "leader": parts.leadership.is_leader,
            "leader_silent": parts.leadership.is_leader_silent,
        }

    def _scheduler(self) -> dict[str, Any]:
        if not self._parts.settings.trades:
            if self._told is None:
                return {"ok": False, "detail": "scheduler_runtime_unavailable"}
            silent = self._is_told_silent()
            return {"ok": not silent, "detail": "leader_silent" if silent else "ok (told by the scheduler)"}
        parts, state = self._parts, self._parts.state
        if "trading" not in state.succeeded_at:
            return {"ok": False, "detail": "trading loop not started" if not state.running else "no success yet"}
        if not state.running:
            return {"ok": False, "detail": "trading loop not running"}
        if parts.leadership.is_leader_silent:
            return {"ok": False, "detail": "leader_silent"}
        for lane, limit in self._limits().items():
            at = state.succeeded_at.get(lane)
            age = None if at is None else parts.wall.monotonic() - at
            if age is not None and age > limit:
                return {"ok": False, "detail": f"{lane}: last success {age:.0f} s ago, more than {limit:.0f} s"}
        failing = sorted(lane for lane in state.errors if lane in _CORE)
        if failing:
            return {"ok": False, "detail": f"failing: {', '.join(failing)}"}
        return {"ok": True, "detail": "ok" if parts.settings.enabled else "ok (trading disabled)"}

    def _limits(self) -> dict[Lane, float]:
        """Return after how many seconds without a success a lane is not well."""
        settings = self._parts.settings
        most = settings.success_max_age_seconds
        return {
            "leadership": max(most, 3 * settings.leader_check_seconds),
            "trading": max(most, 3 * settings.poll_ms / 1000),
            "reconcile": max(most, 3 * settings.reconcile_ms / 1000),
        }

    async def publish(self) -> None:
        """Put this process's status where API processes read it, while it leads. Raises EngineUnavailableError."""
        parts = self._parts
        epoch = parts.leadership.epoch
        if epoch is None:
            return
        self._beats += 1
        await asyncio.to_thread(
            parts.control.put_status,
            self._own_status(),
            epoch=epoch,
            beats=self._beats,
            now_ns=parts.clock.now_ns(),
        )

    async def follow(self, stop: asyncio.Event) -> None:
        """Keep up with what the trading process says of itself until `stop`: an API process does nothing else."""
        parts = self._parts
        while not stop.is_set():
            try:
                self._hear(await asyncio.to_thread(parts.control.status))
                parts.state.succeeded("status", parts.wall.monotonic())
            except TorghutError as error:
                parts.state.failed("status", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FOLLOW_SECONDS):
                    await stop.wait()

    def _hear(self, row: dict[str, Any] | None) -> None:
        if row is None:
            return
        key = (row["epoch"], row["beats"])
        if key != self._told_key:
            self._told_key, self._told_at = key, self._parts.wall.monotonic()
        self._told = row["body"]

    def _is_told_silent(self) -> bool:
        return self._parts.wall.monotonic() - self._told_at > SILENT_SECONDS

    async def positions(self) -> list[dict[str, Any]]:
        """Return the holdings at the broker beside what this program's order events come to, by symbol.

        Raises BrokerUnavailableError, or NotTradingError without keys.
        """
        broker = self._parts.broker
        if broker is None:
            raise NotTradingError("alpaca keys missing")
        held = await broker.positions()
        shares = await asyncio.to_thread(self._parts.money.shares)
        names = await asyncio.to_thread(self._parts.money.names)
        symbols = sorted({*held, *(symbol for _, symbol in shares.owned)})
        return [_position_json(symbol, held.get(symbol), shares, names) for symbol in symbols]

    async def account(self) -> dict[str, Any]:
        """Return the broker's account without its number: equity now and at the end of the last session, cash, power.

        Raises BrokerUnavailableError, or NotTradingError without keys.
        """
        broker = self._parts.broker
        if broker is None:
            raise NotTradingError("alpaca keys missing")
        account = await broker.account()
        figures = {
            "equity": account.equity,
            "last_equity": account.last_equity,
            "cash": account.cash,
            "buying_power": account.buying_power,
        }
        told = {name: value for name, value in figures.items() if value is not None}
        texts = {f"{name}_text": _plain(value) for name, value in told.items()}
        return {"last_equity": None, **told, "last_equity_text": None, **texts, "is_blocked": account.is_blocked}

    async def profit(self) -> dict[str, Any]:
        """Return what the own fills came to: realised and not, fees, by day, strategy and symbol, curve and drawdown.

        Positions are priced by the broker where it answers, else by their newest own fill (`priced_by`).
        """
        parts = self._parts
        events: list[Event] = list(await asyncio.to_thread(parts.money.events))
        marks = await self._marks()
        names = await asyncio.to_thread(parts.money.names)
        statement = await asyncio.to_thread(make_statement, [*events, *marks], rates=parts.settings.fee_rates)
        shown = statement_json(statement, names)
        for row in shown["symbols"]:
            lots = [lot.qty for (_, symbol), lot in statement.account.lots.items() if symbol == row["symbol"]]
            row["qty"] = sum(lots, Decimal(0))
        return {**shown, "priced_by": "broker" if marks else "fills"}

    async def _marks(self) -> list[Mark]:
        broker, now_ns = self._parts.broker, self._parts.clock.now_ns()
        if broker is None:
            return []
        try:
            held = await broker.positions()
        except BrokerUnavailableError:
            return []
        return [Mark(at_ns=now_ns, symbol=symbol, price=position.price) for symbol, position in held.items()]

    async def _probe_clickhouse(self) -> dict[str, Any]:
        clickhouse = self._clickhouse
        if clickhouse is None and not self._parts.settings.trades:
            return {"ok": True, "detail": "not used by an API process"}
        if clickhouse is None:
            return {"ok": False, "detail": "clickhouse url missing"}
        return await _probe("clickhouse", lambda: asyncio.to_thread(clickhouse.query, "SELECT 1 AS one"))

    async def _probe_broker(self) -> dict[str, Any]:
        broker = self._parts.broker
        if broker is None:
            return {"ok": False, "detail": "alpaca keys missing"}
        return await _probe("alpaca", broker.account)


def _position_json(symbol: str, position: Position | None, shares: Shares, names: Mapping[str, str]) -> dict[str, Any]:
    qty = Decimal(0) if position is None else position.qty
    value = Decimal(0) if position is None else position.market_value
    owners = {owner: held for (owner, name), held in shares.owned.items() if name == symbol}
    own = sum(owners.values(), Decimal(0))
    return {
        "symbol": symbol,
        "qty": qty,
        "qty_text": _plain(qty),
        "qty_available": Decimal(0) if position is None else position.available,
        "market_value": value,
        "market_value_text": _plain(value),
        "avg_entry_price": None if position is None else position.entry_price,
        "own_qty": own,
        "own_qty_text": _plain(own),
        "nobodys_qty": qty - own,
        "nobodys_qty_text": _plain(qty - own),
        "owners": [
            {
                "strategy_id": owner,
                "strategy": names.get(owner, owner),
                "qty": held,
                "qty_text": _plain(held),
                "average_price": shares.lots[owner, symbol].average_price,
            }
            for owner, held in sorted(owners.items(), key=lambda item: names.get(item[0], item[0]))
        ],
    }


def _plain(value: Decimal) -> str:
    return f"{round(value, 8).normalize():f}"


async def _probe(name: str, ask: Callable[[], Awaitable[object]]) -> dict[str, Any]:
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            await ask()
    except TimeoutError:
        return {"ok": False, "detail": f"{name} timeout"}
    except TorghutError as error:
        return {"ok": False, "detail": str(error)}
    return {"ok": True, "detail": "ok"}


def _time(ns: int | None) -> str | None:
    return None if ns is None else format_datetime(utc_datetime(ns))
