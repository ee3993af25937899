"""What the runtime says of its lanes: kept, and logged when it changes."""

from __future__ import annotations

import logging

import pytest

from torghut_core.errors import EngineUnavailableError
from torghut_core.trading.status import RunState


def test_lanes_when_they_fail_and_heal_then_each_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A lane that fails twice a second for an hour is one line, and each other error one more; a secret is in none."""
    state = RunState()
    away, slow = EngineUnavailableError("DB_DSN: database unavailable (no new connection)"), ValueError("hunter22")
    with caplog.at_level(logging.INFO):
        for error in (away, away, slow, slow, away):
            state.failed("reconcile", error)
        assert state.last_error == "reconcile: DB_DSN: database unavailable (no new connection)"
        state.succeeded("reconcile", 1.0)
        state.succeeded("reconcile", 2.0)
    said = [(record.getMessage(), vars(record)["fields"].get("error")) for record in caplog.records]
    assert said == [
        ("lane_failed", str(away)),
        ("lane_failed", "internal error (ValueError)"),
        ("lane_failed", str(away)),
        ("lane_healed", None),
    ]
    assert (state.last_error, state.succeeded_at) == (None, {"reconcile": 2.0})
