"""The AI review: it can veto or, when allowed, shrink; it never places, enlarges, or skips a gate.

Off by default. A provider that fails, times out (one deadline over all of them) or answers nonsense is an error, and
the fail mode decides: veto, or the decision goes on as it was. So it does where the day's budget is spent. In shadow mode
everything is recorded, nothing changes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx

from torghut_core.clock import Clock
from torghut_core.settings import reveal
from torghut_core.trading.bounded import TooLongError, read_limited
from torghut_core.trading.decision.terms import in_lots
from torghut_core.trading.encoding import dumps
from torghut_core.trading.metrics import Metrics
from torghut_core.trading.review.answer import FORMATS, PROMPT, ReviewError, Verdict, read_answer
from torghut_core.trading.review.circuit import Circuit
from torghut_core.trading.review.policy import FailMode
from torghut_core.trading.review.spending import BudgetError, Spending, Spent
from torghut_core.trading.settings import TradingSettings

_ZERO = Decimal(0)
_MAX_ANSWER_BYTES = 64_000
_REFUSALS = ("http_400", "http_422")
"""How an endpoint says that it does not take a `response_format`."""
_FREE = ("unreachable", "http_")
"""Failures that no provider asks money for."""


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


class Reviewer:
    """Asks the configured provider, and applies the policy to what it says."""

    def __init__(
        self,
        settings: TradingSettings,
        *,
        fail_mode: FailMode,
        clock: Clock,
        metrics: Metrics,
        spending: Spending | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._spending = spending
        self._formats: dict[str, int] = {}
        """By address, the place in FORMATS of what it takes."""
        self._fail_mode = fail_mode
        self._metrics = metrics
        self._transport = transport
        self.circuit = Circuit(
            max_errors=settings.llm_circuit_max_errors,
            window_seconds=settings.llm_circuit_window_seconds,
            cooldown_seconds=settings.llm_circuit_cooldown_seconds,
            clock=clock,
        )

    def spending_json(self) -> dict[str, Any] | None:
        """Return the status payload `llm.spending`."""
        return None if self._spending is None else self._spending.as_json()

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
        except BudgetError as error:
            # It says nothing of the provider: the circuit stays as it was, and a probe is left to the next call.
            self.circuit.released()
            self._metrics.add("llm_budget_exceeded_total")
            return self._fall_back(qty, error.reason, is_shadow)
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
        if verdict.is_repaired:
            self._metrics.add("llm_repaired_total")
        allowed, reason = apply_verdict(verdict, qty, self._settings, is_fractional=is_fractional)
        if is_shadow:
            allowed, reason = qty, None
        return Review(qty=allowed, reason=reason, verdict=verdict, error=None, is_shadow=is_shadow)

    def _fall_back(self, qty: Decimal, error: str, is_shadow: bool) -> Review:
        is_vetoed = self._fail_mode == "veto" and not is_shadow
        is_own = error == "llm_circuit_open" or error.startswith("llm_budget")
        reason = (error if is_own else f"llm_unavailable_{error}") if is_vetoed else None
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
        """Ask one provider, in the strictest form it takes; which that is, is remembered once it has answered."""
        first = self._formats.get(url, 0)
        for place, form in list(enumerate(FORMATS))[first:]:
            body = {
                "model": model,
                "temperature": self._settings.llm_temperature,
                "max_tokens": self._settings.llm_max_tokens,
                "messages": [{"role": "system", "content": PROMPT}, {"role": "user", "content": dumps(request)}],
                **({} if form is None else {"response_format": form}),
            }
            try:
                content, taken = await self._paid(url, key, body)
            except ReviewError as error:
                if error.reason in _REFUSALS and form is not None:
                    continue
                raise
            self._formats[url] = place
            verdict = read_answer(content, model)
            if self._spending is not None and taken is not None:
                await self._spending.settle(taken, verdict.tokens_prompt, verdict.tokens_completion)
            return verdict
        raise ReviewError("no_provider")

    async def _paid(self, url: str, key: str | None, body: dict[str, Any]) -> tuple[bytes, Spent | None]:
        """Send a body within the day's budget: what it may cost is taken before, and given back where nothing was asked."""
        spending = self._spending
        if spending is None:
            return await self._post(url, key, body), None
        taken = await spending.reserve(len(dumps(body).encode()))
        try:
            return await self._post(url, key, body), taken
        except ReviewError as error:
            if error.reason.startswith(_FREE):
                await spending.release(taken)
            raise

    async def _post(self, url: str, key: str | None, body: dict[str, Any]) -> bytes:
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
                return await read_limited(response, _MAX_ANSWER_BYTES)
        except httpx.HTTPError as error:
            raise ReviewError("unreachable") from error
        except TooLongError as error:
            raise ReviewError("llm_response_too_long") from error


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
