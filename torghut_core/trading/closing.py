"""Exits: which holdings there are, what calls for closing them, and one attempt after the other until they are flat."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID

from torghut_core.errors import TorghutError
from torghut_core.logs import event
from torghut_core.market_calendar import Session, new_york_date, trading_day
from torghut_core.trading.books import Reading, read_book
from torghut_core.trading.decision.book import ZERO, Book, PendingOrder
from torghut_core.trading.decision.exits import Cause, Holding, exit_qty, is_flattening, triggered
from torghut_core.trading.decision.intents import Intent, exit_key, is_own_client_id
from torghut_core.trading.decision.quote import quote_of
from torghut_core.trading.decision.sizing import Size
from torghut_core.trading.leadership import ClaimRequest
from torghut_core.trading.model import OrderRequest, Signal, Strategy
from torghut_core.trading.orders.broker import BrokerUnavailableError
from torghut_core.trading.owners import Owners
from torghut_core.trading.parts import Parts
from torghut_core.trading.risk import refusals
from torghut_core.trading.risk.context import Control, GateContext
from torghut_core.trading.store.decisions import Refused
from torghut_core.trading.store.exits import OpenExit

_LOG = logging.getLogger(__name__)
_PAUSE_CAP_SECONDS = 60.0
_SETTLING_SECONDS = 2.0
"""After a fill the broker's position may lag: what was sold must not be sold again."""


@dataclass
class _Pause:
    until: float
    failures: int


class Closer:
    """Keeps holdings and exits of the account while this process leads.

    All its pauses are of `parts.clock`: on a recorded day they are market time, whatever the speed.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._owners = Owners(parts)
        self._holdings: dict[str, Holding] | None = None
        self._pauses: dict[UUID, _Pause] = {}
        self._newest_row: dict[str, int] = {}
        self._read_at: float | None = None
        self._wanted: frozenset[UUID] = frozenset()
        self._pressed_at = 0.0
        self._may_have_exits = True
        self.awaits_orders = True
        """Whether an order of ours may be open: what it fills is looked for every other second."""
        self.book: Book | None = None
        """The newest reading, for what only watches prices."""

    @property
    def holdings(self) -> Mapping[str, Holding]:
        """The holdings as last read."""
        return self._holdings or {}

    @property
    def has_business(self) -> bool:
        """Whether time alone may bring something to do: an order or an exit is open."""
        return self.awaits_orders or self._may_have_exits

    def sent(self) -> None:
        """Take note that an order went out."""
        self.awaits_orders = True

    def forget(self) -> None:
        """Read everything anew when this process leads again."""
        self._holdings, self._read_at, self.book = None, None, None
        self.awaits_orders = self._may_have_exits = True
        self._pauses.clear()
        self._owners.forget()

    async def look(self, strategies: Sequence[Strategy], control: Control) -> None:
        """Bring holdings up to date, and make the attempts that are due."""
        exits = await self._open_exits()
        is_pressed = self._is_pressed(exits)
        if not self._is_due() and not is_pressed:
            return
        self._read_at = self._parts.clock.monotonic()
        reading = await self.read(item.symbol for item in exits)
        reading = await self.update(reading)
        if reading.book is not None:
            await self._watch_positions(reading.book, strategies)
            await self._flatten(reading.book, strategies)
            exits = await self._open_exits()
        await self._attempt(exits, reading, strategies, control)

    async def read(self, symbols: Iterable[str]) -> Reading:
        """Return the book as it is now, with what became of our open orders folded in first."""
        await self.refresh()
        return await read_book(self._parts, symbols)

    async def refresh(self) -> None:
        """Hear what became of our open orders, if there may be any."""
        parts = self._parts
        if self.awaits_orders and parts.reconciler is not None:
            # A broker that cannot be asked cannot be read either, which says so.
            with suppress(BrokerUnavailableError):
                await parts.reconciler.refresh_executions()

    async def _open_exits(self) -> tuple[OpenExit, ...]:
        if not self._may_have_exits:
            return ()
        exits = await asyncio.to_thread(self._parts.exits.open_exits)
        self._may_have_exits = bool(exits)
        return exits

    def _is_pressed(self, exits: Sequence[OpenExit]) -> bool:
        """Tell whether exits want a reading now: new ones at once, those that wait every other second."""
        wanted, now = frozenset(item.id for item in exits), self._parts.clock.monotonic()
        is_new = not wanted <= self._wanted
        self._wanted = wanted
        if not wanted or (not is_new and now - self._pressed_at < _SETTLING_SECONDS):
            return False
        self._pressed_at = now
        return True

    def _is_due(self) -> bool:
        """Tell whether a mark of the clock was passed since the last reading, or an order may have been filled.

        Marks, not a time since the last reading: when one is due then does not hang on when others were made.
        """
        now, period = self._parts.clock.monotonic(), self._parts.settings.reconcile_ms / 1000
        if self._read_at is None or now // period > self._read_at // period:
            return True
        return self.awaits_orders and now - self._read_at >= _SETTLING_SECONDS

    async def update(self, reading: Reading) -> Reading:
        """Open and close holdings as positions came and went. What could not be read changes nothing.

        Return the reading with the strategies' shares corrected to what the account holds.
        """
        parts, book = self._parts, reading.book
        if self._holdings is None:
            self._holdings = await asyncio.to_thread(parts.exits.holdings)
        if book is None:
            return reading
        self.book = book
        self._read_at = parts.clock.monotonic()
        self.awaits_orders = bool(reading.unknown_symbols) or any(
            is_own_client_id(order.client_order_id) for order in reading.orders
        )
        now_ns = parts.clock.now_ns()
        for symbol, holding in list(self._holdings.items()):
            held = book.held(symbol)
            if symbol in book.unreadable or (held != 0 and (held > 0) == holding.is_long):
                continue
            await asyncio.to_thread(parts.exits.close_holding, holding, now_ns=now_ns)
            del self._holdings[symbol]
        for symbol, position in book.positions.items():
            if position.qty == 0 or symbol in self._holdings:
                continue
            self._holdings[symbol] = await asyncio.to_thread(
                parts.exits.open_holding,
                symbol,
                is_long=position.qty > 0,
                price=position.entry_price,
                # Of shares that came from elsewhere, a signal that is not stale yet may speak.
                foreign_since_ns=now_ns
                - parts.settings.signal_max_staleness_ms * 1_000_000
                - parts.settings.feed_delay_ns,
            )
        reading, splits = await self._owners.settle(reading)
        await self._follow_splits(splits)
        self.book = reading.book
        return reading

    async def _follow_splits(self, splits: Mapping[str, Decimal]) -> None:
        """Keep the best price of a holding comparable with prices after a split."""
        assert self._holdings is not None
        changed = []
        for symbol, ratio in splits.items():
            holding = self._holdings.get(symbol)
            if holding is not None:
                self._holdings[symbol] = replace(holding, best_price=round(holding.best_price / ratio, 8))
                changed.append(self._holdings[symbol])
        if changed:
            await asyncio.to_thread(self._parts.exits.save_best_prices, changed)

    async def watch(self, signals: Iterable[Signal], strategies: Sequence[Strategy], book: Book) -> None:
        """Let the rows, in their order, touch the strategies' stops: the same rows give the same exits at any speed."""
        changed: dict[str, Holding] = {}
        for signal in sorted(signals, key=lambda item: (item.event_ns, item.symbol, item.timeframe)):
            holding = self.holdings.get(signal.symbol)
            if holding is None or signal.event_ns <= holding.opened_ns:
                continue
            self._newest_row[signal.symbol] = max(signal.event_ns, self._newest_row.get(signal.symbol, 0))
            price = quote_of(signal).price(holding.closing_side) or Decimal(str(signal.close))
            if await self._touch(holding, price, strategies, book, signal):
                changed[signal.symbol] = self.holdings[signal.symbol]
        if changed:
            await asyncio.to_thread(self._parts.exits.save_best_prices, changed.values())

    async def _watch_positions(self, book: Book, strategies: Sequence[Strategy]) -> None:
        """Where rows have stopped coming, the broker's own valuation touches the stops."""
        parts = self._parts
        oldest_ns = parts.clock.now_ns() - parts.settings.signal_max_staleness_ms * 1_000_000
        for symbol, holding in list(self.holdings.items()):
            position = book.positions.get(symbol)
            if position is None or self._newest_row.get(symbol, 0) >= oldest_ns:
                continue
            await self._touch(holding, position.price, strategies, book, None)

    async def _touch(
        self, holding: Holding, price: Decimal, strategies: Sequence[Strategy], book: Book, signal: Signal | None
    ) -> bool:
        assert self._holdings is not None
        seen = holding.seen_at(price)
        self._holdings[holding.symbol] = seen
        position = book.positions.get(holding.symbol)
        if position is not None:
            for strategy in _traders(strategies, holding.symbol):
                entry = book.averages.get((strategy.id, holding.symbol), position.entry_price)
                cause = triggered(seen, strategy, entry_price=entry, price=price)
                if cause is not None and book.closable(strategy.id, holding.symbol) != 0:
                    await self._open(seen, strategy, cause, f"{cause} at {price:f}", signal)
        return seen is not holding

    async def take_signals(self, intents: Sequence[Intent], book: Book | None) -> list[Intent]:
        """Turn intents against a holding into exits; return the others, which would open.

        A signal from before the holding says nothing of it: it is returned too, and refused as what it would be.
        """
        left: list[Intent] = []
        for intent in intents:
            holding = self.holdings.get(intent.symbol)
            if (
                holding is None
                or intent.side != holding.closing_side
                or intent.signal.event_ns <= holding.opened_ns
                or (book is not None and book.closable(intent.strategy.id, intent.symbol) == 0)
            ):
                left.append(intent)
            else:
                await self._open(holding, intent.strategy, intent.cause, intent.rationale, intent.signal)
        return left

    async def _flatten(self, book: Book, strategies: Sequence[Strategy]) -> None:
        parts = self._parts
        now_ns = parts.clock.now_ns()
        if not is_flattening(now_ns, close_ns(parts, now_ns), parts.settings.flatten_minutes):
            return
        by_id = {strategy.id: strategy for strategy in strategies}
        for strategy_id, symbol in book.owned:
            holding, strategy = self.holdings.get(symbol), by_id.get(strategy_id)
            if holding is not None and strategy is not None:
                await self._open(holding, strategy, "flatten", "flatten before the close", None)

    async def _open(
        self, holding: Holding, strategy: Strategy, cause: Cause, rationale: str, signal: Signal | None
    ) -> None:
        parts = self._parts
        self._may_have_exits = True
        is_new = await asyncio.to_thread(
            parts.exits.open_exit,
            holding,
            strategy_id=strategy.id,
            cause=cause,
            timeframe=strategy.timeframe,
            rationale=rationale,
            signal_ns=None if signal is None else signal.event_ns,
            now_ns=parts.clock.now_ns(),
        )
        if is_new:
            parts.metrics.add_labelled("exits_total", cause)
            event(_LOG, "exit_wanted", symbol=holding.symbol, cause=cause, strategy=strategy.name)

    async def _attempt(
        self, exits: Iterable[OpenExit], reading: Reading, strategies: Sequence[Strategy], control: Control
    ) -> None:
        by_id = {strategy.id: strategy for strategy in strategies}
        for wish in exits:
            strategy = by_id.get(str(wish.strategy_id))
            if strategy is None:
                continue
            try:
                reading = await self._attempt_one(wish, strategy, reading, control)
            except TorghutError:
                raise
            except Exception as error:  # noqa: BLE001  one exit that cannot be made must not keep the others
                self._parts.metrics.add("decision_errors_total")
                event(_LOG, "exit_failed", logging.ERROR, symbol=wish.symbol, error_type=type(error).__name__)

    async def _attempt_one(self, wish: OpenExit, strategy: Strategy, reading: Reading, control: Control) -> Reading:
        parts = self._parts
        holding = self.holdings.get(wish.symbol)
        now = parts.clock.monotonic()
        pause = self._pauses.get(wish.id)
        if holding is None or holding.number != wish.holding_number or not self._may_attempt(wish, pause, now):
            return reading
        if reading.book is not None and wish.symbol not in reading.book.unreadable:
            if reading.book.closable(strategy.id, wish.symbol) == 0:
                await asyncio.to_thread(parts.exits.close_exit, wish.id, now_ns=parts.clock.now_ns())
                return reading
            await self._make_room(reading, holding)
            if exit_qty(reading.book, strategy.id, wish.symbol) <= 0:
                return reading
        context = self._context(wish, strategy, holding, reading, control)
        reasons = refusals(context)
        if reasons and ";".join(reasons) == wish.last_reasons:
            return reading
        key = exit_key(
            account_label=parts.settings.account_label,
            holding=holding.id,
            strategy=strategy.name,
            cause=wish.cause,
            attempt=wish.attempts + 1,
        )
        decision_id = await asyncio.to_thread(
            parts.decisions.record_exit,
            key,
            wish,
            side=holding.closing_side,
            qty=context.qty,
            identity=strategy.identity,
            now_ns=parts.clock.now_ns(),
        )
        parts.metrics.add("decisions_total")
        if reasons:
            await self._reject(decision_id, reasons)
            return reading
        return await self._submit(wish, key, decision_id, context, reading)

    def _may_attempt(self, wish: OpenExit, pause: _Pause | None, now: float) -> bool:
        if not wish.is_settled:
            return False
        if wish.last_status in ("filled", "canceled", "expired") and pause is None:
            self._pauses[wish.id] = _Pause(until=now + _SETTLING_SECONDS, failures=0)
            return False
        return pause is None or now >= pause.until

    async def _make_room(self, reading: Reading, holding: Holding) -> None:
        """Cancel this program's own orders that would add to what is to be closed."""

        reconciler = self._parts.reconciler
        for order in reading.orders:
            is_opening = order.symbol == holding.symbol and order.side != holding.closing_side
            if is_opening and reconciler is not None and is_own_client_id(order.client_order_id):
                await reconciler.cancel(order)

    def _context(
        self, wish: OpenExit, strategy: Strategy, holding: Holding, reading: Reading, control: Control
    ) -> GateContext:
        parts = self._parts
        now_ns = parts.clock.now_ns()
        qty = ZERO if reading.book is None else exit_qty(reading.book, strategy.id, wish.symbol)
        return GateContext(
            leg="exit",
            settings=parts.settings,
            control=control,
            strategy=strategy,
            symbol=wish.symbol,
            side=holding.closing_side,
            now_ns=now_ns,
            session=parts.calendar.session(now_ns),
            is_leader=parts.leadership.is_leader,
            is_account_confirmed=parts.state.is_account_confirmed,
            book=reading.book,
            unknown_symbols=reading.unknown_symbols,
            size=Size(qty=qty, reason=None, audit={}),
        )

    async def _submit(
        self, wish: OpenExit, key: str, decision_id: UUID, context: GateContext, reading: Reading
    ) -> Reading:

        parts = self._parts
        assert parts.execution is not None and reading.book is not None
        order = OrderRequest(client_order_id=key, symbol=wish.symbol, side=context.side, qty=context.qty)
        outcome = await parts.execution.submit(
            ClaimRequest(
                decision_id=decision_id,
                order=order,
                account_label=parts.settings.account_label,
                leg="exit",
                strategy_id=str(wish.strategy_id),
                price=None,
                reserved_notional=ZERO,
            )
        )
        now = parts.clock.monotonic()
        failures = self._pauses[wish.id].failures + 1 if wish.id in self._pauses and outcome == "rejected" else 1
        wait = min(_PAUSE_CAP_SECONDS, 2.0 ** min(failures, 10)) if outcome == "rejected" else _SETTLING_SECONDS
        self._pauses[wish.id] = _Pause(until=now + wait, failures=failures if outcome == "rejected" else 0)
        if outcome not in ("accepted", "unknown", "rejected", "already_claimed"):
            await self._reject(decision_id, (outcome,))
            return reading
        if outcome == "rejected":
            return reading
        self.sent()
        pending = PendingOrder(
            symbol=wish.symbol, side=context.side, qty=context.qty, price=None, strategy_id=str(wish.strategy_id)
        )
        return replace(reading, book=reading.book.with_order(pending))

    async def _reject(self, decision_id: UUID, reasons: tuple[str, ...]) -> None:

        parts = self._parts
        for reason in reasons:
            parts.metrics.add_labelled("decision_reject_reason_total", reason)
        refused = Refused(decision_id=decision_id, reasons=reasons, facts={})
        await asyncio.to_thread(parts.decisions.reject, [refused], now_ns=parts.clock.now_ns())
        event(_LOG, "exit_refused", logging.WARNING, reasons=";".join(reasons))


def close_ns(parts: Parts, now_ns: int) -> int | None:
    """Return when the regular session that is running ends, half days' own; None outside one, or when it never does."""
    if parts.calendar.is_always_open or parts.calendar.session(now_ns) is not Session.REGULAR:
        return None
    day = trading_day(new_york_date(now_ns))
    return None if day is None else day.regular_close_ns


def _traders(strategies: Iterable[Strategy], symbol: str) -> list[Strategy]:
    return [item for item in strategies if item.is_enabled and (not item.symbols or symbol in item.symbols)]
