"""The AI review: it can veto or, when allowed, shrink; it never places, enlarges, or skips a gate.

Off by default. A provider that fails, times out (one deadline over all of them) or answers nonsense is an error, and
the fail mode decides: veto, or the decision goes on as it was. In shadow mode everything is recorded, nothing changes.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import httpx
import msgspec

from torghut_core.clock import Clock, utc_datetime
from torghut_core.errors import UpstreamError
from torghut_core.settings import reveal
from torghut_core.trading.bounded import TooLongError, read_limited
from torghut_core.trading.decision.terms import in_lots
from torghut_core.trading.encoding import dumps, format_datetime
from torghut_core.trading.metrics import Metrics
from torghut_core.trading.review.policy import FailMode
from torghut_core.trading.settings import TradingSettings

_ZERO = Decimal(0)
_MAX_ANSWER_BYTES = 64_000
_MAX_TOKENS = 2**31 - 1
_FLAG = re.compile(r"[^\x00-\x1f\x7f]{1,64}")
_PROMPT = (
    "You review one proposed stock order before it is sent. Answer with one JSON object: verdict (approve, veto or"
    " adjust), confidence (0 to 1), adjusted_qty (a smaller whole number, only with adjust), rationale (at most 280"
    " characters), risk_flags (list of words). You cannot place orders or enlarge them. When unsure, veto."
)


class ReviewError(UpstreamError):
    """No provider gave a usable review; `reason` is stable."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"AI review failed: {reason}")
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A provider's answer, checked."""

    verdict: Literal["approve", "veto", "adjust"]
    confidence: float
    adjusted_qty: Decimal | None
    rationale: str
    risk_flags: tuple[str, ...]
    model: str
    tokens_prompt: int | None = None
    tokens_completion: int | None = None


@dataclass(frozen=True, kw_only=True)
class Review:
    """What a review comes to: the quantity that may go on, or the reason why nothing may."""

    qty: Decimal
    reason: str | None
    verdict: Verdict | None
    error: str | None
    is_shadow: bool

    @property
    def effective_verdict(self) -> str:
        if self.reason is not None:
            return "veto"
        if self.error is not None:
            return "pass_through"
        return "adjust" if self.verdict is not None and self.verdict.verdict == "adjust" else "approve"


class Circuit:
    """Opens after too many errors within a window; after the cooldown lets one call through to find out."""

    def __init__(self, *, max_errors: int, window_seconds: float, cooldown_seconds: float, clock: Clock) -> None:
        self._max_errors = max_errors
        self._window = window_seconds
        self._cooldown = cooldown_seconds
        self._clock = clock
        self._errors: deque[float] = deque()
        self._open_until: float | None = None
        self._is_probing = False

    def allows(self) -> bool:
        """Tell whether a call may be made; taking a yes after the cooldown makes this call the only probe."""
        if self._open_until is None:
            return True
        if self._clock.monotonic() < self._open_until or self._is_probing:
            return False
        self._is_probing = True
        return True

    def succeeded(self) -> None:
        """Close the circuit and forget the errors."""
        self._errors.clear()
        self._open_until = None
        self._is_probing = False

    def failed(self) -> None:
        """Count an error; a failed probe opens the circuit again at once."""
        now = self._clock.monotonic()
        self._errors.append(now)
        while self._errors and now - self._errors[0] > self._window:
            self._errors.popleft()
        if self._is_probing or len(self._errors) >= self._max_errors:
            self._open_until = now + self._cooldown
        self._is_probing = False

    def as_json(self) -> dict[str, Any]:
        """Return the status payload `llm.circuit`."""
        now = self._clock.monotonic()
        is_open = self._open_until is not None and now < self._open_until
        until = utc_datetime(self._clock.now_ns() + int((self._open_until - now) * 1e9)) if self._open_until else None
        return {
            "open": is_open,
            "state": "open" if is_open else ("half_open" if self._open_until is not None else "closed"),
            "open_until": format_datetime(until) if is_open and until is not None else None,
            "max_errors": self._max_errors,
            "window_seconds": self._window,
            "cooldown_seconds": self._cooldown,
            "recent_error_count": sum(1 for at in self._errors if now - at <= self._window),
        }


class Reviewer:
    """Asks the configured provider, and applies the policy to what it says."""

    def __init__(
        self,
        settings: TradingSettings,
        *,
        fail_mode: FailMode,
        clock: Clock,
        metrics: Metrics,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._fail_mode = fail_mode
        self._metrics = metrics
        self._transport = transport
        self.circuit = Circuit(
            max_errors=settings.llm_circuit_max_errors,
            window_seconds=settings.llm_circuit_window_seconds,
            cooldown_seconds=settings.llm_circuit_cooldown_seconds,
            clock=clock,
        )

    async def review(self, request: dict[str, Any], *, qty: Decimal, is_fractional: bool = False) -> Review:
        """Review a decision over `qty` shares that has passed every gate."""
        is_shadow = self._settings.llm_shadow_mode
        if is_shadow:
            self._metrics.add("llm_shadow_total")
        if not self.circuit.allows():
            self._metrics.add("llm_circuit_open_total")
            return self._fall_back(qty, "llm_circuit_open", is_shadow)
        self._metrics.add("llm_requests_total")
        try:
            verdict = await self._ask(request)
        except ReviewError as error:
            self.circuit.failed()
            self._metrics.add("llm_error_total")
            return self._fall_back(qty, error.reason, is_shadow)
        except BaseException:
            # Whatever ended the call ends the probe too: a circuit must not wait for an answer nobody expects.
            self.circuit.failed()
            raise
        self.circuit.succeeded()
        self._metrics.add(f"llm_{verdict.verdict}_total")
        allowed, reason = apply_verdict(verdict, qty, self._settings, is_fractional=is_fractional)
        if is_shadow:
            allowed, reason = qty, None
        return Review(qty=allowed, reason=reason, verdict=verdict, error=None, is_shadow=is_shadow)

    def _fall_back(self, qty: Decimal, error: str, is_shadow: bool) -> Review:
        is_vetoed = self._fail_mode == "veto" and not is_shadow
        reason = (error if error == "llm_circuit_open" else f"llm_unavailable_{error}") if is_vetoed else None
        return Review(qty=_ZERO if is_vetoed else qty, reason=reason, verdict=None, error=error, is_shadow=is_shadow)

    async def _ask(self, request: dict[str, Any]) -> Verdict:
        reason = "no_provider"
        try:
            async with asyncio.timeout(self._settings.llm_timeout_seconds):
                for url, key, model in self._providers():
                    try:
                        return await self._call(url, key, model, request)
                    except ReviewError as error:
                        reason = error.reason
        except TimeoutError as error:
            raise ReviewError("timeout") from error
        raise ReviewError(reason)

    def _providers(self) -> list[tuple[str, str | None, str]]:
        settings = self._settings
        provider = settings.llm_provider or ("jangar" if settings.jangar_url is not None else "openai")
        found: list[tuple[str, str | None, str]] = []
        if provider == "openai":
            return [(f"{settings.openai_url}/v1/chat/completions", reveal(settings.openai_key), settings.llm_model)]
        if settings.jangar_url is not None:
            url = f"{settings.jangar_url}/openai/v1/chat/completions"
            found.append((url, reveal(settings.jangar_key), settings.llm_model))
        if settings.self_hosted_url is not None:
            url = f"{settings.self_hosted_url}/v1/chat/completions"
            model = settings.self_hosted_model or settings.llm_model
            found.append((url, reveal(settings.self_hosted_key), model))
        return found

    async def _call(self, url: str, key: str | None, model: str, request: dict[str, Any]) -> Verdict:
        body = {
            "model": model,
            "temperature": self._settings.llm_temperature,
            "max_tokens": self._settings.llm_max_tokens,
            "response_format": {"type": "json_object"},
            "messages": [{"role": "system", "content": _PROMPT}, {"role": "user", "content": dumps(request)}],
        }
        headers = {"Accept-Encoding": "identity", **({"Authorization": f"Bearer {key}"} if key else {})}
        try:
            async with (
                httpx.AsyncClient(
                    timeout=self._settings.llm_timeout_seconds, transport=self._transport, trust_env=False
                ) as client,
                client.stream("POST", url, json=body, headers=headers) as response,
            ):
                if not response.is_success:
                    raise ReviewError(f"http_{response.status_code}")
                content = await read_limited(response, _MAX_ANSWER_BYTES)
        except httpx.HTTPError as error:
            raise ReviewError("unreachable") from error
        except TooLongError as error:
            raise ReviewError("llm_response_too_long") from error
        return read_answer(content, model)


class _Answer(msgspec.Struct, frozen=True):
    """What a provider may answer. Types are strict: a number in quotes is none."""

    verdict: Literal["approve", "veto", "adjust"]
    confidence: float = 0.5
    adjusted_qty: float | int | None = None
    rationale: str = ""
    risk_flags: tuple[str, ...] = ()


def read_answer(content: bytes, model: str) -> Verdict:
    """Return the verdict in a chat completion. Raises ReviewError when there is none that follows the rules.

    Whatever it returns can be stored: finite numbers, counts that fit, text without control characters.
    """
    try:
        completion = json.loads(content, parse_constant=_no_constant)
        text = completion["choices"][0]["message"]["content"]
        answer, _ = json.JSONDecoder(parse_constant=_no_constant).raw_decode(text[text.index("{") :])
        usage = completion.get("usage") or {}
        tokens = tuple(usage.get(key) for key in ("prompt_tokens", "completion_tokens"))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise ReviewError("llm_response_not_json") from error
    if not isinstance(answer, dict):
        raise ReviewError("llm_response_invalid")
    if "verdict" not in answer and "decision" in answer:
        answer = {**answer, "verdict": answer["decision"]}
    answer = {key: value for key, value in answer.items() if value is not None}
    try:
        said = msgspec.convert(answer, _Answer)
    except (msgspec.ValidationError, RecursionError, OverflowError) as error:
        raise ReviewError("llm_response_invalid") from error
    adjusted = None if said.adjusted_qty is None else Decimal(str(said.adjusted_qty))
    if not 0 <= said.confidence <= 1 or not all(map(_is_storable, (said.rationale, *said.risk_flags))):
        raise ReviewError("llm_response_invalid")
    if adjusted is not None and (not adjusted.is_finite() or abs(adjusted) >= 10**9):
        raise ReviewError("llm_response_invalid")
    if not all(count is None or _is_count(count) for count in tokens):
        raise ReviewError("llm_response_invalid")
    if not all(_FLAG.fullmatch(flag) for flag in said.risk_flags) or len(said.risk_flags) > 32:
        raise ReviewError("llm_response_invalid")
    return Verdict(
        verdict=said.verdict,
        confidence=said.confidence,
        adjusted_qty=None if adjusted is None else round(adjusted, 8),
        rationale=said.rationale[:280],
        risk_flags=said.risk_flags,
        model=model,
        tokens_prompt=tokens[0],
        tokens_completion=tokens[1],
    )


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_TOKENS


def _is_storable(text: str) -> bool:
    """Tell whether PostgreSQL takes a text: no NUL, no half of a surrogate pair."""
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def apply_verdict(
    verdict: Verdict, qty: Decimal, settings: TradingSettings, *, is_fractional: bool = False
) -> tuple[Decimal, str | None]:
    """Return the quantity that may go on and None, or 0 and the reason to stop.

    An adjustment is held to [LLM_MIN_QTY_MULTIPLIER, LLM_MAX_QTY_MULTIPLIER] × `qty` and never above `qty` itself.
    """
    if verdict.confidence < settings.llm_min_confidence:
        return _ZERO, "llm_confidence_below_min"
    if verdict.verdict == "veto":
        return _ZERO, "llm_veto"
    if verdict.verdict == "approve":
        return qty, None
    if not settings.llm_adjustment_allowed:
        return _ZERO, "llm_adjustment_disallowed"
    if verdict.adjusted_qty is None:
        return _ZERO, "llm_adjustment_missing_qty"
    if not verdict.adjusted_qty.is_finite() or verdict.adjusted_qty <= 0:
        return _ZERO, "llm_adjustment_non_positive"
    lowest = qty * Decimal(str(settings.llm_min_qty_multiplier))
    highest = qty * min(Decimal(1), Decimal(str(settings.llm_max_qty_multiplier)))
    bounded = in_lots(max(lowest, min(highest, verdict.adjusted_qty)), is_fractional=is_fractional)
    return (bounded, None) if bounded > 0 else (_ZERO, "qty_below_min")
