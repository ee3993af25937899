"""From intents to the broker or to the reasons not to: exits go their own way; entries are sized, gated, reviewed, sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from torghut_core.errors import TorghutError
from torghut_core.logs import event
from torghut_core.trading.books import Reading, read_book
from torghut_core.trading.closing import Closer, close_ns
from torghut_core.trading.decision.book import PRICE_SLACK, PendingOrder
from torghut_core.trading.decision.exits import is_flattening
from torghut_core.trading.decision.intents import Intent
from torghut_core.trading.decision.quote import quote_of
from torghut_core.trading.decision.sizing import Size, size_entry
from torghut_core.trading.decision.terms import Terms, entry_terms
from torghut_core.trading.leadership import ClaimRequest
from torghut_core.trading.model import Asset, OrderRequest, Signal, Strategy
from torghut_core.trading.orders.broker import BrokerUnavailableError
from torghut_core.trading.parts import Parts
from torghut_core.trading.review.reviewer import Review
from torghut_core.trading.reviewing import Reviewed, Reviews
from torghut_core.trading.risk import refusals
from torghut_core.trading.risk.context import Control, GateContext
from torghut_core.trading.store.database import DatabaseError
from torghut_core.trading.store.decisions import Refused

_LOG = logging.getLogger(__name__)
_SENT = ("accepted", "unknown")
_CENTS = Decimal("0.00000001")


@dataclass
class _Batch:
    """One batch of entries, and the world it is judged in, moved on by each order."""

    reading: Reading
    control: Control
    universe: frozenset[str]
    assets: dict[str, Asset | None] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)


class Handler:
    """Deals with a batch of intents in order; the first thing each entry gets is its row."""

    def __init__(self, parts: Parts, closer: Closer) -> None:
        self._parts = parts
        self._closer = closer
        self._reviews = Reviews(parts, on_answered=self.take_reviews)
        self.turn = asyncio.Lock()
        """Held by whoever judges and orders: a book is judged by one at a time. Nobody waits for a review with it."""

    async def handle(
        self,
        signals: Sequence[Signal],
        intents: Sequence[Intent],
        strategies: Sequence[Strategy],
        universe: frozenset[str],
        control: Control,
    ) -> None:
        """Let the rows touch stops, turn what is against a holding into exits, and judge the rest as entries.

        Raises EngineUnavailableError when a store fails: the batch is to be read again, and nothing is done twice.
        """
        async with self.turn:
            await self._handle(signals, intents, strategies, universe, control)

    async def _handle(
        self,
        signals: Sequence[Signal],
        intents: Sequence[Intent],
        strategies: Sequence[Strategy],
        universe: frozenset[str],
        control: Control,
    ) -> None:
        closer = self._closer
        if intents:
            reading = await closer.read({intent.symbol for intent in intents})
            reading = await closer.update(reading)
            if reading.book is not None:
                await closer.watch(signals, strategies, reading.book)
            entries = await closer.take_signals(intents, reading.book)
            # What was to close a holding that is gone by now opens nothing.
            entries = [intent for intent in entries if not intent.is_closing]
            await self._enter(entries, _Batch(reading=reading, control=control, universe=universe))
        elif closer.book is not None and any(signal.symbol in closer.holdings for signal in signals):
            # Prices alone ask the broker nothing: a second's rows come every second.
            await closer.watch(signals, strategies, closer.book)
        await closer.look(strategies, control)

    async def _enter(self, intents: Sequence[Intent], batch: _Batch) -> None:
        parts = self._parts
        rows = await asyncio.to_thread(parts.decisions.record, intents, now_ns=parts.clock.now_ns())
        parts.metrics.add("decisions_total", sum(row.is_new for row in rows.values()))
        parts.metrics.add("decisions_not_stored_total", len({intent.key for intent in intents} - set(rows)))
        done: set[str] = set()
        try:
            for intent in intents:
                if parts.state.is_ending:
                    break  # their rows stay planned, for whoever trades next or to end by age
                row = rows.get(intent.key)
                if row is None or row.status != "planned" or intent.key in done or self._reviews.is_waiting(row.id):
                    continue
                done.add(intent.key)
                await self._decide_alone(intent, row.id, batch)
        finally:
            await self._flush(batch)

    async def _decide_alone(self, intent: Intent, decision_id: UUID, batch: _Batch) -> None:
        try:
            await self._decide(intent, decision_id, batch)
        except DatabaseError as error:
            self._poisoned(decision_id, intent, error, batch)
        except TorghutError:
            raise
        except Exception as error:  # noqa: BLE001  one poisoned decision must not stop the others for ever
            self._poisoned(decision_id, intent, error, batch)

    def _poisoned(self, decision_id: UUID, intent: Intent, error: Exception, batch: _Batch) -> None:
        self._parts.metrics.add("decision_errors_total")
        event(_LOG, "decision_failed", logging.ERROR, symbol=intent.symbol, error_type=type(error).__name__)
        self._refuse(batch, decision_id, (f"decision_handler_error {type(error).__name__}",), {})

    async def drain(self) -> None:
        """End reviews that are still waited for; entries that wait for one end by age, unsent."""
        await self._reviews.drain()

    async def _decide(self, intent: Intent, decision_id: UUID, batch: _Batch) -> None:
        context = await self._context(intent, decision_id, batch)
        reasons = refusals(context)
        if reasons:
            self._refuse(batch, decision_id, reasons, _facts(context))
        elif self._parts.reviewer is None:
            await self._submit(context, intent, decision_id, batch)
        elif self._parts.settings.llm_shadow_mode:
            self._reviews.watch(context, intent, decision_id)
            await self._submit(context, intent, decision_id, batch)
        else:
            self._reviews.ask(context, intent, decision_id)

    async def take_reviews(self) -> None:
        """Judge again, over the book as it is now, the entries whose reviews were answered, and send what may go.

        Raises EngineUnavailableError; what was not sent ends by age.
        """
        async with self.turn:
            answered = self._reviews.take()
            if not answered:
                return
            parts = self._parts
            control = await asyncio.to_thread(parts.control.read)
            reading = await read_book(parts, {item.intent.symbol for item in answered})
            batch = _Batch(reading=reading, control=control, universe=frozenset())
            try:
                for item in answered:
                    if parts.state.is_ending:
                        break  # it stays planned, and ends by age
                    batch.universe = item.universe
                    await self._judge_reviewed(item, batch)
            finally:
                await self._flush(batch)

    async def _judge_reviewed(self, item: Reviewed, batch: _Batch) -> None:
        try:
            context = await self._context(item.intent, item.decision_id, batch)
            context = replace(context, size=_reviewed_size(context.size, item.review))
            reasons = refusals(context) if item.review.reason is None else (item.review.reason,)
            if reasons:
                self._refuse(batch, item.decision_id, reasons, _facts(context))
            else:
                await self._submit(context, item.intent, item.decision_id, batch)
        except DatabaseError as error:
            self._poisoned(item.decision_id, item.intent, error, batch)

    async def _context(self, intent: Intent, decision_id: UUID, batch: _Batch) -> GateContext:
        parts, settings = self._parts, self._parts.settings
        now_ns = parts.clock.now_ns()
        quote, terms, reading = quote_of(intent.signal), Terms(), batch.reading
        price = quote.price(intent.side)
        if price is not None:
            terms = entry_terms(intent.strategy, intent.side, price, limit=intent.limit)
            price = max(each for each in (price, terms.limit_price, terms.stop_price) if each is not None)
            if reading.book is not None:
                prices = {**reading.book.prices, intent.symbol: price}
                reading = replace(reading, book=replace(reading.book, prices=prices))
        asset = await self._asset(intent, batch)
        return GateContext(
            leg="entry",
            settings=settings,
            control=batch.control,
            strategy=intent.strategy,
            symbol=intent.symbol,
            side=intent.side,
            now_ns=now_ns,
            session=parts.calendar.session(now_ns),
            is_leader=parts.leadership.is_leader,
            is_account_confirmed=parts.state.is_account_confirmed,
            book=reading.book,
            unknown_symbols=reading.unknown_symbols,
            signal=intent.signal,
            quote=quote,
            terms=terms,
            size=self._size(intent, price, reading, is_fractional=self._is_fractional(intent, asset)),
            universe=batch.universe,
            asset=asset,
            last_order_ns=await self._last_order(intent, decision_id),
            emergency_reasons=parts.emergency.reasons if settings.emergency_stop_enabled else (),
            is_flattening=is_flattening(now_ns, close_ns(parts, now_ns), settings.flatten_minutes),
        )

    def _size(self, intent: Intent, price: Decimal | None, reading: Reading, *, is_fractional: bool) -> Size | None:
        if price is None or reading.book is None:
            return None
        volatility = intent.signal.volatility
        return size_entry(
            side=intent.side,
            symbol=intent.symbol,
            price=price,
            strategy=intent.strategy,
            book=reading.book,
            settings=self._parts.settings,
            volatility=None if volatility is None else Decimal(str(volatility)),
            is_fractional=is_fractional,
            qty=intent.qty,
            budget=intent.budget,
        )

    def _is_fractional(self, intent: Intent, asset: Asset | None) -> bool:
        """Tell whether parts of a share may be bought: never sold short, and only at the market or a limit."""
        is_wanted = self._parts.settings.fractional_enabled and intent.side == "buy"
        return is_wanted and asset is not None and asset.is_fractionable

    async def _asset(self, intent: Intent, batch: _Batch) -> Asset | None:
        """Ask what the symbol may be traded as, once a batch, where it matters."""
        parts = self._parts
        is_asked = (intent.side == "sell" and parts.settings.allow_shorts) or parts.settings.fractional_enabled
        if not is_asked or parts.broker is None:
            return None
        if intent.symbol not in batch.assets:
            try:
                batch.assets[intent.symbol] = await parts.broker.asset(intent.symbol)
            except BrokerUnavailableError as error:
                parts.state.failed("broker", error)
                batch.assets[intent.symbol] = None
        return batch.assets[intent.symbol]

    async def _last_order(self, intent: Intent, decision_id: UUID) -> int | None:
        if self._parts.settings.cooldown_seconds <= 0:
            return None
        return await asyncio.to_thread(
            self._parts.decisions.last_order_ns, intent.strategy.id, intent.symbol, but=decision_id
        )

    async def _submit(self, context: GateContext, intent: Intent, decision_id: UUID, batch: _Batch) -> None:
        parts = self._parts
        assert parts.execution is not None and context.price is not None and batch.reading.book is not None
        facts = _facts(context)
        await asyncio.to_thread(parts.decisions.annotate, decision_id, facts, now_ns=parts.clock.now_ns())
        terms = context.terms
        order = OrderRequest(
            client_order_id=intent.key,
            symbol=intent.symbol,
            side=intent.side,
            qty=context.qty,
            type=terms.type,
            limit_price=terms.limit_price,
            stop_price=terms.stop_price,
        )
        reserved = (context.qty * context.price * (1 + PRICE_SLACK)).quantize(_CENTS)
        outcome = await parts.execution.submit(
            ClaimRequest(
                decision_id=decision_id,
                order=order,
                account_label=intent.account_label,
                leg="entry",
                strategy_id=intent.strategy.id,
                price=context.price.quantize(_CENTS),
                reserved_notional=reserved,
            )
        )
        if outcome in _SENT:
            self._closer.sent()
            pending = PendingOrder(
                symbol=intent.symbol,
                side=intent.side,
                qty=context.qty,
                price=context.price,
                strategy_id=intent.strategy.id,
                is_in_account=False,
                is_unknown=outcome == "unknown",
            )
            batch.reading = replace(batch.reading, book=batch.reading.book.with_order(pending))
        elif outcome not in ("rejected", "already_claimed"):
            self._refuse(batch, decision_id, (outcome,), facts)

    def _refuse(self, batch: _Batch, decision_id: UUID, reasons: tuple[str, ...], facts: dict[str, Any]) -> None:
        for reason in reasons:
            self._parts.metrics.add_labelled("decision_reject_reason_total", reason)
        batch.refused.append(Refused(decision_id=decision_id, reasons=reasons, facts=facts))

    async def _flush(self, batch: _Batch) -> None:
        """Store the refusals of the batch, all at once."""
        refused, batch.refused = batch.refused, []
        await asyncio.to_thread(self._parts.decisions.reject, refused, now_ns=self._parts.clock.now_ns())
        if refused:
            event(_LOG, "decisions_rejected", count=len(refused), reasons=";".join(refused[-1].reasons))


def _reviewed_size(size: Size | None, review: Review) -> Size | None:
    """Return the smaller of what may be bought now and what the review let pass."""
    if size is None:
        return None
    audit = {**size.audit, "reviewed_qty": str(review.qty)}
    return replace(size, qty=min(size.qty, review.qty), audit=audit)


def _facts(context: GateContext) -> dict[str, Any]:
    return {
        "qty": str(context.qty),
        "price": None if context.price is None else str(context.price),
        "limit_price": None if context.terms.limit_price is None else str(context.terms.limit_price),
        "stop_price": None if context.terms.stop_price is None else str(context.terms.stop_price),
        "sizing": None if context.size is None else context.size.audit,
    }
