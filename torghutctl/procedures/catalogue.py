"""Every procedure by name."""

from __future__ import annotations

from torghutctl.procedures import (
    pause_trading,
    replay_ta,
    restart_ta,
    restart_ws,
    restore_replica,
    resume_ta,
    resume_trading,
    rollback_image,
    suspend_ta,
)
from torghutctl.procedures.specification import Spec

SPECS: dict[str, Spec] = {
    module.SPEC.name: module.SPEC
    for module in (
        pause_trading,
        resume_trading,
        restart_ws,
        suspend_ta,
        resume_ta,
        restart_ta,
        rollback_image,
        replay_ta,
        restore_replica,
    )
}
"""In the order of the command line."""
