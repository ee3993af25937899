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
