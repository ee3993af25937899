"""Incidents driven by somebody who knows the phrase and otherwise only what the last command printed.

The right procedure in three commands, the right runbook in two, or nothing where nothing is wrong.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import incidents, incidents_compound, incidents_single, torghut_cluster
from tests.fakes.kubernetes_api import serve

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

assert incidents_compound and incidents_single, "importing them registers their cases"


def chosen(step: str, count: int) -> list[incidents.Case]:
    """Return the first incidents whose next step is this one."""
    return [case for case in incidents.CASES if case.next == step][:count]


PROCEDURES = [
    *chosen("restart-ws", 3),
    *chosen("suspend-ta", 2),
    *chosen("restart-ta", 2),
    *chosen("pause-trading", 3),
]
RUNBOOKS = [*chosen("rotate-credentials", 1), *chosen("kafka-recovery", 1), *chosen("forwarder-config", 1)]


class Operator:
    """Runs what was printed, as it was printed, and remembers how many commands that took."""

    def __init__(self, run: Callable[..., Any]) -> None:
        self._run = run
        self.commands = 0
        self.said = ""

    def paste(self, line: str, *more: str) -> tuple[int, dict[str, Any]]:
        """Run a printed line, asking for JSON; return exit code and document."""
        self.commands += 1
        words = shlex.split(line)
        assert words[0] == "torghutctl", line
        done = self._run(*words[1:], *more, "-o", "json")
        assert "Traceback" not in done.stderr, done.stderr
        self.said = done.stderr
        return done.returncode, json.loads(done.stdout)


def report(operator: Operator, case: incidents.Case, cluster: Path, gitops: Any) -> tuple[int, dict[str, Any]]:
    where = f"--kubeconfig {shlex.quote(str(cluster))} --repo {shlex.quote(str(gitops.bare))}"
    return operator.paste(f"torghutctl health-report {where} --at {case.at}")


@pytest.mark.parametrize("case", PROCEDURES, ids=lambda case: case.name)
def test_operator_when_a_procedure_helps_then_it_is_a_pull_request_in_three_commands(
    case: incidents.Case, run: Any, gitops: Any, tmp_path: Path
) -> None:
    """Report, plan, act: each line comes from the one before, and only the phrase is added."""
    cluster = torghut_cluster.healthy(case.at)
    case.bend(cluster)
    operator = Operator(run)
    with serve(cluster, tmp_path) as kubeconfig:
        code, seen = report(operator, case, kubeconfig, gitops)
        assert (code in (3, 4), seen["nextProcedure"]["name"]) == (True, case.next)
        code, plan = operator.paste(seen["nextProcedure"]["command"])
        assert (code, plan["procedure"], plan["result"]) == (0, case.next, None), operator.said
        assert "ACTUATE_TORGHUT" not in json.dumps(plan) + operator.said
        code, done = operator.paste(plan["act"], "--confirm", "ACTUATE_TORGHUT")
    assert (code, done["digest"], done["result"]["pullRequest"]["number"]) == (0, plan["digest"], 1), operator.said
    assert operator.commands == 3
    assert "follow it: torghutctl" in operator.said
    assert "--pr --wait --pull-request 1" in operator.said


@pytest.mark.parametrize("case", RUNBOOKS, ids=lambda case: case.name)
def test_operator_when_a_person_has_to_decide_then_the_runbook_opens_by_what_was_printed(
    case: incidents.Case, run: Any, gitops: Any, tmp_path: Path
) -> None:
    """The report names it, and the name opens it."""
    cluster = torghut_cluster.healthy(case.at)
    case.bend(cluster)
    operator = Operator(run)
    with serve(cluster, tmp_path) as kubeconfig:
        _, seen = report(operator, case, kubeconfig, gitops)
    step = seen["nextProcedure"]
    assert (step["name"], step["command"]) == (case.next, None)
    code, book = operator.paste(f"torghutctl runbook {step['runbook']}")
    assert (code, book["name"], operator.commands) == (0, case.next, 2)


def test_operator_when_nothing_is_wrong_then_nothing_is_next(run: Any, gitops: Any, tmp_path: Path) -> None:
    """One command, and no step."""
    case = next(case for case in incidents.CASES if case.classification == "healthy" and case.top is None)
    cluster = torghut_cluster.healthy(case.at)
    operator = Operator(run)
    with serve(cluster, tmp_path) as kubeconfig:
        code, seen = report(operator, case, kubeconfig, gitops)
    assert (code, seen["nextProcedure"], operator.commands) == (0, None, 1)
