"""AI reviews judged by what the market did, and what of it is evidence for a stage."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.trading_values import NOW_NS, make_context, make_intent, make_settings
from torghut_core.clock import utc_datetime
from torghut_core.errors import InputError
from torghut_core.trading.review.answer import Verdict
from torghut_core.trading.review.evaluation import PRICED_WITHIN_NS, Recorded, evaluate, refusals
from torghut_core.trading.review.evidence import FilePrices, file_reviews, stored_reviews
from torghut_core.trading.review.inputs import request_of
from torghut_core.trading.review.reviewer import Review
from torghut_core.trading.store.database import Database
from torghut_core.trading.store.decisions import DecisionStore
from torghut_core.trading.store.reviews import ReviewStore
from torghut_core.trading.strategies.catalogue import DEFAULT_PATH, read_catalogue

MINUTE_NS = 60_000_000_000


def _review(verdict: str, side: Any = "buy", **changes: Any) -> Recorded:
    values: dict[str, Any] = {
        "symbol": "AAPL",
        "side": side,
        "size": "PT1S",
        "at_ns": NOW_NS,
        "verdict": verdict,
        "is_shadow": True,
        "model": "m",
        "prompt_version": "v1",
        "price": 100.0,
    }
    return Recorded(**{**values, **changes})


def test_evaluate_when_prices_moved_then_each_verdict_by_its_direction() -> None:
    """Up one percent: a purchase let pass gained 100, a vetoed sale would have lost 100."""
    found = evaluate(
        [_review("approve"), _review("veto", "sell"), _review("veto", price=None), _review("error", tokens_prompt=7)],
        lambda *_: 101.0,
        horizon_ns=MINUTE_NS,
    )
    assert (found["passedMeanBps"], found["vetoedMeanBps"], found["advantageBps"]) == (100, -100, 200)
    assert (found["reviews"], found["judged"], found["errorShare"], found["shadow"]) == (4, 2, 0.25, 4)
    assert [(row["verdict"], row["count"], row["judged"]) for row in found["verdicts"]] == [
        ("approve", 1, 1),
        ("error", 1, 1),
        ("veto", 2, 1),
    ]
    assert found["models"][0]["tokensPrompt"] == 7


def test_evaluate_when_asked_for_a_price_then_the_first_from_the_horizon_on() -> None:
    """Neither before it nor long after."""
    asked: list[tuple[Any, ...]] = []
    evaluate([_review("approve")], lambda *window: asked.append(window), horizon_ns=MINUTE_NS)
    then_ns = NOW_NS + MINUTE_NS
    assert asked == [("AAPL", "PT1S", then_ns, then_ns + PRICED_WITHIN_NS)]


def test_evaluate_when_outcomes_differ_then_their_standard_error() -> None:
    """100 and 300: a mean of 200, give or take 100."""
    prices = iter((101.0, 103.0))
    [row] = evaluate([_review("approve")] * 2, lambda *_: next(prices), horizon_ns=1)["verdicts"]
    assert (row["meanBps"], row["standardErrorBps"], row["favourableShare"]) == (200, 100, 1)


_GOOD: dict[str, Any] = {
    "schemaVersion": "torghut.llm-evaluation/v1",
    "window": {"since": "2026-01-04T15:00:00Z", "until": "2026-01-05T15:00:00Z"},
    "judged": 30,
    "errorShare": 0.05,
    "advantageBps": 0.1,
}


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, ()),
        ({"judged": 29}, ("llm_evaluation_count_below_minimum",)),
        ({"errorShare": 0.051}, ("llm_evaluation_error_share_above_maximum",)),
        ({"errorShare": None}, ("llm_evaluation_error_share_above_maximum",)),
        ({"advantageBps": 0}, ("llm_evaluation_unfavourable",)),
        ({"advantageBps": None}, ("llm_evaluation_unfavourable",)),
        ({"window": {"until": "2026-01-05T15:00:01Z"}}, ("llm_evaluation_outside_window",)),
        ({"window": {"until": "2026-01-01T15:00:00Z"}}, ("llm_evaluation_outside_window",)),
        ({"judged": "many"}, ("llm_evaluation_report_invalid",)),
        ({"judged": True}, ("llm_evaluation_report_invalid",)),
        ({"window": 3}, ("llm_evaluation_report_invalid",)),
        ({"schemaVersion": "torghut.health/v1"}, ("llm_evaluation_report_invalid",)),
    ],
)
def test_evidence_when_an_evaluation_falls_short_then_each_reason(changes: Any, reasons: tuple[str, ...]) -> None:
    """Too few, too many errors, no better than chance, of another time, or no evaluation at all."""
    window = {"since": "2026-01-02T15:00:00Z", "until": "2026-01-05T15:00:00Z"}
    assert refusals({**_GOOD, **changes}, **window) == reasons
    assert refusals(None, **window) == ("llm_evaluation_report_missing",)


def test_files_when_rows_are_none_then_each_costs_itself_alone(tmp_path: Path) -> None:
    """Cut lines, unknown verdicts, prices that are none: counted, and the rest is read."""
    reviews, signals = tmp_path / "reviews.ndjson", tmp_path / "signals.ndjson"
    good = {
        "symbol": "AAPL",
        "side": "buy",
        "timeframe": "1Sec",
        "event_ts": "2026-01-05T15:00:00Z",
        "verdict": "veto",
        "price": 100,
    }
    rows = [good, {**good, "verdict": "buy"}, {**good, "symbol": "a b"}, {**good, "event_ts": "noon"}, 7]
    reviews.write_text("\n".join(json.dumps(row) for row in rows) + '\n{"symbol": \n')
    found, skipped = file_reviews(reviews)
    assert ([review.verdict for review in found], skipped) == (["veto"], 5)
    row = {"symbol": "AAPL", "window_size": "PT1S", "event_ts": "2026-01-05T15:01:00Z", "close": 101}
    later = {**row, "event_ts": "2026-01-05T15:02:00Z", "close": 102}
    signals.write_text("\n".join(json.dumps(item) for item in (later, row, {**row, "close": "NaN"}, {})))
    prices = FilePrices(signals)
    then_ns = NOW_NS + MINUTE_NS
    assert prices.skipped == 2
    assert prices.after("AAPL", "PT1S", then_ns, then_ns) == 101
    assert prices.after("AAPL", "PT1S", then_ns + 1, then_ns + MINUTE_NS) == 102
    assert prices.after("AAPL", "PT1M", then_ns, then_ns) is None
    with pytest.raises(InputError, match="cannot be read"):
        file_reviews(tmp_path / "none")


@pytest.mark.engine
def test_reviews_when_stored_then_with_the_quote_they_were_shown(database: Database) -> None:
    """What the provider saw is what the outcome is measured from; other accounts' are left out."""
    decisions = DecisionStore(database, account_label="paper")
    [strategy] = decisions.apply_catalogue(read_catalogue(DEFAULT_PATH), mode="merge", now_ns=NOW_NS)
    intent = make_intent(strategy=strategy)
    row = decisions.record([intent], now_ns=NOW_NS)[intent.key]
    verdict = Verdict(
        verdict="veto",
        confidence=0.9,
        adjusted_qty=None,
        rationale="",
        risk_flags=(),
        model="m",
        tokens_prompt=7,
        tokens_completion=5,
    )
    review = Review(qty=make_context().qty, reason="llm_veto", verdict=verdict, error=None, is_shadow=False)
    ReviewStore(database).record(
        row.id,
        review,
        request=request_of(make_context(settings=make_settings()), intent),
        model="m",
        prompt_version="v1",
        now_ns=NOW_NS,
    )
    window = {"since": utc_datetime(NOW_NS), "until": utc_datetime(NOW_NS + 1_000_000)}
    expected = _review("veto", at_ns=intent.signal.event_ns, is_shadow=False, price=99.995)
    assert stored_reviews(database, account_label="paper", **window) == [
        replace(expected, tokens_prompt=7, tokens_completion=5)
    ]
    assert stored_reviews(database, account_label="live", **window) == []
