"""The lanes of trading: leadership, trading, reconciliation, alerts, order events. None ends for what one of them meets."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence

from torghut_core.clock import StepClock
from torghut_core.errors import ConfigurationError, InputError, TorghutError
from torghut_core.logs import event
from torghut_core.market_calendar import Session
from torghut_core.trading.closing import Closer
from torghut_core.trading.handling import Handler
from torghut_core.trading.inputs.history import SignalHistory
from torghut_core.trading.inputs.signals import Batch, Cursor, SignalReader
from torghut_core.trading.inputs.universe import Universe
from torghut_core.trading.instants import Waiting, in_turn
from torghut_core.trading.loss_watch import watch_losses
from torghut_core.trading.model import Signal, Strategy
from torghut_core.trading.orders.reconcile import LATE_NS
from torghut_core.trading.parts import Parts
from torghut_core.trading.proposing import Loaded, Proposer, end_rules
from torghut_core.trading.risk.context import Control
from torghut_core.trading.settings import check_broker_account
from torghut_core.trading.status import Lane
from torghut_core.trading.store.control import Bound
from torghut_core.trading.store.database import DatabaseError
from torghut_core.trading.strategies.catalogue import catalogue_path, read_catalogue
from torghut_core.trading.strategies.library import Library
from torghut_core.trading.strategies.shipped import SHIPPED

_LOG = logging.getLogger(__name__)
_CURSOR_AHEAD_NS = 60_000_000_000
_MAX_PAGES = 50
"""Batches per cycle, so that a long backlog still lets kill switch and catalogue be looked at."""
_LOADING_SECONDS = 5.0
"""How long a cycle waits for a catalogue before it goes on with the one in force."""
_LATE_EVERY_SECONDS = 5.0
"""How often rows that were written into the past are looked for."""
Step = Callable[[], Awaitable[None]]


class _EndingError(Exception):
    """All is to end: what was read and not dealt with is read again by whoever trades next."""


class TradingLoop:
    """Polls signals and trades on them while this process leads."""

    def __init__(
        self,
        parts: Parts,
        *,
        reader: SignalReader,
        universe: Universe,
        handler: Handler,
        closer: Closer,
        library: Library = SHIPPED,
        lanes: Sequence[tuple[Lane, Step, float]] = (),
        on_rows: Callable[[Sequence[Signal]], None] | None = None,
    ) -> None:
        self._parts = parts
        self._reader = reader
        self._universe = universe
        self._handler = handler
        self._closer = closer
        self._library = library
        self._proposer = Proposer(parts, closer, library)
        self._more_lanes = tuple(lanes)
        self._on_rows = on_rows
        self._history: SignalHistory | None = None
        self._cursor = Cursor()
        self._newest_ns: int | None = None
        self._late_looked_at = -math.inf
        clock = parts.clock
        self._steps = clock if isinstance(clock, StepClock) and clock.base is not None else None
        self._waiting = None if self._steps is None else Waiting(parts.settings.reconcile_ms * 1_000_000)
        self._strategies: tuple[Strategy, ...] = ()
        self._loading: asyncio.Task[Loaded | None] | None = None
        self._catalogue_looked_at = -math.inf
        self._catalogue_version: tuple[int, int] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Run the lanes until `stop` is set.

        Raises ConfigurationError when broker or database contradict the settings; nothing else ends a lane.
        """
        parts, settings = self._parts, self._parts.settings
        parts.leadership.start_beating()
        parts.state.running = True
        lanes: tuple[tuple[Lane, Step, float], ...] = (
            ("leadership", self.check_leadership, settings.leader_check_seconds),
            ("trading", self.cycle, settings.poll_ms / 1000),
            ("reconcile", self.reconcile, settings.reconcile_ms / 1000),
            *self._more_lanes,
        )
        try:
            async with asyncio.TaskGroup() as group:
                for lane, step, pause in lanes:
                    group.create_task(self._repeat(lane, step, pause, stop), name=f"lane:{lane}")
        except BaseExceptionGroup as failures:
            raise _first(failures) from failures
        finally:
            parts.state.running = False
            await self._end_loading()
            self._proposer.close()

    async def _repeat(self, lane: Lane, step: Step, pause: float, stop: asyncio.Event) -> None:
        parts = self._parts
        while not stop.is_set():
            try:
                await (_until(stop, step) if lane == "trade_updates" else step())
            except ConfigurationError:
                raise
            except TorghutError as error:
                parts.state.failed(lane, error)
            except Exception as error:  # noqa: BLE001  a fault of ours must not stop exits, the kill switch or reconciliation
                parts.state.failed(lane, error)
                parts.metrics.add_labelled("lane_errors_total", lane)
            else:
                parts.state.succeeded(lane, parts.wall.monotonic())
            if lane == "trading":
                # A dependency's error is a turn; a cycle that never ends is none.
                parts.leadership.turned()
            try:
                async with asyncio.timeout(pause):
                    await stop.wait()
            except TimeoutError:
                continue

    async def check_leadership(self) -> None:
        """Take or keep the leader's lock; lift a stop where this process's deployment may."""
        parts = self._parts
        was_leader = parts.leadership.is_leader
        try:
            await asyncio.to_thread(parts.leadership.check, now_ns=parts.clock.now_ns())
        finally:
            parts.metrics.put("leader", float(parts.leadership.is_leader))
            parts.metrics.put("leader_silent", float(parts.leadership.is_leader_silent))
            if was_leader != parts.leadership.is_leader:
                event(_LOG, "leadership", is_leader=parts.leadership.is_leader, epoch=parts.leadership.epoch)
        await self._lift_stop()

    async def _lift_stop(self) -> None:
        """Lift a standing stop: only as leader, with trading on, every gate of a start passed, by a newer revision."""
        parts, settings = self._parts, self._parts.settings
        epoch, control = parts.leadership.epoch, parts.state.control
        is_on = settings.enabled and not settings.kill_switch_enabled
        may_lift = is_on and parts.state.is_account_confirmed and parts.revision is not None
        if epoch is None or control is None or not control.is_stopped or control.is_killed or not may_lift:
            return
        assert parts.revision is not None
        lifted = await asyncio.to_thread(
            parts.control.lift,
            parts.revision,
            now_ns=parts.clock.now_ns(),
            epoch=epoch,
            lock_name=parts.leadership.lock_name,
        )
        if lifted:
            event(_LOG, "stop_lifted", logging.WARNING, revision=parts.revision)

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
                parts.state.orphans = len(parts.reconciler.orphans)
                parts.state.not_obeyed = len(parts.reconciler.not_obeyed)
                if self._waiting is None:
                    await watch_losses(parts)
        since_ns = parts.clock.now_ns() - LATE_NS
        parts.state.uncertain = await asyncio.to_thread(parts.orders.uncertain, since_ns=since_ns)
        parts.state.last_reconcile_ns = parts.clock.now_ns()

    async def cycle(self) -> None:
        """Obey the kill switch, look at the catalogue, keep exits, and deal with new signals when this process leads."""
        parts = self._parts
        parts.metrics.put("market_session_open", float(parts.calendar.session(parts.clock.now_ns()) is Session.REGULAR))
        control = await self._read_control()
        await self.obey_kill_switch()
        await self.confirm_account()
        await self._load_catalogue()
        if not parts.leadership.is_leader:
            self._history = None
            async with self._handler.turn:
                self._closer.forget()
        elif control is not None:
            if self._waiting is None:
                await self._look_at_exits(control)
            await self._trade(control)
        parts.state.last_run_ns = parts.clock.now_ns()

    async def _read_control(self) -> Control | None:
        parts = self._parts
        try:
            control = await asyncio.to_thread(parts.control.read)
        except TorghutError as error:
            parts.state.control = None
            parts.state.failed("control", error)
            return None
        before = parts.state.control
        parts.state.control = control
        parts.state.succeeded("control")
        if control.is_stopped and (before is None or not before.is_stopped):
            parts.alerts.tell(
                "trading_stopped", str(control.stopped_since_ns), "a recorded stop stands: no order is sent"
            )
        if control.is_killed and (before is None or not before.is_killed):
            event(_LOG, "kill_switch_in_database", logging.WARNING)
        return control

    async def _look_at_exits(self, control: Control) -> None:
        try:
            async with self._handler.turn:
                await self._closer.look(self._strategies, control)
        except ConfigurationError:
            raise
        except TorghutError as error:
            # Entries are judged for themselves; what keeps exits keeps most of them too.
            self._parts.state.failed("exits", error)
        else:
            self._parts.state.succeeded("exits", self._parts.wall.monotonic())

    async def confirm_account(self) -> None:
        """Ask whose account this is until the broker says so, and bind the database to it.

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
        try:
            bound = await asyncio.to_thread(parts.control.bind, account.number, now_ns=parts.clock.now_ns())
            found = await self._find_foreign()
        except TorghutError as error:
            parts.state.failed("broker", error)
            return
        self._check_bound(bound, account.number)
        parts.state.foreign = found
        parts.state.is_account_confirmed = True
        parts.state.succeeded("broker")

    def _check_bound(self, bound: Bound, number: str) -> None:
        label = self._parts.settings.account_label
        if bound.account_number != number:
            said = "DB_DSN contradicts the broker: this database belongs to another account"
        elif bound.account_label != label:
            said = f"TRADING_ACCOUNT_LABEL={label} contradicts DB_DSN: this database belongs to {bound.account_label}"
        else:
            return
        raise ConfigurationError(said, hint="one database keeps one account: give each its own")

    async def _find_foreign(self) -> dict[str, object]:
        """Say what is at the broker that this program did not do."""
        parts = self._parts
        assert parts.broker is not None
        snapshot = await parts.broker.snapshot()
        owned = await asyncio.to_thread(parts.money.owned)
        mine: dict[str, object] = {}
        for _, symbol in owned:
            mine[symbol] = True
        others = []
        for order in snapshot.orders:
            if await asyncio.to_thread(parts.orders.owner, order.client_order_id) is None:
                others.append({"symbol": order.symbol, "side": order.side, "qty": str(order.remaining)})
        held = [
            {"symbol": symbol, "qty": str(position.qty)}
            for symbol, position in sorted(snapshot.positions.items())
            if symbol not in mine
        ]
        if others or held:
            event(_LOG, "found_at_start", logging.WARNING, orders=len(others), positions=len(held))
        return {"orders": others[:50], "positions": held[:50]}

    async def obey_kill_switch(self) -> None:
        """While a kill switch is on, have open orders cancelled. The environment's needs neither database nor lock."""
        parts = self._parts
        control = parts.state.control
        is_on = parts.settings.kill_switch_enabled or (control is not None and control.is_killed)
        if not is_on or parts.reconciler is None:
            return
        try:
            await parts.reconciler.cancel_open_orders()
        except TorghutError as error:
            parts.state.failed("kill_switch", error)
        else:
            parts.state.succeeded("kill_switch")

    async def _load_catalogue(self) -> None:
        """Read the strategy file when it changed; a refused file leaves the last good one in force.

        What takes long, strategies from outside that are slow to load, is waited for in the cycles after this one: exits
        and the strategies in force go on.
        """
        if self._loading is None:
            now = self._parts.clock.monotonic()
            if self._strategies and now - self._catalogue_looked_at < self._parts.settings.strategy_reload_seconds:
                return
            self._catalogue_looked_at = now
            self._loading = asyncio.create_task(self._read_catalogue(), name="catalogue")
        await asyncio.wait({self._loading}, timeout=_LOADING_SECONDS)
        if not self._loading.done():
            return
        loading, self._loading = self._loading, None
        loaded = loading.result()
        if loaded is not None:
            self._strategies = self._proposer.use(loaded)
            # Other rules may look further back, and at other timeframes.
            self._history = None
            event(_LOG, "catalogue_loaded", strategies=[item.name for item in self._strategies if item.is_enabled])

    async def _read_catalogue(self) -> Loaded | None:
        """Return what the file says, or PostgreSQL where the first file is refused; None when nothing is new."""
        parts, stated = self._parts, self._parts.settings.strategy_path
        version: tuple[int, int] | None = None
        try:
            path = catalogue_path(stated)
            stat = await asyncio.to_thread(path.stat)
            version = (stat.st_mtime_ns, stat.st_size)
            if version == self._catalogue_version:
                return None
            self._library.forget()
            entries = await asyncio.to_thread(read_catalogue, path, self._library)
            strategies = await asyncio.to_thread(
                parts.decisions.apply_catalogue,
                entries,
                mode=parts.settings.strategy_mode,
                now_ns=parts.clock.now_ns(),
            )
        except (InputError, OSError, ValueError, DatabaseError) as error:
            self._catalogue_version = version
            parts.metrics.add("catalogue_errors_total")
            refused = error if isinstance(error, TorghutError) else InputError(f"{stated}: cannot be read")
            parts.state.failed("catalogue", refused)
            if self._strategies:
                return None
            # What was in force before this start stays so.
            strategies = await asyncio.to_thread(parts.decisions.strategies)
        else:
            self._catalogue_version = version
            parts.state.succeeded("catalogue")
        return await asyncio.to_thread(self._proposer.build, strategies)

    async def _end_loading(self) -> None:
        """Let a catalogue that is being loaded come to its end, and end what it started."""
        if self._loading is not None:
            [found] = await asyncio.gather(self._loading, return_exceptions=True)
            if isinstance(found, Loaded):
                end_rules(found.rules.values())

    async def _trade(self, control: Control) -> None:
        parts = self._parts
        universe = await self._read_universe()
        active = self._proposer.active()
        if not active or not (universe or self._closer.holdings):
            reason = "no_active_strategy" if universe else "universe_source_unavailable"
            parts.metrics.add_labelled("no_signal_reason_total", reason)
            return
        timeframes = sorted({strategy.timeframe for strategy in active})
        # What is held is watched though it may not be opened any more.
        symbols = sorted(universe | set(self._closer.holdings))
        if self._waiting is not None:
            self._waiting.expect(symbols, self._market_ns())
        try:
            for _ in range(_MAX_PAGES):
                since_ns = parts.clock.now_ns() - parts.settings.signal_lookback_ns
                history = await self._warm_history(symbols, timeframes, since_ns)
                batch = await asyncio.to_thread(
                    self._reader.read, self._cursor, symbols=symbols, timeframes=timeframes, since_ns=since_ns
                )
                await self._handle_batch(batch, history, universe, control)
                await self._handle_ripe(history, universe, control)
                if not batch.is_full:
                    break
            await self._handle_late(symbols, timeframes, universe, control)
        except _EndingError:
            self._history = None
        except BaseException:
            # What was read but not dealt with is read again, from the cursor that was stored last.
            self._history = None
            raise

    async def _handle_late(
        self,
        symbols: list[str],
        timeframes: list[str],
        universe: frozenset[str],
        control: Control,
    ) -> None:
        parts, now = self._parts, self._parts.wall.monotonic()
        if self._history is None or now - self._late_looked_at < _LATE_EVERY_SECONDS:
            return
        since_ns = parts.clock.now_ns() - parts.settings.signal_lookback_ns
        batch = await asyncio.to_thread(
            self._reader.read_late, self._cursor, symbols=symbols, timeframes=timeframes, since_ns=since_ns
        )
        if not batch.is_full:
            self._late_looked_at = now
        if batch.signals:
            parts.metrics.add("signals_late_total", len(batch.signals))
            await self._handle_batch(batch, self._history, universe, control)

    def _market_ns(self) -> int:
        """Return the market's own time, which on a simulated clock is ahead of the instant that is dealt with."""
        base = None if self._steps is None else self._steps.base
        return self._parts.clock.now_ns() if base is None else base.now_ns()

    async def _warm_history(self, symbols: list[str], timeframes: list[str], since_ns: int) -> SignalHistory:
        if self._history is not None:
            return self._history
        parts = self._parts
        self._reader.forget_all()
        self._late_looked_at = -math.inf
        self._cursor = await asyncio.to_thread(parts.decisions.cursor)
        if self._cursor.ingest_ms * 1_000_000 > self._market_ns() + _CURSOR_AHEAD_NS:
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
                since_ns=min(since_ns, parts.clock.now_ns() - self._proposer.lookback_ns()),
                bars=history.bars,
            )
        )
        self._history = history
        return history

    async def _handle_batch(
        self,
        batch: Batch,
        history: SignalHistory,
        universe: frozenset[str],
        control: Control,
    ) -> None:
        parts = self._parts
        now_ns = parts.clock.now_ns()
        if self._waiting is None:
            self._observe_lag(batch.signals)
        if not batch.signals:
            parts.metrics.add_labelled("no_signal_reason_total", "no_signals_in_window")
        else:
            parts.metrics.add("signals_total", len(batch.signals))
            await self._handle_signals(batch.signals, history, universe, control)
        if batch.cursor != self._cursor:
            await asyncio.to_thread(parts.decisions.save_cursor, batch.cursor, now_ns=now_ns)
            self._cursor = batch.cursor

    def _observe_lag(self, signals: Sequence[Signal]) -> None:
        parts, now_ns = self._parts, self._parts.clock.now_ns()
        if signals:
            newest = max(signal.event_ns for signal in signals)
            self._newest_ns = max(newest, self._newest_ns or newest)
        lag = None if self._newest_ns is None else (now_ns - self._newest_ns) / 1e9
        parts.emergency.observe(lag_seconds=lag, is_open=parts.calendar.session(now_ns) is Session.REGULAR)
        if lag is not None:
            parts.metrics.put("signal_lag_seconds", round(lag, 3))

    async def _handle_signals(
        self,
        signals: Sequence[Signal],
        history: SignalHistory,
        universe: frozenset[str],
        control: Control,
    ) -> None:
        """Deal with one instant after the other: each is judged by the book as it was made by those before."""
        if self._waiting is not None:
            self._waiting.add(signals)
            return
        settings, now_ns = self._parts.settings, self._parts.clock.now_ns()
        fresh_since_ns = now_ns - settings.signal_max_staleness_ms * 1_000_000 - settings.feed_delay_ns
        for rows in in_turn(signals, fresh_since_ns=fresh_since_ns):
            await self._handle_instant(rows, history, universe, control)

    async def _handle_instant(
        self, rows: Sequence[Signal], history: SignalHistory, universe: frozenset[str], control: Control
    ) -> None:
        self._go_on()
        if self._on_rows is not None:
            self._on_rows(rows)
        windows = [*await self._old_windows(rows, history), *history.add(rows)]
        intents = await self._proposer.propose(windows, turn=self._handler.turn)
        await self._handler.handle(rows, intents, self._strategies, universe, control)
        self._go_on()  # before the cursor goes past entries that were left out

    def _go_on(self) -> None:
        """Raise _EndingError when all is to end: a backlog's hundreds of instants are not traded on before that."""
        if self._parts.state.is_ending:
            raise _EndingError

    async def _handle_ripe(self, history: SignalHistory, universe: frozenset[str], control: Control) -> None:
        """On a simulated clock: deal with the instants whose rows are surely all there."""
        if self._waiting is None or self._steps is None or self._steps.base is None:
            return
        parts, period_ns = self._parts, self._parts.settings.reconcile_ms * 1_000_000
        latency_ns = parts.settings.simulated_latency_ms * 1_000_000
        ripe_ns = self._waiting.ripe(self._steps.base.now_ns() - latency_ns, self._steps.speed)
        for instant_ns, rows in self._waiting.take(ripe_ns):
            self._steps.move_to(instant_ns + latency_ns)
            self._observe_lag(rows)
            await self._handle_instant(rows, history, universe, control)
            if instant_ns % period_ns == 0:
                await watch_losses(parts)

    async def _old_windows(self, signals: Sequence[Signal], history: SignalHistory) -> list[Sequence[Signal]]:
        """Return the windows of rows that came so late that the bars around them are kept no more."""
        found: list[Sequence[Signal]] = []
        for signal in sorted(signals, key=lambda item: item.event_ns):
            if not history.is_older(signal):
                continue
            bars, span_ns = self._proposer.lookback(signal.timeframe)
            since_ns = signal.event_ns - span_ns
            window = await asyncio.to_thread(self._reader.window, signal, since_ns=since_ns, bars=bars)
            if window:
                found.append(window)
        return found

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


async def _until(stop: asyncio.Event, step: Step) -> None:
    """Run a step that only reads, and may last, until it ends or all is to end."""
    work, stopped = asyncio.ensure_future(step()), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
    finally:
        for task in (work, stopped):
            task.cancel()
        await asyncio.gather(work, stopped, return_exceptions=True)


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    for failure in failures.exceptions:
        return _first(failure) if isinstance(failure, BaseExceptionGroup) else failure
    return failures
