"""The command line that carries out a plan as it was shown: everything but the confirmation."""

from __future__ import annotations

import shlex
from dataclasses import replace

from torghut_core.rfc3339 import format_ns
from torghutctl.actuation.request import Request
from torghutctl.environments import DEFAULT_NAME
from torghutctl.planning.gates import CONFIRM_PHRASE, ask_gates
from torghutctl.planning.plan import Plan
from torghutctl.procedures.specification import Danger


def act_line(request: Request, plan: Plan, *, has_remote: bool) -> str | None:
    """Return the line; None where nothing is to do, where acting is for a person alone, or a gate besides is closed.

    The phrase is left out, and whoever acts adds it: what is copied from a plan changes nothing by itself.
    """
    is_for_review = request.spec.danger is not Danger.EMERGENCY and not request.only_a_person and not plan.draft.actions
    if plan.is_empty or not is_for_review or not has_remote or (plan.draft.skipped and not request.spec.is_stop):
        return None
    answers = ask_gates(plan, replace(request.intent, confirm=CONFIRM_PHRASE))
    if not all(answer.is_open for answer in answers):
        return None
    environment = request.environment.name
    words = [
        "torghutctl",
        *request.words,
        *(("-e", environment) if request.environment.is_named or environment != DEFAULT_NAME else ()),
        *(word for pair in request.options for word in pair),
        *("--reason", " ".join(request.intent.reason.split())),
        *(("--ticket", request.ticket) if request.ticket else ()),
        *(("--at", format_ns(request.at_ns)) if request.spec.is_stamped else ()),
        *("--plan", plan.digest),
        "--pr",
    ]
    return shlex.join(words)
