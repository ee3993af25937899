"""AI reviews beside the loop: some at a time, none of them on the way of exits or of other symbols.

An entry that passed every gate is handed over here and the loop goes on. What was answered comes back through `take`,
and is judged again then, over the book as it is by that time: a review may have taken its time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from torghut_core.logs import event
from torghut_core.trading.decision.intents import Intent
from torghut_core.trading.parts import Parts
from torghut_core.trading.review.inputs import request_of
from torghut_core.trading.review.reviewer import Review
from torghut_core.trading.risk.context import GateContext
from torghut_core.trading.store.database import DatabaseError

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Reviewed:
    """An entry and what its review came to; `number` is its place in the order of asking."""

    number: int
    intent: Intent
    decision_id: UUID
    universe: frozenset[str]
    review: Review


class Reviews:
    """Asks for reviews, at most `LLM_MAX_CONCURRENT_REVIEWS` at a time, and knows which entries wait for one."""

    def __init__(self, parts: Parts, *, on_answered: Callable[[], Awaitable[None]]) -> None:
        self._parts = parts
        self._on_answered = on_answered
        self._places = asyncio.Semaphore(parts.settings.llm_max_concurrent_reviews)
        self._waiting: dict[UUID, asyncio.Task[None]] = {}
        self._shadows: set[asyncio.Task[None]] = set()
        self._answered: list[Reviewed] = []
        self._dealt_with: set[UUID] = set()
        """Entries that were answered: an order may be on its way, so they are not ended from outside any more."""
        self._count = 0

    def is_waiting(self, decision_id: UUID) -> bool:
        """Tell whether an entry's review is asked for and not dealt with yet: it is not asked for twice."""
        return decision_id in self._waiting

    def ask(self, context: GateContext, intent: Intent, decision_id: UUID) -> None:
        """Ask for the review of an entry; `on_answered` is called once its answer can be taken."""
        self._count += 1
        work = self._review(self._count, context, intent, decision_id)
        self._waiting[decision_id] = asyncio.create_task(work, name=f"review:{intent.symbol}")

    def watch(self, context: GateContext, intent: Intent, decision_id: UUID) -> None:
        """Ask for a review that changes nothing and nobody waits for."""
        task = asyncio.create_task(self._shadow(context, intent, decision_id))
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    def take(self) -> list[Reviewed]:
        """Return what was answered since, in the order of asking."""
        taken, self._answered = self._answered, []
        return sorted(taken, key=lambda item: item.number)

    async def drain(self) -> None:
        """End what still waits for an answer, and let end what deals with one, or only watches."""
        for decision_id, task in self._waiting.items():
            if decision_id not in self._dealt_with:
                task.cancel()
        await asyncio.gather(*self._waiting.values(), *self._shadows, return_exceptions=True)

    async def _review(self, number: int, context: GateContext, intent: Intent, decision_id: UUID) -> None:
        try:
            async with self._places:
                review = await self._ask(context, intent, decision_id)
            self._dealt_with.add(decision_id)
            self._answered.append(
                Reviewed(
                    number=number, intent=intent, decision_id=decision_id, universe=context.universe, review=review
                )
            )
            await self._on_answered()
        except Exception as error:  # noqa: BLE001  the entry stays planned, and ends by age like any that was not sent
            self._parts.metrics.add("decision_errors_total")
            event(_LOG, "review_failed", logging.ERROR, symbol=intent.symbol, error_type=type(error).__name__)
        finally:
            self._waiting.pop(decision_id, None)
            self._dealt_with.discard(decision_id)

    async def _shadow(self, context: GateContext, intent: Intent, decision_id: UUID) -> None:
        try:
            async with self._places:
                await self._ask(context, intent, decision_id)
        except Exception as error:  # noqa: BLE001  what only watches ends nothing
            event(_LOG, "shadow_review_failed", logging.WARNING, error_type=type(error).__name__)

    async def _ask(self, context: GateContext, intent: Intent, decision_id: UUID) -> Review:
        """Ask, and put on record what was answered. A record that cannot be stored changes no decision."""
        parts = self._parts
        assert parts.reviewer is not None
        request = request_of(context, intent)
        is_fractional = context.qty != context.qty.to_integral_value()
        review = await parts.reviewer.review(request, qty=context.qty, is_fractional=is_fractional)
        try:
            await asyncio.to_thread(
                parts.reviews.record,
                decision_id,
                review,
                request=request,
                model=parts.settings.llm_model,
                prompt_version=parts.settings.llm_prompt_version,
                now_ns=parts.clock.now_ns(),
            )
        except DatabaseError as error:
            parts.metrics.add("llm_reviews_not_stored_total")
            event(_LOG, "review_not_stored", logging.ERROR, error=str(error))
        return review
