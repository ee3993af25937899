"""One backtest: the parts of trading over a recording, gone through instant by instant."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar, TypeVarTuple, Unpack

from torghut_core.clock import StepClock
from torghut_core.engines.postgres import Postgres
from torghut_core.errors import InputError
from torghut_core.exchange.broker import Broker as Exchange
from torghut_core.exchange.ledger import Ledger
from torghut_core.market_calendar import MarketCalendar, Session, new_york_date
from torghut_core.trading.backtest import judges
from torghut_core.trading.backtest.fills import Fills, market_of
from torghut_core.trading.backtest.outcomes import Outcome, read_outcomes
from torghut_core.trading.backtest.recording import Ints, Recording, Series, Window
from torghut_core.trading.backtest.steps import Steps, silences, touching
from torghut_core.trading.backtest.tape import Tape
from torghut_core.trading.closing import Closer
from torghut_core.trading.handling import Handler
from torghut_core.trading.inputs.signals import PriceReader
from torghut_core.trading.loss_watch import has_loss_limit, watch_losses
from torghut_core.trading.model import Strategy
from torghut_core.trading.orders.answers import parse_order
from torghut_core.trading.orders.paper import PaperBroker
from torghut_core.trading.parts import Parts
from torghut_core.trading.proposing import Proposer
from torghut_core.trading.service import make_parts
from torghut_core.trading.settings import TradingSettings
from torghut_core.trading.store.database import Database
from torghut_core.trading.strategies.catalogue import Entry
from torghut_core.trading.strategies.library import Library
from torghut_core.trading.strategies.rule import RuleFault
from torghut_core.trading.strategies.shipped import SHIPPED

_Given = TypeVarTuple("_Given")
_Answer = TypeVar("_Answer")
MARGIN_MULTIPLIER = Decimal(2)
Progress = Callable[[int, int], None]
"""Told the instant that was reached, and the last."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is asked of a backtest."""

    entries: Sequence[Entry]
    settings: TradingSettings
    library: Library = SHIPPED
    fills: Fills = "quote"
    seed: int = 1
    cash: Decimal = Decimal(100_000)
    from_ns: int = 0
    to_ns: int = 1 << 62
    """Rows of [from, to) are traded on; those before are what windows go back to."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of it."""

    plan: Plan
    strategies: Sequence[Strategy]
    outcomes: Sequence[Outcome]
    symbols: Sequence[str]
    first_ns: int
    last_ns: int
    cash: Decimal
    """At the end, with what is still held at its last price: `equity`."""
    equity: Decimal
    held: dict[str, Decimal]
    steps: int
    rows: int
    """Rows that were traded on, whether they were looked at one by one or in columns."""
    timeframes: Sequence[str]
    """Of the rows that there were."""
    failures: Mapping[str, tuple[int, str]]
    """How often each strategy failed, and in one sentence how the last time."""


class _RecordedPrices(PriceReader):
    """The newest close of each symbol at an instant."""

    def __init__(self, series: Sequence[Series]) -> None:
        self._series = series

    def prices(self, symbols: Sequence[str], *, since_ns: int, until_ns: int) -> dict[str, Decimal]:
        found: dict[str, tuple[int, Decimal]] = {}
        for each in self._series:
            if each.symbol not in symbols:
                continue
            at = each.at_or_before(until_ns)
            if at < 0 or each.event_ns[at] < since_ns:
                continue
            event_ns = int(each.event_ns[at])
            if each.symbol not in found or event_ns > found[each.symbol][0]:
                found[each.symbol] = (event_ns, Decimal(str(float(each.columns["close"][at]))))
        return {symbol: price for symbol, (_, price) in found.items()}


def run_backtest(recording: Recording, plan: Plan, postgres: Postgres, *, progress: Progress | None = None) -> Result:
    """Trade over the recording, on an empty migrated database; raises InputError for what it cannot be traded on.

    The same recording, plan and seed give the same result.
    """
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(_run(recording, plan, postgres, progress))


class _Loop(asyncio.SelectorEventLoop):
    """A loop in which what is given to a thread is done at once: there is nothing else to do meanwhile."""

    def run_in_executor(
        self,
        executor: Executor | None,  # noqa: ARG002
        func: Callable[[Unpack[_Given]], _Answer],
        *args: *_Given,
    ) -> asyncio.Future[_Answer]:
        done: asyncio.Future[_Answer] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  it is raised to whoever awaits it
            done.set_exception(error)
        return done


async def _run(recording: Recording, plan: Plan, postgres: Postgres, progress: Progress | None) -> Result:
    market = market_of(recording, plan.fills)
    first_ns = max(plan.from_ns, recording.span[0])
    clock, tape = StepClock(first_ns), Tape(market)
    exchange = Exchange(
        ledger=Ledger(cash=plan.cash, multiplier=MARGIN_MULTIPLIER),
        prices=tape,
        clock=clock,
        calendar=MarketCalendar(plan.settings.market_calendar),
        seed=plan.seed,
    )
    exchange.known_symbols |= set(recording.symbols)
    broker = PaperBroker(
        exchange, cash=plan.cash, created_ns=first_ns, advance=lambda: tape.advance(clock.now_ns(), exchange)
    )
    with _opened(postgres) as database:
        parts = make_parts(
            plan.settings,
            postgres,
            database,
            clock=clock,
            broker=broker,
            prices=_RecordedPrices(recording.series),
        )
        driver = _Driver(parts, clock, recording, plan)
        exchange.on_update = driver.take_update
        try:
            await driver.run(progress)
        finally:
            driver.close()
            await asyncio.to_thread(parts.leadership.release)
        tape.advance(clock.now_ns(), exchange)
        return Result(
            plan=plan,
            strategies=driver.strategies,
            outcomes=read_outcomes(database),
            symbols=recording.symbols,
            first_ns=first_ns,
            last_ns=min(recording.span[1], plan.to_ns),
            cash=exchange.ledger.cash,
            equity=exchange.ledger.equity(tape.last_price),
            held={position.symbol: position.qty for position in exchange.ledger.positions()},
            steps=driver.steps_done,
            rows=driver.rows,
            timeframes=sorted({each.timeframe for each in recording.series}),
            failures={name: (count, str(fault)) for name, (count, fault) in driver.failures.items()},
        )


@contextmanager
def _opened(postgres: Postgres) -> Iterator[Database]:
    database = Database(postgres, is_own_server=True)
    database.open()
    try:
        yield database
    finally:
        database.close()


class _Driver:
    def __init__(self, parts: Parts, clock: StepClock, recording: Recording, plan: Plan) -> None:
        self._parts = parts
        self._clock = clock
        self._plan = plan
        self._closer = Closer(parts)
        self._handler = Handler(parts, self._closer)
        self._proposer = Proposer(parts, self._closer, plan.library)
        self._series: Sequence[Series] = recording.series
        self._universe = frozenset(recording.symbols)
        self._latency_ns = parts.settings.simulated_latency_ms * 1_000_000
        self._period_ns = parts.settings.reconcile_ms * 1_000_000
        self._watched_of: object = None
        self._touching: dict[str, Ints] = {}
        self._updates: deque[dict[str, Any]] = deque()
        self._day: date | None = None
        self._needs_marks = self._has_stops = True
        self.strategies: tuple[Strategy, ...] = ()
        self.steps_done = 0
        self.rows = 0

    async def run(self, progress: Progress | None) -> None:
        await self._begin()
        judged = self._proposer.judges()
        looked_at = [series for series in self._series if any(judges.looks_at(each, series) for each, _ in judged)]
        self._series = looked_at
        self._has_stops = any(
            limit is not None
            for strategy in self.strategies
            for limit in (strategy.stop_loss_pct, strategy.take_profit_pct, strategy.trailing_stop_pct)
        )
        self._needs_marks = self._are_marks_needed(judged)
        places = [judges.candidates(judged, series) for series in looked_at]
        bars = judges.lookback(judged)
        steps = Steps(
            looked_at,
            places,
            period_ns=self._period_ns,
            from_ns=self._plan.from_ns,
            to_ns=self._plan.to_ns,
        )
        forced = silences(
            steps.instants,
            limit_ns=round(self._parts.settings.emergency_lag_seconds * 1e9) - self._latency_ns,
            period_ns=self._period_ns,
            calendar=self._parts.calendar,
            latency_ns=self._latency_ns,
        )
        steps.force(forced)
        self.rows = steps.count
        last_ns = int(steps.instants[-1]) if len(steps.instants) else 0
        control = await asyncio.to_thread(self._parts.control.read)
        done_ns = int(steps.instants[0]) - 1 if len(steps.instants) else 0
        while True:
            closer = self._closer
            # Before the first reading nothing can be open: the account is new.
            has_business = closer.has_business and self.steps_done > 0
            is_marked = self._needs_marks and bool(closer.holdings)
            instant_ns = steps.after(done_ns, has_business=has_business, is_holding=is_marked)
            if instant_ns is None:
                break
            self._observe(steps, instant_ns)
            await self._lead()
            self._clock.move_to(instant_ns + self._latency_ns)
            await self._hear()
            if self._is_new_day():
                # Flat since the last mark, so equity is what the day's first mark would have read.
                await watch_losses(self._parts)
            rows = steps.candidates(instant_ns)
            windows = [Window(series, at, bars) for series, at in rows]
            judged_now = list(windows)
            if self._has_stops or self._proposer.uses_positions:
                held = self._held_rows(instant_ns, done_ns, rows)
                windows += [Window(series, at, bars) for series, at in held]
            if self._proposer.uses_positions:
                # A row from before the instant is only seen; what was to be said of it was nothing.
                judged_now = [window for window in windows if window[-1].event_ns == instant_ns]
            signals = [window[-1] for window in windows]
            intents = await self._proposer.propose(judged_now, turn=self._handler.turn)
            await self._handler.handle(signals, intents, self.strategies, self._universe, control)
            if instant_ns % self._period_ns == 0 and has_loss_limit(self._parts.settings):
                await watch_losses(self._parts)
                control = await asyncio.to_thread(self._parts.control.read)
            self._watch(steps, instant_ns)
            self.steps_done += 1
            done_ns = instant_ns
            # Nothing of an instant waits, so here alone an interruption is noticed.
            await asyncio.sleep(0)
            if progress is not None:
                progress(instant_ns, last_ns)

    def _are_marks_needed(self, judged: Sequence[judges.Judge]) -> bool:
        """Tell whether a mark of the clock can change anything of a holding: a close, a loss limit, or a stop."""
        settings = self._parts.settings
        uses_positions = any(rule.uses_position for _, rule in judged)
        return settings.flatten_minutes > 0 or has_loss_limit(settings) or self._has_stops or uses_positions

    @property
    def failures(self) -> Mapping[str, tuple[int, RuleFault]]:
        """How often each strategy failed, and how the last time."""
        return self._proposer.failures

    def take_update(self, update: dict[str, Any]) -> None:
        """Take what the exchange tells of an order."""
        if update["event"] == "partial_fill":
            self._updates.append(update["order"])

    def close(self) -> None:
        """End what the strategies have running."""
        self._proposer.close()

    async def _begin(self) -> None:
        """Do what a start of the runtime does: revision, lock, account, catalogue."""
        parts, now_ns = self._parts, self._clock.now_ns()
        assert parts.broker is not None
        await asyncio.to_thread(parts.control.register, "backtest", now_ns=now_ns, stop=None)
        parts.leadership.start_beating()
        await self._lead()
        account = await parts.broker.account()
        await asyncio.to_thread(parts.control.bind, account.number, now_ns=now_ns)
        parts.state.is_account_confirmed = True
        strategies = await asyncio.to_thread(
            parts.decisions.apply_catalogue, self._plan.entries, mode="sync", now_ns=now_ns
        )
        self.strategies = await self._proposer.load(strategies)
        faults = self._proposer.faults
        if faults:
            raise InputError("; ".join(str(fault) for _, fault in sorted(faults.items())))

    async def _lead(self) -> None:
        """Keep the lock: the server ends a session that was silent while columns were computed."""
        leadership = self._parts.leadership
        leadership.turned()
        if not leadership.is_leader:
            await asyncio.to_thread(leadership.check, now_ns=self._clock.now_ns())

    async def _hear(self) -> None:
        """Hear of orders that were filled in part since, each part by itself, as the broker's stream tells them."""
        assert self._parts.broker is not None and self._parts.reconciler is not None
        await self._parts.broker.open_orders()
        while self._updates:
            await self._parts.reconciler.heard(parse_order(self._updates.popleft()))

    def _is_new_day(self) -> bool:
        day = new_york_date(self._clock.now_ns())
        is_new = day != self._day and has_loss_limit(self._parts.settings)
        self._day = day
        return is_new

    def _observe(self, steps: Steps, instant_ns: int) -> None:
        parts = self._parts
        newest_ns = steps.newest(instant_ns)
        if newest_ns is None:
            return
        now_ns = instant_ns + self._latency_ns
        is_open = parts.calendar.session(now_ns) is Session.REGULAR
        parts.emergency.observe(lag_seconds=(now_ns - newest_ns) / 1e9, is_open=is_open)

    def _held_rows(
        self, instant_ns: int, done_ns: int, known: Sequence[tuple[Series, int]]
    ) -> list[tuple[Series, int]]:
        """Return the newest rows of what is held since the instant before: those may touch its stops."""
        holdings = self._closer.holdings
        found: list[tuple[Series, int]] = []
        for series in self._series if holdings else ():
            if series.symbol not in holdings:
                continue
            # Rows between touched nothing, or they had been gone through; the newest says that rows still come.
            last = series.at_or_before(instant_ns)
            if last > series.at_or_before(done_ns) and not any(each is series for each, _ in known):
                found.append((series, last))
        return found

    def _watch(self, steps: Steps, instant_ns: int) -> None:
        """Look ahead for what may touch a stop, whenever the book was read anew."""
        closer = self._closer
        if not (self._has_stops or self._proposer.uses_positions):
            return
        if closer.book is self._watched_of and all(symbol in self._touching for symbol in closer.holdings):
            return
        self._watched_of = closer.book
        self._touching = {}
        for symbol, holding in closer.holdings.items():
            position = None if closer.book is None else closer.book.positions.get(symbol)
            entry = holding.best_price if position is None else position.entry_price
            averages = closer.book.averages if closer.book is not None else {}
            entries = [entry, *(price for (_, name), price in averages.items() if name == symbol)]
            levels = self._proposer.levels(symbol)
            found = None
            if levels is not None:
                found = touching(holding, entries, self.strategies, levels, series=self._series, after_ns=instant_ns)
            self._touching[symbol] = steps.instants if found is None else found
        steps.watch(self._touching)
