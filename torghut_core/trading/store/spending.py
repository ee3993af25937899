"""What the AI review spent, by New York day."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from torghut_core.trading.review.spending import Spent
from torghut_core.trading.store.database import Database


class SpendingStore:
    """Keeps the sum of each day."""

    def __init__(self, database: Database, *, account_label: str) -> None:
        self._database = database
        self._account_label = account_label

    def add(self, more: Spent, *, tokens: int | None, dollars: Decimal | None) -> Spent | None:
        """Add to the day's sum and return it, None where it would pass one of the limits. Raises EngineUnavailableError."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO llm_spending (alpaca_account_label, day) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (self._account_label, more.day),
            )
            row = connection.execute(
                "UPDATE llm_spending SET requests = requests + %(requests)s, tokens_prompt = tokens_prompt + %(prompt)s,"
                " tokens_completion = tokens_completion + %(completion)s, dollars = dollars + %(dollars)s"
                " WHERE alpaca_account_label = %(account)s AND day = %(day)s AND (%(most_tokens)s::bigint IS NULL"
                " OR tokens_prompt + tokens_completion + %(prompt)s + %(completion)s <= %(most_tokens)s::bigint)"
                " AND (%(most_dollars)s::numeric IS NULL OR dollars + %(dollars)s <= %(most_dollars)s::numeric)"
                " RETURNING requests, tokens_prompt, tokens_completion, dollars",
                {
                    "account": self._account_label,
                    "day": more.day,
                    "requests": more.requests,
                    "prompt": more.tokens_prompt,
                    "completion": more.tokens_completion,
                    "dollars": more.dollars,
                    "most_tokens": tokens,
                    "most_dollars": dollars,
                },
            ).fetchone()
        return None if row is None else replace(more, **row)
