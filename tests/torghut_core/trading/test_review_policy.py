"""Which fail mode holds, and how it is classified."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from torghut_core.trading.review.policy import ReviewSwitches, resolve_policy


def _switches(**changes: Any) -> ReviewSwitches:
    values: dict[str, Any] = {
        "mode": "paper",
        "enabled": True,
        "shadow_mode": True,
        "adjustment_allowed": False,
        "rollout_stage": "stage0",
        "fail_mode": "veto",
        "enforcement": "configured",
        "live_approved": False,
    }
    return ReviewSwitches(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "effective", "classification"),
    [
        ({}, "veto", "compliant"),
        ({"fail_mode": "pass_through"}, "pass_through", "compliant"),
        ({"rollout_stage": "stage1"}, "pass_through", "violation"),
        ({"rollout_stage": "stage2"}, "pass_through", "violation"),
        ({"rollout_stage": "stage2", "fail_mode": "pass_through"}, "pass_through", "compliant"),
        ({"rollout_stage": "stage3", "fail_mode": "pass_through"}, "pass_through", "compliant"),
        ({"mode": "live", "fail_mode": "pass_through", "live_approved": True}, "pass_through", "intentional_exception"),
        ({"mode": "live", "fail_mode": "pass_through"}, "pass_through", "violation"),
        ({"mode": "live"}, "veto", "compliant"),
        ({"mode": "live", "rollout_stage": "stage2", "live_approved": True}, "pass_through", "intentional_exception"),
        ({"live_approved": True}, "veto", "compliant"),
    ],
)
def test_policy_when_switches_differ_then_mode_and_classification(
    changes: dict[str, Any], effective: str, classification: str
) -> None:
    """The classification is against the safe default, not against what was configured."""
    resolution = resolve_policy(_switches(**changes))
    assert (resolution.effective_fail_mode, resolution.classification) == (effective, classification)


def test_policy_when_strict_then_every_combination_vetoes() -> None:
    """strict_veto is absolute: no stage, mode or approval opens it."""
    combinations = itertools.product(
        ("paper", "live"), ("stage0", "stage1", "stage2", "stage3"), ("veto", "pass_through"), (True, False)
    )
    for mode, stage, fail_mode, approved in combinations:
        switches = _switches(
            enforcement="strict_veto", mode=mode, rollout_stage=stage, fail_mode=fail_mode, live_approved=approved
        )
        resolution = resolve_policy(switches)
        assert (resolution.effective_fail_mode, resolution.classification) == ("veto", "compliant")


@pytest.mark.parametrize(
    ("changes", "guardrails"),
    [
        ({"rollout_stage": "stage0"}, ("stage0_llm_enabled",)),
        ({"rollout_stage": "stage0", "enabled": False}, ()),
        ({"rollout_stage": "stage0", "enabled": False, "shadow_mode": False, "adjustment_allowed": True}, ()),
        ({"rollout_stage": "stage0", "shadow_mode": False}, ("stage0_llm_enabled", "stage0_shadow_mode_off")),
        ({"rollout_stage": "stage0", "adjustment_allowed": True}, ("stage0_llm_enabled", "stage0_adjustment_allowed")),
        (
            {"rollout_stage": "stage0", "enforcement": "configured", "fail_mode": "pass_through"},
            ("stage0_llm_enabled",),
        ),
        ({"rollout_stage": "stage1", "fail_mode": "pass_through"}, ()),
        ({"rollout_stage": "stage1"}, ("stage1_fail_mode_differs",)),
        ({"rollout_stage": "stage1", "enabled": False}, ("stage1_fail_mode_differs",)),
        (
            {"rollout_stage": "stage1", "fail_mode": "pass_through", "shadow_mode": False},
            ("stage1_shadow_mode_off",),
        ),
        (
            {"rollout_stage": "stage1", "fail_mode": "pass_through", "adjustment_allowed": True},
            ("stage1_adjustment_allowed",),
        ),
        ({"rollout_stage": "stage2"}, ("stage2_fail_mode_differs",)),
        ({"rollout_stage": "stage2", "fail_mode": "pass_through"}, ()),
        (
            {
                "rollout_stage": "stage2",
                "fail_mode": "pass_through",
                "shadow_mode": False,
                "adjustment_allowed": True,
            },
            (),
        ),
        ({"rollout_stage": "stage3"}, ()),
        ({"rollout_stage": "stage3", "shadow_mode": False, "adjustment_allowed": True}, ()),
        ({"rollout_stage": "stage1", "enforcement": "strict_veto"}, ()),
        (
            {"rollout_stage": "stage1", "enforcement": "strict_veto", "fail_mode": "pass_through"},
            ("stage1_fail_mode_differs",),
        ),
    ],
)
def test_policy_when_a_stage_forbids_what_is_set_then_each_is_named(
    changes: dict[str, Any], guardrails: tuple[str, ...]
) -> None:
    """Stage 0 is off, stage 1 only watches, stages 1 and 2 fail open; each that is set otherwise has a name."""
    resolution = resolve_policy(_switches(**changes))
    assert (resolution.guardrail_reasons, resolution.stage_policy_violation) == (guardrails, bool(guardrails))


@pytest.mark.parametrize(
    ("changes", "exceptions"),
    [
        ({}, ("configured_fail_mode_enabled",)),
        ({"enforcement": "strict_veto"}, ()),
        (
            {"mode": "live", "fail_mode": "pass_through", "live_approved": True},
            ("configured_fail_mode_enabled", "live_fail_open_approved"),
        ),
        ({"mode": "live", "fail_mode": "pass_through"}, ("configured_fail_mode_enabled",)),
        ({"mode": "live", "live_approved": True}, ("configured_fail_mode_enabled",)),
        ({"fail_mode": "pass_through", "live_approved": True}, ("configured_fail_mode_enabled",)),
        ({"enforcement": "strict_veto", "mode": "live", "fail_mode": "pass_through", "live_approved": True}, ()),
    ],
)
def test_policy_when_an_exception_is_in_force_then_it_is_named(
    changes: dict[str, Any], exceptions: tuple[str, ...]
) -> None:
    """An approval counts where it opens something: live, and failing open."""
    assert resolve_policy(_switches(**changes)).policy_exceptions == exceptions


@pytest.mark.parametrize(
    ("changes", "reasoning"),
    [
        ({"rollout_stage": "stage3"}, "policy_compliant"),
        ({"rollout_stage": "stage0"}, "rollout_stage_policy_violation"),
        ({"rollout_stage": "stage1"}, "unexpected_fail_mode_override"),
        (
            {"mode": "live", "rollout_stage": "stage2", "live_approved": True},
            "intentional_policy_exception",
        ),
    ],
)
def test_policy_when_classified_then_the_reasoning_says_why(changes: dict[str, Any], reasoning: str) -> None:
    """The classification's own reason, but that a compliant one may still break its stage."""
    assert resolve_policy(_switches(**changes)).reasoning == reasoning


@pytest.mark.parametrize(
    ("classified", "changes", "active"),
    [
        ("compliant", {"rollout_stage": "stage3"}, (False, False)),
        ("intentional_exception", {"mode": "live", "rollout_stage": "stage2", "live_approved": True}, (True, False)),
        ("violation", {"mode": "live", "rollout_stage": "stage2"}, (False, True)),
    ],
)
def test_policy_when_shown_then_every_field_says_what_was_resolved(
    classified: str, changes: dict[str, Any], active: tuple[bool, bool]
) -> None:
    """The status payload is the resolution, field by field, with the switches it came from."""
    switches = _switches(adjustment_allowed=True, **changes)
    resolution = resolve_policy(switches)
    assert resolution.as_json() == {
        "classification": classified,
        "rollout_stage": switches.rollout_stage,
        "configured_fail_mode": "veto",
        "effective_fail_mode": "veto" if classified == "compliant" else "pass_through",
        "expected_fail_mode": "veto" if classified == "compliant" else "pass_through",
        "stage_policy_violation": resolution.stage_policy_violation,
        "fail_mode_exception_active": active[0],
        "fail_mode_violation_active": active[1],
        "policy_exceptions": list(resolution.policy_exceptions),
        "guardrail_reasons": list(resolution.guardrail_reasons),
        "reasoning": resolution.reasoning,
        "source_inputs": {
            "trading_mode": switches.mode,
            "llm_enabled": True,
            "llm_shadow_mode": True,
            "llm_adjustment_allowed": True,
            "llm_fail_mode": "veto",
            "llm_fail_mode_enforcement": "configured",
            "llm_fail_open_live_approved": switches.live_approved,
        },
    }
