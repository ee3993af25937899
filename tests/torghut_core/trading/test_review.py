"""The AI review: veto or shrink, nothing else; failures, shadow, circuit."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.fakes.trading_values import make_settings
from torghut_core.clock import ManualClock
from torghut_core.trading.metrics import Metrics
from torghut_core.trading.review.circuit import Circuit
from torghut_core.trading.review.reviewer import Review, Reviewer

LLM = {"LLM_ENABLED": "true", "LLM_SHADOW_MODE": "false", "JANGAR_BASE_URL": "http://127.0.0.1:1"}


def _completion(answer: Any) -> httpx.Response:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return httpx.Response(200, json={"choices": [{"message": {"content": text}}], "usage": {"prompt_tokens": 7}})


async def _review(
    respond: Callable[[httpx.Request], httpx.Response], *, fail_mode: Any = "veto", **environment: str
) -> Review:
    settings = make_settings(**{**LLM, **environment})
    reviewer = Reviewer(
        settings,
        fail_mode=fail_mode,
        clock=ManualClock(),
        metrics=Metrics(),
        transport=httpx.MockTransport(respond),
    )
    return await reviewer.review({"decision": "x"}, qty=10)


@pytest.mark.parametrize(
    ("answer", "environment", "qty", "reason"),
    [
        ({"verdict": "approve", "confidence": 0.9}, {}, 10, None),
        ({"decision": "approve"}, {}, 10, None),
        ('Sure: {"verdict": "approve"} as asked', {}, 10, None),
        ({"verdict": "veto", "confidence": 0.9}, {}, 0, "llm_veto"),
        ({"verdict": "approve", "confidence": 0.49}, {}, 0, "llm_confidence_below_min"),
        ({"verdict": "adjust", "adjusted_qty": 7}, {}, 0, "llm_adjustment_disallowed"),
        ({"verdict": "adjust", "adjusted_qty": 7}, {"LLM_ADJUSTMENT_ALLOWED": "true"}, 7, None),
        ({"verdict": "adjust", "adjusted_qty": 1}, {"LLM_ADJUSTMENT_ALLOWED": "true"}, 5, None),
        ({"verdict": "adjust", "adjusted_qty": 1000}, {"LLM_ADJUSTMENT_ALLOWED": "true"}, 10, None),
        ({"verdict": "adjust"}, {"LLM_ADJUSTMENT_ALLOWED": "true"}, 0, "llm_adjustment_missing_qty"),
        (
            {"verdict": "adjust", "adjusted_qty": -1},
            {"LLM_ADJUSTMENT_ALLOWED": "true"},
            0,
            "llm_adjustment_non_positive",
        ),
        ({"verdict": "buy more"}, {}, 0, "llm_unavailable_llm_response_invalid"),
        ({"verdict": "approve", "confidence": "NaN"}, {}, 0, "llm_unavailable_llm_response_invalid"),
        ("no", {}, 0, "llm_unavailable_llm_response_not_json"),
    ],
)
async def test_review_when_answered_then_policy_is_applied(
    answer: Any, environment: dict[str, str], qty: int, reason: str | None
) -> None:
    """An adjustment never enlarges, and only shrinks when allowed; nonsense is a failure."""
    review = await _review(lambda _: _completion(answer), **environment)
    assert (review.qty, review.reason) == (qty, reason)


@pytest.mark.parametrize(
    ("fail_mode", "qty", "reason", "effective"),
    [("veto", 0, "llm_unavailable_http_500", "veto"), ("pass_through", 10, None, "pass_through")],
)
async def test_review_when_provider_fails_then_fail_mode_decides_and_it_stays_an_error(
    fail_mode: str, qty: int, reason: str | None, effective: str
) -> None:
    """A pass-through is no approval: the error is kept."""
    review = await _review(lambda _: httpx.Response(500), fail_mode=fail_mode)
    assert (review.qty, review.reason, review.effective_verdict) == (qty, reason, effective)
    assert (review.verdict, review.error) == (None, "http_500")


@pytest.mark.parametrize("respond", [lambda _: _completion({"verdict": "veto"}), lambda _: httpx.Response(500)])
async def test_review_when_in_shadow_then_nothing_changes(respond: Callable[[httpx.Request], httpx.Response]) -> None:
    """Neither a veto nor a failure has an effect in shadow mode."""
    review = await _review(respond, LLM_SHADOW_MODE="true")
    assert (review.qty, review.reason, review.is_shadow) == (10, None, True)


async def test_review_when_first_provider_fails_then_the_second_is_asked() -> None:
    """The self-hosted model stands in for the first, with its own name and key."""
    asked: list[tuple[str, str | None]] = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append((str(request.url), request.headers.get("authorization")))
        return httpx.Response(503) if "openai" in str(request.url) else _completion({"verdict": "approve"})

    review = await _review(
        respond, LLM_SELF_HOSTED_BASE_URL="http://127.0.0.1:2", LLM_SELF_HOSTED_API_KEY="k", LLM_SELF_HOSTED_MODEL="own"
    )
    assert asked == [
        ("http://127.0.0.1:1/openai/v1/chat/completions", None),
        ("http://127.0.0.1:2/v1/chat/completions", "Bearer k"),
    ]
    assert review.verdict is not None
    assert review.verdict.model == "own"


def test_circuit_when_errors_pile_up_then_open_then_one_probe_then_closed() -> None:
    """After the cooldown one call finds out; a failed probe opens it again at once, a good one closes it."""
    clock = ManualClock()
    circuit = Circuit(max_errors=2, window_seconds=10, cooldown_seconds=100, clock=clock)
    circuit.failed()
    assert circuit.allows() is True
    circuit.failed()
    assert (circuit.allows(), circuit.as_json()["state"]) == (False, "open")
    clock.advance(100)
    assert [circuit.allows(), circuit.allows(), circuit.as_json()["state"]] == [True, False, "half_open"]
    circuit.failed()
    assert circuit.allows() is False
    clock.advance(100)
    assert circuit.allows() is True
    circuit.succeeded()
    assert (circuit.allows(), circuit.as_json()["state"], circuit.as_json()["recent_error_count"]) == (
        True,
        "closed",
        0,
    )


def test_circuit_when_errors_are_old_then_they_do_not_count() -> None:
    """Only errors within the window open it."""
    clock = ManualClock()
    circuit = Circuit(max_errors=2, window_seconds=10, cooldown_seconds=100, clock=clock)
    circuit.failed()
    clock.advance(11)
    circuit.failed()
    assert circuit.allows() is True
