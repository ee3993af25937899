"""The three loops of trading: leadership, trading, reconciliation. Each keeps its own error and never stops for one."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from pathlib import Path

from torghut_core.errors import ConfigurationError, InputError, TorghutError
from torghut_core.logs import event
from torghut_core.market_calendar import Session
from torghut_core.trading.decision.intents import Intent, make_intent
from torghut_core.trading.handling import Handler, Parts
from torghut_core.trading.inputs.history import SignalHistory
from torghut_core.trading.inputs.signals import Batch, Cursor, SignalReader
from torghut_core.trading.inputs.universe import Universe
from torghut_core.trading.model import Strategy
from torghut_core.trading.settings import check_broker_account
from torghut_core.trading.status import Lane
from torghut_core.trading.strategies import RULES
from torghut_core.trading.strategies.catalogue import DEFAULT_PATH, read_catalogue

_LOG = logging.getLogger(__name__)
_NS_PER_MINUTE = 60_000_000_000
_CURSOR_AHEAD_NS = 60_000_000_000
_MAX_PAGES = 50
"""Batches per cycle, so that a long backlog still lets kill switch and catalogue be looked at."""


class TradingLoop:
    """Polls signals and trades on them while this process leads."""

    def __init__(self, parts: Parts, *, reader: SignalReader, universe: Universe, handler: Handler) -> None:
        self._parts = parts
        self._reader = reader
        self._universe = universe
        self._handler = handler
        self._history: SignalHistory | None = None
        self._cursor = Cursor()
        self._strategies: tuple[Strategy, ...] = ()
        self._catalogue_looked_at = -math.inf
        self._catalogue_version: tuple[int, int] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Run the three loops until `stop` is set. Raises ConfigurationError when the broker contradicts the settings,
        and whatever was not foreseen: a loop that ends in any other way is a bug worth a restart."""
        settings = self._parts.settings
        self._parts.state.running = True
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(
                    self._repeat("leadership", self.check_leadership, settings.leader_check_seconds, stop)
                )
                group.create_task(self._repeat("trading", self.cycle, settings.poll_ms / 1000, stop))
                group.create_task(self._repeat("reconcile", self.reconcile, settings.reconcile_ms / 1000, stop))
        except BaseExceptionGroup as failures:
            raise _first(failures) from failures
        finally:
            self._parts.state.running = False

    async def _repeat(self, lane: Lane, step: Callable[[], Awaitable[None]], pause: float, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await step()
            except ConfigurationError:
                raise
            except TorghutError as error:
                self._parts.state.failed(lane, error)
                event(_LOG, "loop_error", logging.ERROR, lane=lane, error=str(error))
            try:
                async with asyncio.timeout(pause):
                    await stop.wait()
            except TimeoutError:
                continue

    async def check_leadership(self) -> None:
        """Take or keep the leader's lock."""
        parts = self._parts
        was_leader = parts.leadership.is_leader
        try:
            await asyncio.to_thread(parts.leadership.check, now_ns=parts.clock.now_ns())
        finally:
            parts.metrics.put("leader", float(parts.leadership.is_leader))
            if was_leader != parts.leadership.is_leader:
                event(_LOG, "leadership", is_leader=parts.leadership.is_leader, epoch=parts.leadership.epoch)
        parts.state.succeeded("leadership")

    async def reconcile(self) -> None:
        """Ask the broker what became of open orders, and end decisions that were never submitted."""
        parts = self._parts
        if parts.leadership.is_leader:
            await asyncio.to_thread(
                parts.decisions.expire_planned,
                now_ns=parts.clock.now_ns(),
                after_seconds=parts.settings.planned_timeout_seconds,
            )
            if parts.reconciler is not None:
                await parts.reconciler.reconcile()
        parts.state.last_reconcile_ns = parts.clock.now_ns()
        parts.state.succeeded("reconcile")

    async def cycle(self) -> None:
        """Obey the kill switch, look at the catalogue, and deal with new signals when this process leads."""
        parts = self._parts
        parts.metrics.put("market_session_open", float(parts.calendar.session(parts.clock.now_ns()) is Session.REGULAR))
        await self.obey_kill_switch()
        await self.confirm_account()
        await self._load_catalogue()
        if parts.leadership.is_leader:
            await self._trade()
        else:
            self._history = None
        parts.state.last_run_ns = parts.clock.now_ns()
        parts.state.last_success_monotonic = parts.clock.monotonic()
        parts.state.succeeded("trading")

    async def confirm_account(self) -> None:
        """Ask whose account this is until the broker says so.

        Out of reach is unknown: nothing is traded, and it is asked again. Raises ConfigurationError when it is another.
        """
        parts = self._parts
        if parts.broker is None or parts.state.is_account_confirmed:
            return
        try:
            account = await parts.broker.account()
        except TorghutError as error:
            parts.state.failed("broker", error)
            return
        check_broker_account(parts.settings, account.number)
        parts.state.is_account_confirmed = True
        parts.state.succeeded("broker")

    async def obey_kill_switch(self) -> None:
        """While the kill switch is on, have open orders cancelled. Needs neither PostgreSQL nor leadership."""
        parts = self._parts
        if not parts.settings.kill_switch_enabled or parts.reconciler is None:
            return
        try:
            await parts.reconciler.cancel_open_orders()
        except TorghutError as error:
            parts.state.failed("kill_switch", error)
            event(_LOG, "kill_switch_cancel_failed", logging.ERROR, error=str(error))
        else:
            parts.state.succeeded("kill_switch")

    async def _load_catalogue(self) -> None:
        """Read the strategy file when it changed; a refused file leaves the last good one in force."""
        parts = self._parts
        now = parts.clock.monotonic()
        if self._strategies and now - self._catalogue_looked_at < parts.settings.strategy_reload_seconds:
            return
        self._catalogue_looked_at = now
        path = Path(parts.settings.strategy_path) if parts.settings.strategy_path is not None else DEFAULT_PATH
        version: tuple[int, int] | None = None
        try:
            stat = await asyncio.to_thread(path.stat)
            version = (stat.st_mtime_ns, stat.st_size)
            if version == self._catalogue_version:
                return
            entries = await asyncio.to_thread(read_catalogue, path)
        except (InputError, OSError) as error:
            self._catalogue_version = version
            parts.metrics.add("catalogue_errors_total")
            refused = error if isinstance(error, InputError) else InputError(f"{path}: cannot be read")
            parts.state.failed("catalogue", refused)
            event(_LOG, "catalogue_refused", logging.ERROR, error=str(refused))
            return
        self._strategies = await asyncio.to_thread(
            parts.decisions.apply_catalogue,
            entries,
            mode=parts.settings.strategy_mode,
            now_ns=parts.clock.now_ns(),
        )
        self._catalogue_version = version
        parts.state.succeeded("catalogue")
        event(_LOG, "catalogue_loaded", strategies=[item.name for item in self._strategies if item.is_enabled])

    async def _trade(self) -> None:
        parts = self._parts
        universe = await self._read_universe()
        active = tuple(item for item in self._strategies if item.is_enabled and item.rule in RULES)
        if not universe or not active:
            parts.metrics.add_labelled(
                "no_signal_reason_total", "no_active_strategy" if universe else "universe_source_unavailable"
            )
            return
        timeframes = sorted({strategy.timeframe for strategy in active})
        symbols = sorted(universe)
        try:
            for _ in range(_MAX_PAGES):
                since_ns = parts.clock.now_ns() - int(parts.settings.signal_lookback_minutes * _NS_PER_MINUTE)
                history = await self._warm_history(symbols, timeframes, since_ns)
                batch = await asyncio.to_thread(
                    self._reader.read, self._cursor, symbols=symbols, timeframes=timeframes, since_ns=since_ns
                )
                await self._handle_batch(batch, history, active, universe)
                if not batch.is_full:
                    return
        except BaseException:
            # What was read but not dealt with is read again, from the cursor that was stored last.
            self._history = None
            raise

    async def _warm_history(self, symbols: list[str], timeframes: list[str], since_ns: int) -> SignalHistory:
        if self._history is not None:
            return self._history
        parts = self._parts
        self._reader.forget_all()
        self._cursor = await asyncio.to_thread(parts.decisions.cursor)
        if self._cursor.ingest_ms * 1_000_000 > parts.clock.now_ns() + _CURSOR_AHEAD_NS:
            # The stream was made anew, or the clock is a replay's: from the lookback on, which does nothing twice.
            parts.metrics.add_labelled("no_signal_reason_total", "cursor_ahead_of_stream")
            event(_LOG, "cursor_rewound", logging.WARNING)
            self._cursor = Cursor()
        history = SignalHistory()
        history.add(
            await asyncio.to_thread(
                self._reader.history,
                self._cursor,
                symbols=symbols,
                timeframes=timeframes,
                since_ns=since_ns,
                bars=history.bars,
            )
        )
        self._history = history
        return history

    async def _handle_batch(
        self, batch: Batch, history: SignalHistory, active: tuple[Strategy, ...], universe: frozenset[str]
    ) -> None:
        parts = self._parts
        if not batch.signals:
            parts.metrics.add_labelled("no_signal_reason_total", "no_signals_in_window")
            return
        parts.metrics.add("signals_total", len(batch.signals))
        newest = max(signal.event_ns for signal in batch.signals)
        parts.metrics.put("signal_lag_seconds", round((parts.clock.now_ns() - newest) / 1e9, 3))
        intents: list[Intent] = []
        for window in history.add(batch.signals):
            signal = window[-1]
            for strategy in active:
                if strategy.timeframe != signal.timeframe:
                    continue
                if strategy.symbols and signal.symbol not in strategy.symbols:
                    continue
                proposal = RULES[strategy.rule](window, strategy.parameters)
                if proposal is not None:
                    intents.append(make_intent(strategy, signal, proposal, parts.settings.account_label))
        await self._handler.handle(intents, universe)
        await asyncio.to_thread(parts.decisions.save_cursor, batch.cursor, now_ns=parts.clock.now_ns())
        self._cursor = batch.cursor

    async def _read_universe(self) -> frozenset[str]:
        parts = self._parts
        symbols = await self._universe.symbols()
        parts.metrics.put("universe_symbols", len(symbols))
        age = self._universe.age_seconds()
        if age is not None:
            parts.metrics.put("universe_age_seconds", round(age, 3))
        if self._universe.error is not None:
            parts.state.failed("universe", InputError(self._universe.error))
        elif not symbols:
            parts.state.failed(
                "universe", InputError("no symbol may be traded: set TRADING_STATIC_SYMBOLS or JANGAR_SYMBOLS_URL")
            )
        else:
            parts.state.succeeded("universe")
        return symbols


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    for failure in failures.exceptions:
        return _first(failure) if isinstance(failure, BaseExceptionGroup) else failure
    return failures
