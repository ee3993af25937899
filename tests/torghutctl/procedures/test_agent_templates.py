"""The templates are what the procedures say, pass their own check, and lose nothing when something is missing."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from torghut_core.rfc3339 import parse_ns
from torghutctl.commands.agentruns import template_text
from torghutctl.environments import Environment
from torghutctl.planning.plan import Draft, Plan
from torghutctl.procedures import pause_trading, restart_ta, restart_ws, suspend_ta
from torghutctl.procedures.agent_templates import (
    agent_run,
    command_line,
    implementation_spec,
    is_actuation,
    problems_of,
)
from torghutctl.procedures.catalogue import SPECS
from torghutctl.procedures.specification import PlanningInput
from torghutctl.snapshot.repository import Tree, TreeFile

ROOT = Path(__file__).resolve().parents[3]
FILLED = {
    "environment": "staging",
    "repo": "https://github.example/acme/lab",
    "reason": "stale data",
    "confirm": "ACTUATE_TORGHUT",
    "plan": "sha256:" + "0" * 64,
    "id": "gap-1",
    "step": "status",
}


@pytest.mark.parametrize("name", SPECS)
def test_template_when_rendered_then_the_stored_file_is_the_same(name: str) -> None:
    """Run scripts/write_agent_templates.py after a SPEC changed."""
    stored = [(ROOT / "agentruns" / f"{name}.{kind}.yaml").read_text() for kind in ("agentrun", "implementationspec")]
    assert [template_text(agent_run(SPECS[name])), template_text(implementation_spec(SPECS[name]))] == stored


@pytest.mark.parametrize("name", SPECS)
def test_template_when_filled_in_then_it_passes_and_when_not_it_does_not(name: str) -> None:
    """A template as it is stored is no permission."""
    spec = SPECS[name]
    assert problems_of(implementation_spec(spec), SPECS) == []
    required = set(implementation_spec(spec)["spec"]["contract"]["requiredKeys"])
    filled = agent_run(spec, {key: value for key, value in FILLED.items() if key in required})
    assert problems_of(filled, SPECS) == []
    assert (problems_of(agent_run(spec), SPECS) != []) == (is_actuation(spec) or "step" in required)


def test_restore_and_replay_when_rendered_then_they_are_diagnostics_only() -> None:
    """Nothing that deletes has a run that may write."""
    for name in ("replay-ta", "restore-replica"):
        document = agent_run(SPECS[name])
        assert document["spec"]["vcsPolicy"] == {"required": False, "mode": "read-only"}
        assert "torghut.proompteng.ai/actuation" not in document["metadata"]["labels"]
        assert "--pr" not in command_line(SPECS[name], FILLED)[0]


BENT: dict[str, Callable[[dict[str, Any]], Any]] = {
    "label missing": lambda d: d["metadata"]["labels"].pop("torghut.proompteng.ai/actuation"),
    "label a boolean": lambda d: d["metadata"]["labels"].update({"torghut.proompteng.ai/actuation": True}),
    "purpose another": lambda d: d["metadata"]["labels"].update({"torghut.proompteng.ai/purpose": "diagnostics"}),
    "policy missing": lambda d: d["spec"].pop("vcsPolicy"),
    "policy without mode": lambda d: d["spec"]["vcsPolicy"].pop("mode"),
    "no steps": lambda d: d["spec"].pop("workflow"),
    "no confirmation": lambda d: d["spec"]["parameters"].pop("confirm"),
    "blank reason": lambda d: d["spec"]["parameters"].update(reason=" "),
    "no digest": lambda d: d["spec"]["parameters"].update(plan="latest"),
    "unknown parameter": lambda d: d["spec"]["parameters"].update(force="true"),
    "unknown change": lambda d: d["spec"]["parameters"].update(change="rm"),
    "number": lambda d: d["spec"]["parameters"].update(ticket=7),
    "too long": lambda d: d["spec"]["parameters"].update(reason="ü" * 1025),
    "another kind": lambda d: d.update(kind="Pod"),
}


@pytest.mark.parametrize("case", BENT)
def test_problems_when_something_is_bent_then_it_is_found(case: str) -> None:
    """Each bend is one problem at least."""
    document = copy.deepcopy(
        agent_run(SPECS["pause-trading"], {k: v for k, v in FILLED.items() if k not in ("id", "step")})
    )
    assert problems_of(document, SPECS) == []
    BENT[case](document)
    assert problems_of(document, SPECS)


def test_command_line_when_a_value_looks_like_an_option_then_it_stays_a_value() -> None:
    """No parameter can smuggle an option in."""
    arguments, problems = command_line(SPECS["pause-trading"], {"reason": "--act --pr", "cancelOrders": "true"})
    assert (arguments, problems) == (["pause-trading", "--reason=--act --pr", "--cancel-orders", "--pr"], [])


@pytest.mark.slow
def test_exec_when_the_run_is_complete_then_it_opens_the_pull_request(gitops: Any, tmp_path: Path) -> None:
    """Plan first, as a person reviews it; then the run with its digest, in a process that is inside an AgentRun."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    call = [sys.executable, "-m", "torghutctl"]
    shown = subprocess.run(
        [*call, "pause-trading", "--repo", str(gitops.bare), "-o", "json"],
        env=environment,
        capture_output=True,
        check=True,
    )
    digest = json.loads(shown.stdout)["digest"]
    parameters = {
        "environment": "default",
        "repo": str(gitops.bare),
        "plan": digest,
        "reason": "why",
        "confirm": "ACTUATE_TORGHUT",
    }
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"agentRun": agent_run(SPECS["pause-trading"], parameters)}))
    inside = {**environment, "AGENT_RUN_SPEC": str(path)}
    done = subprocess.run([*call, "agentruns", "exec"], env=inside, capture_output=True, text=True, check=False)
    assert (done.returncode, "refs/torghut/pull-requests/1" in gitops.refs()) == (0, True), done.stderr
    path.write_text(json.dumps({"agentRun": agent_run(SPECS["pause-trading"], {**parameters, "plan": FILLED["plan"]})}))
    other = subprocess.run([*call, "agentruns", "exec"], env=inside, capture_output=True, text=True, check=False)
    assert other.returncode == 7


def test_policy_when_parsed_then_it_fails_closed_and_knows_every_gate() -> None:
    """The admission policy is YAML, denies, and names each value that the platform does not compare."""
    policy, binding = yaml.safe_load_all((ROOT / "agentruns/policy.yaml").read_text())
    text = json.dumps(policy["spec"]["validations"])
    assert (policy["spec"]["failurePolicy"], binding["spec"]["validationActions"]) == ("Fail", ["Deny", "Audit"])
    assert all(
        word in text for word in ("ACTUATE_TORGHUT", "sha256:", "read-write", "actuation", "replay-ta", "oldObject")
    )


def inputs() -> PlanningInput:
    folder = ROOT / "manifests"
    files = {
        f"a/{p.relative_to(folder)}": TreeFile(
            path=f"a/{p.relative_to(folder)}", blob="b", mode="100644", data=p.read_bytes()
        )
        for p in sorted(folder.rglob("*.yaml"))
    }
    return PlanningInput(
        tree=Tree(folder="a", commit="c", files=files),
        environment=Environment(),
        at_ns=parse_ns("2026-03-04T05:06:07Z"),
    )


@pytest.mark.parametrize("module", [pause_trading, restart_ws, suspend_ta, restart_ta])
def test_procedure_when_planned_twice_then_the_digest_is_the_same_and_only_declared_paths_change(module: Any) -> None:
    """Deterministic, and never outside what the SPEC declares; never the mode, the live switch or a secret."""

    def plan(draft: Draft) -> Plan:
        return Plan(procedure="x", arguments={}, environment="e", base="main@c", draft=draft)

    first, second = plan(module.plan(inputs())), plan(module.plan(inputs()))
    declared = module.SPEC.paths
    paths = {edit.path.removeprefix("a/") for edit in first.draft.edits}
    assert first.digest == second.digest
    assert paths and (declared == ("*",) or paths <= set(declared))
    changed = "\n".join(
        line
        for e in first.draft.edits
        for line in e.diff.splitlines()
        if line[:1] in "+-" and line[:3] not in ("+++", "---")
    )
    assert not any(word in changed for word in ("TRADING_MODE", "TRADING_LIVE_ENABLED", "secret"))


@pytest.mark.parametrize(("name", "is_refused"), [("resume-ta", True), ("restart-ws", False), ("replay-ta", False)])
def test_command_line_when_a_run_gives_a_time_then_only_what_starts_something_is_refused(
    name: str, is_refused: bool
) -> None:
    """A restart is stamped with it, a plan is made for it; a start is decided by the clock."""
    given = {"at": "2026-03-04T15:06:07Z", "step": "status"} if name == "replay-ta" else {"at": "2026-03-04T15:06:07Z"}
    problems = command_line(SPECS[name], given)[1]
    assert [problem.startswith("parameters.at") for problem in problems] == [True] * is_refused
