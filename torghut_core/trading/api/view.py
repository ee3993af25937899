"""What the API shows of the running parts: status, health, readiness."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from torghut_core.clock import utc_datetime
from torghut_core.engines.clickhouse import Queries
from torghut_core.errors import TorghutError
from torghut_core.trading.encoding import format_datetime
from torghut_core.trading.handling import Parts
from torghut_core.trading.review.policy import PolicyResolution
from torghut_core.trading.store.schema import SchemaState

_PROBE_SECONDS = 2.0


class RuntimeView:
    """Reads the state of the parts; changes nothing."""

    def __init__(
        self, parts: Parts, *, policy: PolicyResolution, clickhouse: Queries | None, schema: Callable[[], SchemaState]
    ) -> None:
        self._parts = parts
        self._policy = policy
        self._clickhouse = clickhouse
        self.schema = schema

    def status(self) -> dict[str, Any]:
        """Return the body of `/trading/status`."""
        parts, settings, state = self._parts, self._parts.settings, self._parts.state
        return {
            "enabled": settings.enabled,
            "mode": settings.mode,
            "live_enabled": settings.live_enabled,
            "kill_switch_enabled": settings.kill_switch_enabled,
            "running": state.running,
            "leader": parts.leadership.is_leader,
            "leader_epoch": parts.leadership.epoch,
            "account_confirmed": state.is_account_confirmed,
            "last_run_at": _time(state.last_run_ns),
            "last_reconcile_at": _time(state.last_reconcile_ns),
            "last_error": state.last_error,
            "errors": dict(state.errors),
            "alerts": [] if parts.reconciler is None else list(parts.reconciler.alerts),
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
            },
        }

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Return whether the process can serve, and the body of `/readyz`.

        The schema once seen and the loop running: outages of brokers and databases later show in `/trading/health`,
        since a pod that is taken out for them helps nobody.
        """
        state = self._parts.state
        ready = state.is_schema_current and state.running
        gates = {"schema": state.is_schema_current, "loop": state.running}
        return ready, {"status": "ready" if ready else "not_ready", "ready": ready, "gates": gates}

    async def health(self) -> dict[str, Any]:
        """Return the body of `/trading/health`: the loop, and what it depends on, each asked within 2 s."""
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
            "dependencies": dependencies,
            "leader": parts.leadership.is_leader,
        }

    def _scheduler(self) -> dict[str, Any]:
        parts, state = self._parts, self._parts.state
        if state.last_success_monotonic is None:
            return {"ok": False, "detail": "trading loop not started" if not state.running else "no success yet"}
        if not state.running:
            return {"ok": False, "detail": "trading loop not running"}
        age = parts.clock.monotonic() - state.last_success_monotonic
        limit = max(parts.settings.success_max_age_seconds, 3 * parts.settings.poll_ms / 1000)
        if age > limit:
            return {"ok": False, "detail": f"last success {age:.0f} s ago, more than {limit:.0f} s"}
        return {"ok": True, "detail": "ok" if parts.settings.enabled else "ok (trading disabled)"}

    async def _probe_clickhouse(self) -> dict[str, Any]:
        clickhouse = self._clickhouse
        if clickhouse is None:
            return {"ok": False, "detail": "clickhouse url missing"}
        return await _probe("clickhouse", lambda: asyncio.to_thread(clickhouse.query, "SELECT 1 AS one"))

    async def _probe_broker(self) -> dict[str, Any]:
        broker = self._parts.broker
        if broker is None:
            return {"ok": False, "detail": "alpaca keys missing"}
        return await _probe("alpaca", broker.account)


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
