"""Recorded AI reviews judged by what the market did afterwards. Pure.

A review's outcome is the move from its quote's middle to the price one horizon later, in the direction of the order, in
hundredths of a percent: above zero the entry would have gained. A reviewer is of use where the entries that it let pass
did better than those that it vetoed. Fees and spread are in neither; a mean stands beside its standard error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torghut_core.trading.model import Side

_BPS = 10_000.0
MIN_JUDGED = 30
MAX_ERROR_SHARE = 0.05
PRICED_WITHIN_NS = 300_000_000_000
"""A price later than this after the horizon is none of it."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One review as it was stored; `price` is the middle of the quote it was shown, None without one."""

    symbol: str
    side: Side
    size: str
    """The window size of the signals it was about, as `PT1S`."""
    at_ns: int
    verdict: str
    is_shadow: bool
    model: str
    prompt_version: str
    price: float | None
    tokens_prompt: int | None = None
    tokens_completion: int | None = None


PriceAfter = Callable[[str, str, int, int], float | None]
"""(symbol, window size, from, until: nanoseconds) → the first close in there, None when there is none."""


def evaluate(reviews: Sequence[Recorded], price_after: PriceAfter, *, horizon_ns: int) -> dict[str, Any]:
    """Return counts, outcomes by verdict and costs by model, as JSON's own types."""
    moves: dict[str, list[float]] = {}
    counts: dict[str, int] = {}
    for review in reviews:
        counts[review.verdict] = counts.get(review.verdict, 0) + 1
        move = _move(review, price_after, horizon_ns)
        if move is not None:
            moves.setdefault(review.verdict, []).append(move)
    passed = [*moves.get("approve", ()), *moves.get("adjust", ())]
    vetoed = moves.get("veto", [])
    errors = counts.get("error", 0)
    return {
        "reviews": len(reviews),
        "shadow": sum(review.is_shadow for review in reviews),
        "judged": len(passed) + len(vetoed),
        "verdicts": [_outcome(name, counts[name], moves.get(name, [])) for name in sorted(counts)],
        "passedMeanBps": _mean(passed),
        "vetoedMeanBps": _mean(vetoed),
        "advantageBps": None if not passed or not vetoed else round(_exact(passed) - _exact(vetoed), 4),
        "errorShare": None if not reviews else round(errors / len(reviews), 6),
        "models": _models(reviews),
    }


def _move(review: Recorded, price_after: PriceAfter, horizon_ns: int) -> float | None:
    if review.price is None or review.price <= 0:
        return None
    then_ns = review.at_ns + horizon_ns
    price = price_after(review.symbol, review.size, then_ns, then_ns + PRICED_WITHIN_NS)
    if price is None or price <= 0 or not math.isfinite(price):
        return None
    sign = 1.0 if review.side == "buy" else -1.0
    return sign * (price / review.price - 1.0) * _BPS


def _outcome(verdict: str, count: int, moves: Sequence[float]) -> dict[str, Any]:
    return {
        "verdict": verdict,
        "count": count,
        "judged": len(moves),
        "meanBps": _mean(moves),
        "standardErrorBps": _standard_error(moves),
        "favourableShare": None if not moves else round(sum(move > 0 for move in moves) / len(moves), 6),
    }


def _exact(moves: Sequence[float]) -> float:
    return math.fsum(moves) / len(moves)


def _mean(moves: Sequence[float]) -> float | None:
    return round(_exact(moves), 4) if moves else None


def _standard_error(moves: Sequence[float]) -> float | None:
    if len(moves) < 2:
        return None
    mean = _exact(moves)
    variance = math.fsum((move - mean) ** 2 for move in moves) / (len(moves) - 1)
    return round(math.sqrt(variance / len(moves)), 4)


def _models(reviews: Iterable[Recorded]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for review in reviews:
        row = found.setdefault(
            (review.model, review.prompt_version),
            {
                "model": review.model,
                "promptVersion": review.prompt_version,
                "count": 0,
                "errors": 0,
                "tokensPrompt": 0,
                "tokensCompletion": 0,
            },
        )
        row["count"] += 1
        row["errors"] += review.verdict == "error"
        row["tokensPrompt"] += review.tokens_prompt or 0
        row["tokensCompletion"] += review.tokens_completion or 0
    return [found[key] for key in sorted(found)]


def refusals(document: Any, *, since: str, until: str) -> tuple[str, ...]:
    """Return why an evaluation (`torghut.llm-evaluation/v1`) is no evidence for a stage; empty when it is.

    `since` and `until` are the promotion's window, RFC 3339 in UTC, in which the evaluated reviews must end.
    """
    if document is None:
        return ("llm_evaluation_report_missing",)
    try:
        is_known = document["schemaVersion"] == "torghut.llm-evaluation/v1"
        judged, errors, advantage = document["judged"], document["errorShare"], document["advantageBps"]
        ended = document["window"]["until"]
    except (TypeError, KeyError, IndexError):
        return ("llm_evaluation_report_invalid",)
    is_number = all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        for value in (judged, 0 if errors is None else errors, 0 if advantage is None else advantage)
    )
    if not is_known or not is_number or not isinstance(ended, str):
        return ("llm_evaluation_report_invalid",)
    found: list[str] = []
    if not since <= ended <= until:
        found.append("llm_evaluation_outside_window")
    if judged < MIN_JUDGED:
        found.append("llm_evaluation_count_below_minimum")
    if errors is None or errors > MAX_ERROR_SHARE:
        found.append("llm_evaluation_error_share_above_maximum")
    if advantage is None or advantage <= 0:
        found.append("llm_evaluation_unfavourable")
    return tuple(found)
