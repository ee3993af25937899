"""From a planned decision to the broker or to its reasons not to: price, size, gates, review, gates again, submit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from torghut_core.clock import Clock
from torghut_core.errors import TorghutError
from torghut_core.logs import event
from torghut_core.market_calendar import MarketCalendar
from torghut_core.trading.decision.desk import Desk, reservation
from torghut_core.trading.decision.intents import Intent
from torghut_core.trading.decision.sizing import Size, size_intent
from torghut_core.trading.encoding import format_datetime
from torghut_core.trading.inputs.signals import PriceReader
from torghut_core.trading.leadership import ClaimRequest, Leadership
from torghut_core.trading.metrics import Metrics
from torghut_core.trading.model import Borrow, OrderRequest, Snapshot
from torghut_core.trading.orders.broker import Broker, BrokerUnavailableError
from torghut_core.trading.orders.execution import Execution
from torghut_core.trading.orders.reconcile import Reconciler
from torghut_core.trading.review.reviewer import Reviewer
from torghut_core.trading.risk import refusals
from torghut_core.trading.risk.context import GateContext
from torghut_core.trading.settings import TradingSettings, check_broker_account
from torghut_core.trading.status import RunState
from torghut_core.trading.store.database import at
from torghut_core.trading.store.decisions import DecisionStore
from torghut_core.trading.store.orders import OrderStore
from torghut_core.trading.store.reviews import ReviewStore

_LOG = logging.getLogger(__name__)
_NS_PER_MINUTE = 60_000_000_000


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What handling works with."""

    settings: TradingSettings
    clock: Clock
    calendar: MarketCalendar
    broker: Broker | None
    prices: PriceReader
    decisions: DecisionStore
    orders: OrderStore
    reviews: ReviewStore
    leadership: Leadership
    execution: Execution | None
    reconciler: Reconciler | None
    reviewer: Reviewer | None
    metrics: Metrics
    state: RunState


class Handler:
    """Deals with a batch of intents in order; the first thing each gets is its row."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._shadow_reviews: set[asyncio.Task[None]] = set()

    async def handle(self, intents: Iterable[Intent], universe: frozenset[str]) -> None:
        """Record every intent, then judge and submit those that are still planned.

        Raises EngineUnavailableError when a store fails: the batch is to be read again, and nothing is done twice.
        """
        parts = self._parts
        pending: list[tuple[Intent, UUID]] = []
        for intent in intents:
            row = await asyncio.to_thread(parts.decisions.record, intent, now_ns=parts.clock.now_ns())
            if row.is_new:
                parts.metrics.add("decisions_total")
            if row.status == "planned":
                pending.append((intent, row.id))
        if not pending:
            return
        desk = await self._open_desk({intent.symbol for intent, _ in pending})
        for intent, decision_id in pending:
            try:
                await self._decide(intent, decision_id, desk, universe)
            except TorghutError:
                raise
            except Exception as error:  # noqa: BLE001  one poisoned decision must not stop the others for ever
                parts.metrics.add("decision_errors_total")
                event(_LOG, "decision_failed", logging.ERROR, symbol=intent.symbol, error_type=type(error).__name__)
                await self._reject(decision_id, (f"decision_handler_error {type(error).__name__}",), {})

    async def drain(self) -> None:
        """Wait for shadow reviews that are still running."""
        await asyncio.gather(*self._shadow_reviews, return_exceptions=True)

    async def _open_desk(self, symbols: set[str]) -> Desk:
        parts = self._parts
        now_ns = parts.clock.now_ns()
        since_ns = now_ns - int(parts.settings.price_lookback_minutes * _NS_PER_MINUTE)
        snapshot = await self._read_snapshot()
        prices = await asyncio.to_thread(parts.prices.prices, sorted(symbols), since_ns=since_ns, until_ns=now_ns)
        return Desk(
            snapshot=snapshot,
            prices=prices,
            claims=await asyncio.to_thread(parts.orders.open_claims),
            executions=await asyncio.to_thread(parts.orders.open_executions),
        )

    async def _read_snapshot(self) -> Snapshot | None:
        parts = self._parts
        if parts.broker is None or parts.reconciler is None:
            return None
        try:
            await parts.reconciler.refresh_executions()
            snapshot = await parts.broker.snapshot()
        except BrokerUnavailableError as error:
            parts.state.failed("broker", error)
            return None
        parts.state.succeeded("broker")
        check_broker_account(parts.settings, snapshot.account.number)
        return snapshot

    async def _decide(self, intent: Intent, decision_id: UUID, desk: Desk, universe: frozenset[str]) -> None:
        if intent.side == "sell":
            await self._refresh_positions(desk)
        size = self._size(intent, desk)
        context = await self._context(intent, decision_id, desk, universe, size)
        facts = _facts(context)
        reasons = refusals(context)
        if not reasons and self._parts.reviewer is not None:
            size, vetoed = await self._review(context, decision_id)
            context = await self._context(intent, decision_id, desk, universe, size)
            facts = _facts(context)
            reasons = vetoed or refusals(context)
        if reasons:
            await self._reject(decision_id, reasons, facts)
            return
        await self._submit(context, decision_id, desk, facts)

    async def _submit(self, context: GateContext, decision_id: UUID, desk: Desk, facts: dict[str, Any]) -> None:
        parts, intent = self._parts, context.intent
        assert parts.execution is not None and context.price is not None and context.book is not None
        reserved = reservation(intent.side, context.qty, context.price, context.book.position_qty)
        await asyncio.to_thread(parts.decisions.annotate, decision_id, facts, now_ns=parts.clock.now_ns())
        request = ClaimRequest(
            decision_id=decision_id,
            order=OrderRequest(client_order_id=intent.key, symbol=intent.symbol, side=intent.side, qty=context.qty),
            account_label=intent.account_label,
            reserved_notional=reserved.quantize(Decimal("0.00000001")),
        )
        outcome = await parts.execution.submit(request)
        if outcome == "not_leader":
            await self._reject(decision_id, ("not_leader",), facts)
        elif outcome in ("accepted", "unknown"):
            desk.accept(intent, context.qty, reserved)

    async def _refresh_positions(self, desk: Desk) -> None:
        if self._parts.broker is None:
            return
        try:
            desk.replace_positions(await self._parts.broker.positions())
        except BrokerUnavailableError as error:
            self._parts.state.failed("broker", error)
            desk.snapshot = None

    async def _read_last_order(self, intent: Intent, decision_id: UUID) -> int | None:
        if self._parts.settings.cooldown_seconds <= 0:
            return None
        return await asyncio.to_thread(
            self._parts.decisions.last_order_ns, intent.strategy.id, intent.symbol, but=decision_id
        )

    async def _read_borrow(self, intent: Intent) -> Borrow | None:
        """Ask whether the symbol can be borrowed, where a sell may open a short position."""
        parts = self._parts
        if intent.side != "sell" or not parts.settings.allow_shorts or parts.broker is None:
            return None
        try:
            return await parts.broker.borrow(intent.symbol)
        except BrokerUnavailableError as error:
            parts.state.failed("broker", error)
            return None

    def _size(self, intent: Intent, desk: Desk) -> Size | None:
        price, book = desk.prices.get(intent.symbol), desk.book(intent.symbol)
        if price is None or book is None:
            return None
        volatility = intent.signal.volatility
        return size_intent(
            side=intent.side,
            symbol=intent.symbol,
            price=price,
            strategy=intent.strategy,
            book=book,
            settings=self._parts.settings,
            volatility=None if volatility is None else Decimal(str(volatility)),
        )

    async def _context(
        self, intent: Intent, decision_id: UUID, desk: Desk, universe: frozenset[str], size: Size | None
    ) -> GateContext:
        parts = self._parts
        now_ns = parts.clock.now_ns()
        return GateContext(
            settings=parts.settings,
            intent=intent,
            now_ns=now_ns,
            session=parts.calendar.session(now_ns),
            is_leader=parts.leadership.is_leader,
            is_account_confirmed=parts.state.is_account_confirmed,
            universe=universe,
            price=desk.prices.get(intent.symbol),
            account=None if desk.snapshot is None else desk.snapshot.account,
            book=desk.book(intent.symbol),
            size=size,
            reserved=desk.reserved,
            busy_symbols=frozenset(desk.busy),
            borrow=await self._read_borrow(intent),
            last_order_ns=await self._read_last_order(intent, decision_id),
        )

    async def _review(self, context: GateContext, decision_id: UUID) -> tuple[Size | None, tuple[str, ...]]:
        """Return the size that may go on, and the reasons of a veto."""
        request = _review_request(context)
        if self._parts.settings.llm_shadow_mode:
            task = asyncio.create_task(self._record_review(request, context, decision_id))
            self._shadow_reviews.add(task)
            task.add_done_callback(self._shadow_reviews.discard)
            return context.size, ()
        qty, reason = await self._ask(request, context, decision_id)
        if reason is not None or context.size is None:
            return context.size, (reason or "qty_below_min",)
        return replace(context.size, qty=qty, audit={**context.size.audit, "reviewed_qty": qty}), ()

    async def _record_review(self, request: dict[str, Any], context: GateContext, decision_id: UUID) -> None:
        try:
            await self._ask(request, context, decision_id)
        except TorghutError as error:
            event(_LOG, "shadow_review_not_stored", logging.WARNING, error=str(error))

    async def _ask(self, request: dict[str, Any], context: GateContext, decision_id: UUID) -> tuple[int, str | None]:
        parts = self._parts
        assert parts.reviewer is not None
        review = await parts.reviewer.review(request, qty=context.qty)
        await asyncio.to_thread(
            parts.reviews.record,
            decision_id,
            review,
            request=request,
            model=parts.settings.llm_model,
            prompt_version=parts.settings.llm_prompt_version,
            now_ns=parts.clock.now_ns(),
        )
        return review.qty, review.reason

    async def _reject(self, decision_id: UUID, reasons: tuple[str, ...], facts: dict[str, Any]) -> None:
        parts = self._parts
        for reason in reasons:
            parts.metrics.add_labelled("decision_reject_reason_total", reason)
        await asyncio.to_thread(parts.decisions.reject, decision_id, reasons, now_ns=parts.clock.now_ns(), facts=facts)
        event(_LOG, "decision_rejected", reasons=";".join(reasons))


def _facts(context: GateContext) -> dict[str, Any]:
    return {
        "qty": str(context.qty),
        "price": None if context.price is None else str(context.price),
        "sizing": None if context.size is None else context.size.audit,
    }


def _review_request(context: GateContext) -> dict[str, Any]:
    """Return what a provider is shown: of the account three figures, and never a number or key of it."""
    intent, account, settings = context.intent, context.account, context.settings
    return {
        "decision": {
            "strategy": intent.strategy.name,
            "symbol": intent.symbol,
            "action": intent.side,
            "qty": str(context.qty),
            "order_type": "market",
            "time_in_force": "day",
            "event_ts": format_datetime(at(intent.signal.event_ns)),
            "timeframe": intent.signal.timeframe,
            "rationale": intent.rationale,
        },
        "account": None
        if account is None
        else {
            "equity": str(account.equity),
            "cash": str(account.cash),
            "buying_power": str(account.buying_power),
        },
        "market": {"symbol": intent.symbol, "price": str(context.price)},
        "position": None if context.book is None else str(context.book.position_qty),
        "policy": {
            "adjustment_allowed": settings.llm_adjustment_allowed,
            "min_qty_multiplier": settings.llm_min_qty_multiplier,
            "max_qty_multiplier": min(1.0, settings.llm_max_qty_multiplier),
        },
        "trading_mode": settings.mode,
        "prompt_version": settings.llm_prompt_version,
    }
