"""How a refusal is told: every closed gate, each cause once, and what would open it."""

from __future__ import annotations

import pytest

from torghutctl.errors import RefusedError
from torghutctl.planning.gates import GateAnswer, require_open, told

AWAY = "unreachable (kubeconfig x: cannot be used)"


def test_told_when_several_share_a_cause_then_it_is_told_once_with_its_kind() -> None:
    """What could not be read comes together; what was read and is bad stays with its name."""
    closed = [("a", f"one/source: {AWAY}"), ("b", "git has it on: x.yaml"), ("c", f"two/source: {AWAY}"), ("d", "no")]
    assert told(closed) == f"a, c: not known, {AWAY}; b: git has it on: x.yaml; d: no"


def test_require_open_when_evidence_and_an_option_are_missing_then_the_hint_has_both() -> None:
    """An option is named as it is typed, the world by the gates' names."""
    answers = [
        GateAnswer(name="reason", is_open=False, detail="no reason was given", opens_with="--reason TEXT"),
        GateAnswer(name="confirm", is_open=True, detail="exact", opens_with="--confirm ACTUATE_TORGHUT"),
        GateAnswer(name="data is fresh", is_open=False, detail="there are no bars", opens_with=""),
    ]
    with pytest.raises(RefusedError, match="reason: no reason was given; data is fresh: there are no bars") as caught:
        require_open(answers)
    assert caught.value.hint == "--reason TEXT; make it so, or find out why it cannot be read: data is fresh"
