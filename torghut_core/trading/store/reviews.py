"""The record of every AI review, shadow ones marked as such."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from torghut_core.trading.review.reviewer import Review
from torghut_core.trading.store.database import Database, at, jsonb


class ReviewStore:
    """Writes reviews; each write is a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        decision_id: UUID,
        review: Review,
        *,
        request: dict[str, Any],
        model: str,
        prompt_version: str,
        now_ns: int,
    ) -> None:
        """Store what was asked, what was answered and what it came to."""
        verdict = review.verdict
        response = {"error": review.error, "reason": review.reason, "qty": review.qty}
        with self._database.statement() as connection:
            connection.execute(
                "INSERT INTO llm_decision_reviews (trade_decision_id, model, prompt_version, input_json, response_json,"
                " verdict, effective_verdict, is_shadow, confidence, adjusted_qty, rationale, risk_flags, tokens_prompt,"
                " tokens_completion, created_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    decision_id,
                    model if verdict is None else verdict.model,
                    prompt_version,
                    jsonb(request),
                    jsonb(response),
                    "error" if verdict is None else verdict.verdict,
                    review.effective_verdict,
                    review.is_shadow,
                    None if verdict is None else verdict.confidence,
                    None if verdict is None else verdict.adjusted_qty,
                    None if verdict is None else verdict.rationale,
                    None if verdict is None else jsonb(list(verdict.risk_flags)),
                    None if verdict is None else verdict.tokens_prompt,
                    None if verdict is None else verdict.tokens_completion,
                    at(now_ns),
                ),
            )
