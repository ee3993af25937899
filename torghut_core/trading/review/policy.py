"""What happens when the AI review fails, and how that compares with the safe default. Pure.

| effective mode | classification |
|---|---|
| veto | compliant |
| pass_through, paper, LLM_FAIL_MODE=pass_through | compliant |
| pass_through, live, LLM_FAIL_OPEN_LIVE_APPROVED=true | intentional_exception |
| any other pass_through | violation |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

FailMode = Literal["veto", "pass_through"]
RolloutStage = Literal["stage0", "stage1", "stage2", "stage3"]
Classification = Literal["compliant", "intentional_exception", "violation"]

_REASONING: dict[Classification, str] = {
    "compliant": "policy_compliant",
    "intentional_exception": "intentional_policy_exception",
    "violation": "unexpected_fail_mode_override",
}


@dataclass(frozen=True, kw_only=True)
class ReviewSwitches:
    """The switches that decide the fail mode."""

    mode: Literal["paper", "live"]
    enabled: bool
    shadow_mode: bool
    adjustment_allowed: bool
    rollout_stage: RolloutStage
    fail_mode: FailMode
    enforcement: Literal["strict_veto", "configured"]
    live_approved: bool


@dataclass(frozen=True, kw_only=True)
class PolicyResolution:
    """The fail mode that holds, and why."""

    classification: Classification
    rollout_stage: RolloutStage
    configured_fail_mode: FailMode
    effective_fail_mode: FailMode
    expected_fail_mode: FailMode
    stage_policy_violation: bool
    policy_exceptions: tuple[str, ...]
    guardrail_reasons: tuple[str, ...]
    reasoning: str
    source_inputs: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return the status payload `llm.policy_resolution`."""
        return {
            "classification": self.classification,
            "rollout_stage": self.rollout_stage,
            "configured_fail_mode": self.configured_fail_mode,
            "effective_fail_mode": self.effective_fail_mode,
            "expected_fail_mode": self.expected_fail_mode,
            "stage_policy_violation": self.stage_policy_violation,
            "fail_mode_exception_active": self.classification == "intentional_exception",
            "fail_mode_violation_active": self.classification == "violation",
            "policy_exceptions": list(self.policy_exceptions),
            "guardrail_reasons": list(self.guardrail_reasons),
            "reasoning": self.reasoning,
            "source_inputs": dict(self.source_inputs),
        }


def expected_fail_mode(switches: ReviewSwitches) -> FailMode:
    """Return the fail mode that enforcement and stage call for. `strict_veto` vetoes in every stage."""
    if switches.enforcement == "strict_veto":
        return "veto"
    return "pass_through" if switches.rollout_stage in ("stage1", "stage2") else switches.fail_mode


def resolve_policy(switches: ReviewSwitches) -> PolicyResolution:
    """Return the fail mode that holds under `switches` and its classification against the safe default, veto."""
    effective = expected_fail_mode(switches)
    stage_reasons = _stage_violations(switches, effective)
    classification = _classify(switches, effective)
    exceptions: list[str] = []
    if switches.enforcement == "configured":
        exceptions.append("configured_fail_mode_enabled")
    if switches.mode == "live" and effective == "pass_through" and switches.live_approved:
        exceptions.append("live_fail_open_approved")
    reasoning = _REASONING[classification]
    if classification == "compliant" and stage_reasons:
        reasoning = "rollout_stage_policy_violation"
    return PolicyResolution(
        classification=classification,
        rollout_stage=switches.rollout_stage,
        configured_fail_mode=switches.fail_mode,
        effective_fail_mode=effective,
        expected_fail_mode=effective,
        stage_policy_violation=bool(stage_reasons),
        policy_exceptions=tuple(exceptions),
        guardrail_reasons=stage_reasons,
        reasoning=reasoning,
        source_inputs={
            "trading_mode": switches.mode,
            "llm_enabled": switches.enabled,
            "llm_shadow_mode": switches.shadow_mode,
            "llm_adjustment_allowed": switches.adjustment_allowed,
            "llm_fail_mode": switches.fail_mode,
            "llm_fail_mode_enforcement": switches.enforcement,
            "llm_fail_open_live_approved": switches.live_approved,
        },
    )


def _classify(switches: ReviewSwitches, effective: FailMode) -> Classification:
    if effective == "veto":
        return "compliant"
    if switches.mode == "live":
        return "intentional_exception" if switches.live_approved else "violation"
    return "compliant" if switches.fail_mode == "pass_through" else "violation"


def _stage_violations(switches: ReviewSwitches, expected: FailMode) -> tuple[str, ...]:
    found: list[str] = []
    stage = switches.rollout_stage
    if stage == "stage0" and switches.enabled:
        found.append("stage0_llm_enabled")
    if switches.enabled and stage in ("stage0", "stage1"):
        if not switches.shadow_mode:
            found.append(f"{stage}_shadow_mode_off")
        if switches.adjustment_allowed:
            found.append(f"{stage}_adjustment_allowed")
    if stage in ("stage1", "stage2") and switches.fail_mode != expected:
        found.append(f"{stage}_fail_mode_differs")
    return tuple(found)
