"""What the AI review may spend in a New York day: tokens, and dollars by the prices that are set.

What a request may cost at most is taken from the day's budget before it is sent, and what it did cost is put right after.
So a crash forgets nothing, and reviews that are asked for at once do not pass the budget together.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any, Protocol

from torghut_core.clock import Clock
from torghut_core.errors import TorghutError, UpstreamError
from torghut_core.logs import event
from torghut_core.market_calendar import new_york_date
from torghut_core.trading.settings import TradingSettings

_LOG = logging.getLogger(__name__)
_MILLION = Decimal(1_000_000)
_BYTES_A_TOKEN = 3
"""Fewer than models' own vocabularies have on average for English: what is taken is rather too much."""


class BudgetError(UpstreamError):
    """The day's budget does not allow a review, or cannot be read; `reason` is stable."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"AI review not asked for: {reason}")
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What reviews cost on a day, what is taken for those under way included."""

    day: date
    requests: int = 0
    tokens_prompt: int = 0
    tokens_completion: int = 0
    dollars: Decimal = Decimal(0)

    @property
    def tokens(self) -> int:
        return self.tokens_prompt + self.tokens_completion


class Store(Protocol):
    """Where the day's sum is kept."""

    def add(self, more: Spent, *, tokens: int | None, dollars: Decimal | None) -> Spent | None:
        """Add to the day's sum and return it, None where it would pass one of the limits. Blocks."""
        ...


class Spending:
    """Takes and gives back; `spent` is the sum as last read."""

    def __init__(self, store: Store, settings: TradingSettings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self.spent: Spent | None = None

    async def reserve(self, sent_bytes: int) -> Spent:
        """Take what a request of so many bytes may cost. Raises BudgetError."""
        settings = self._settings
        prompt, completion = -(-sent_bytes // _BYTES_A_TOKEN), settings.llm_max_tokens
        most = Spent(
            day=new_york_date(self._clock.now_ns()),
            requests=1,
            tokens_prompt=prompt,
            tokens_completion=completion,
            dollars=self._price(prompt, completion),
        )
        try:
            spent = await asyncio.to_thread(
                self._store.add, most, tokens=settings.llm_daily_token_budget, dollars=settings.llm_daily_cost_budget
            )
        except TorghutError as error:
            if settings.llm_daily_token_budget is None and settings.llm_daily_cost_budget is None:
                return replace(most, requests=0, tokens_prompt=0, tokens_completion=0, dollars=Decimal(0))
            raise BudgetError("llm_budget_unreadable") from error
        if spent is None:
            raise BudgetError("llm_budget_exceeded")
        self.spent = spent
        return most

    async def settle(self, taken: Spent, tokens_prompt: int | None, tokens_completion: int | None) -> None:
        """Put right what was taken, where the provider said what it used; else it stays."""
        if tokens_prompt is None or tokens_completion is None:
            return
        dollars = self._price(tokens_prompt, tokens_completion)
        await self._give_back(
            replace(
                taken,
                requests=0,
                tokens_prompt=tokens_prompt - taken.tokens_prompt,
                tokens_completion=tokens_completion - taken.tokens_completion,
                dollars=dollars - taken.dollars,
            )
        )

    async def release(self, taken: Spent) -> None:
        """Give back all of it: nothing was asked."""
        await self._give_back(
            replace(
                taken,
                requests=-taken.requests,
                tokens_prompt=-taken.tokens_prompt,
                tokens_completion=-taken.tokens_completion,
                dollars=-taken.dollars,
            )
        )

    async def _give_back(self, change: Spent) -> None:
        try:
            self.spent = await asyncio.to_thread(self._store.add, change, tokens=None, dollars=None)
        except TorghutError as error:
            # What was taken stays taken: the budget errs on the side of the purse.
            event(_LOG, "llm_spending_not_stored", logging.ERROR, error=str(error))

    def _price(self, tokens_prompt: int, tokens_completion: int) -> Decimal:
        prompt = self._settings.llm_price_prompt or Decimal(0)
        completion = self._settings.llm_price_completion or Decimal(0)
        return round((tokens_prompt * prompt + tokens_completion * completion) / _MILLION, 8)

    def as_json(self) -> dict[str, Any]:
        """Return the status payload `llm.spending`; figures are None before the first review of this process."""
        spent, settings = self.spent, self._settings
        return {
            "day": None if spent is None else spent.day.isoformat(),
            "requests": None if spent is None else spent.requests,
            "tokens": None if spent is None else spent.tokens,
            "dollars": None if spent is None else spent.dollars,
            "token_budget": settings.llm_daily_token_budget,
            "cost_budget": settings.llm_daily_cost_budget,
        }
