"""One bad answer, file or row costs itself: AI answers, catalogues, broker answers."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.trading_values import make_settings
from torghut_core.clock import ManualClock
from torghut_core.errors import InputError
from torghut_core.trading.metrics import Metrics
from torghut_core.trading.orders.answers import AnswerError, decode, parse_order, parse_position
from torghut_core.trading.review.reviewer import Reviewer, ReviewError, read_answer
from torghut_core.trading.strategies.catalogue import read_catalogue


def _completion(answer: str, **usage: Any) -> bytes:
    return json.dumps({"choices": [{"message": {"content": answer}}], "usage": usage}).encode()


GOOD = '{"verdict": "approve", "confidence": 0.9, "rationale": "fine"}'


@pytest.mark.parametrize(
    "content",
    [
        _completion(GOOD, prompt_tokens="n/a"),
        _completion(GOOD, prompt_tokens=2**31),
        _completion(GOOD, prompt_tokens=-1),
        _completion(GOOD, completion_tokens=1.5),
        _completion('{"verdict": "approve", "rationale": "a\\u0000b"}'),
        _completion('{"verdict": "approve", "rationale": "\\ud800"}'),
        _completion('{"verdict": "approve", "risk_flags": ["\\u0000"]}'),
        _completion('{"verdict": "adjust", "adjusted_qty": 1e400}'),
        _completion('{"verdict": "adjust", "adjusted_qty": "5"}'),
        _completion('{"verdict": "approve", "confidence": NaN}'),
        _completion('{"verdict": "approve", "confidence": "0.9"}'),
        _completion('{"verdict": "approve", "confidence": 1.1}'),
        _completion('{"verdict": "maybe"}'),
        _completion("[" * 100_000),
        b"[" * 60_000,
        b'{"choices": []}',
        b"\xff\xfe",
        b"",
    ],
)
def test_read_answer_when_it_breaks_a_rule_then_a_review_error(content: bytes) -> None:
    """Whatever cannot be stored, or is of another type, is no review."""
    with pytest.raises(ReviewError):
        read_answer(content, "m")


def test_read_answer_when_it_follows_the_rules_then_read() -> None:
    """The strictness refuses nothing that is right."""
    verdict = read_answer(_completion(GOOD, prompt_tokens=7, completion_tokens=8), "m")
    assert (verdict.verdict, verdict.confidence, verdict.tokens_prompt, verdict.tokens_completion) == (
        "approve",
        0.9,
        7,
        8,
    )


def _reviewer(respond: Any, clock: ManualClock) -> Reviewer:
    configured = make_settings(LLM_ENABLED="true", LLM_SHADOW_MODE="false", LLM_CIRCUIT_MAX_ERRORS="1")
    return Reviewer(
        configured, fail_mode="veto", clock=clock, metrics=Metrics(), transport=httpx.MockTransport(respond)
    )


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Encoding": "gzip"}, gzip.compress(b"0" * 2_000_000)),
        ({}, b"x" * 64_001),
    ],
)
async def test_review_when_the_answer_is_packed_or_too_long_then_an_error_and_no_memory(
    headers: dict[str, str], body: bytes
) -> None:
    """A small answer that unpacks to gigabytes is not unpacked."""
    asked: list[str] = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["accept-encoding"])
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(body))

    review = await _reviewer(respond, ManualClock()).review({}, qty=Decimal(10))
    assert (review.reason, asked) == ("llm_unavailable_llm_response_too_long", ["identity"])


async def test_circuit_when_the_probe_answers_nested_json_then_it_opens_again_and_asks_later() -> None:
    """A probe that ends in nonsense is a failed probe, not one that is awaited for ever."""
    answers = [b"[" * 60_000, b"[" * 60_000, _completion(GOOD)]
    clock = ManualClock()
    reviewer = _reviewer(lambda _: httpx.Response(200, content=answers.pop(0)), clock)
    for _ in range(2):
        assert (await reviewer.review({}, qty=Decimal(1))).reason == "llm_unavailable_llm_response_not_json"
        assert (await reviewer.review({}, qty=Decimal(1))).reason == "llm_circuit_open"
        clock.advance(601)
    assert (await reviewer.review({}, qty=Decimal(1))).reason is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "strategies: [{name: a, description: 2026-99-99}]",
        "strategies: " + "[" * 5000,
        'strategies: [{name: "a\\0b"}]',
        "strategies: [{name: a, max_notional_per_trade: 1e30}]",
        "strategies: [{name: a, max_notional_per_trade: 1e-30}]",
        "strategies: [{name: a, stop_loss_pct: 1.5}]",
        "strategies: [{name: a, order_type: iceberg}]",
        "strategies: [{name: a, description: 2026-01-01}]",
        "strategies: [{name: a, symbols: ['A\\0']}]",
        "strategies: [{[1]: a}]",
    ],
)
def test_catalogue_when_a_value_cannot_be_used_then_an_input_error_alone(text: str, tmp_path: Path) -> None:
    """Nothing else escapes: the loop keeps the last good file."""
    path = tmp_path / "strategies.yaml"
    path.write_text(text)
    with pytest.raises(InputError):
        read_catalogue(path)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=6),
    max_leaves=12,
)
_ORDER = {
    "id": "o",
    "client_order_id": "c",
    "symbol": "AAPL",
    "side": "buy",
    "type": "market",
    "time_in_force": "day",
    "qty": "1",
    "filled_qty": "0",
    "status": "new",
}


@given(st.sampled_from(sorted(_ORDER)), _JSON)
@settings(max_examples=300, deadline=None)
def test_answers_when_any_field_is_anything_then_a_value_or_an_answer_error(key: str, value: Any) -> None:
    """No other error leaves the parser, whatever the broker says."""
    for parse in (parse_order, parse_position):
        try:
            found = parse({**_ORDER, key: value})
        except AnswerError:
            continue
        assert found.symbol == (value if key == "symbol" else "AAPL")


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_decode_when_bytes_are_anything_then_a_value_or_an_answer_error(body: bytes) -> None:
    """The same for what is no JSON; what is a value is one of JSON's kinds."""
    try:
        found = decode(body)
    except AnswerError:
        return
    assert found is None or isinstance(found, str | bool | int | Decimal | list | dict)
