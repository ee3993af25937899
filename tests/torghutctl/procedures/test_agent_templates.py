"""The documents for the AgentRun platform are what the procedures say, pass every check, and lose nothing when bent."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tests.fakes.agent_runs import (
    ACTUATION,
    BENDS,
    CHANGES,
    DIAGNOSTICS,
    EVERY,
    FILLED,
    UNSEEN_BY_ADMISSION,
    UPDATES,
    bent,
    filled,
    stored,
)
from torghutctl.cli import app
from torghutctl.procedures.agent_checks import problems_of, problems_of_all
from torghutctl.procedures.agent_policy import broken_rules, policy
from torghutctl.procedures.agent_schema import SPECS as SCHEMAS
from torghutctl.procedures.agent_templates import (
    agent_run,
    agents,
    command_line,
    implementation_spec,
    shown_command,
)
from torghutctl.procedures.catalogue import SPECS

ROOT = Path(__file__).resolve().parents[3]
CRDS = ROOT.parent / "shared" / "crds"


def test_files_when_rendered_then_the_stored_ones_are_the_same() -> None:
    """Run scripts/write_agent_templates.py after a SPEC changed; every document is in the kustomization but the runs."""
    from importlib.util import module_from_spec, spec_from_file_location

    found = spec_from_file_location("write_agent_templates", ROOT / "scripts" / "write_agent_templates.py")
    assert found is not None and found.loader is not None
    module: Any = module_from_spec(found)
    found.loader.exec_module(module)
    by_hand = {"rbac.yaml", "kustomization.yaml"}
    written = {path.name: path.read_text() for path in (ROOT / "agentruns").glob("*.yaml") if path.name not in by_hand}
    assert module.files() == written
    listed = yaml.safe_load((ROOT / "agentruns" / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(["rbac.yaml", *(name for name in written if not name.endswith(".agentrun.yaml"))])


@pytest.mark.parametrize(("name", "purpose"), EVERY)
def test_run_when_filled_in_then_it_passes_and_when_not_it_does_not(name: str, purpose: str) -> None:
    """A template as it is stored is no permission."""
    change = CHANGES[name]
    documents = [*agents(), implementation_spec(change, purpose), filled(change, purpose)]
    assert problems_of_all(documents, CHANGES) == []
    assert any("placeholder" in problem for problem in problems_of(agent_run(change, purpose), CHANGES))


def test_changes_when_they_delete_or_act_outside_git_then_they_have_diagnostics_alone() -> None:
    """restore-replica never acts in a run, and a replay from scratch neither."""
    assert CHANGES["restore-replica"].purposes == (DIAGNOSTICS,)
    scratch = filled(CHANGES["replay-ta"], ACTUATION, step="start", mode="from-scratch")
    assert [problem.split(":")[0] for problem in problems_of(scratch, CHANGES)] == ["spec.parameters.mode"]
    status = filled(CHANGES["replay-ta"], ACTUATION, step="status")
    assert [problem.split(":")[0] for problem in problems_of(status, CHANGES)] == ["spec.parameters.step"]


@pytest.mark.parametrize("case", [*BENDS, *UNSEEN_BY_ADMISSION])
def test_validate_when_one_thing_is_bent_then_it_is_found(case: str) -> None:
    """Each bend is one problem at least."""
    assert problems_of(bent(case), CHANGES)


def _is_refused_by_schema(document: dict[str, Any]) -> bool:
    """Tell whether the CRD alone refuses it, schema or CEL, so that admission never sees it."""
    from torghutctl.adapters.json_schema import violations
    from torghutctl.procedures.agent_checks import _cel, _strict

    schema = SCHEMAS["AgentRun"]
    return bool(violations(_strict(schema), document["spec"], at="spec") or _cel(schema, document["spec"], "spec"))


@pytest.mark.parametrize("case", BENDS)
def test_admission_when_one_thing_is_bent_then_the_policy_or_the_schema_denies(case: str) -> None:
    """What weakens a run never gets onto the cluster."""
    document = bent(case)
    assert broken_rules(document, CHANGES) or _is_refused_by_schema(document)


@pytest.mark.parametrize("case", UPDATES)
def test_admission_when_a_run_exists_then_what_counts_of_it_does_not_change(case: str) -> None:
    """Old and new object are compared, so that no two updates in a row can do what one may not."""
    before = stored(filled(CHANGES["pause-trading"], ACTUATION))
    after = copy.deepcopy(before)
    UPDATES[case](after)
    assert broken_rules(after, CHANGES, before=before)
    assert broken_rules(before, CHANGES, before=before) == []


def test_admission_when_labels_were_dropped_then_they_cannot_be_put_back_over_other_parameters() -> None:
    """The way around that an old policy left open: every step of it is denied."""
    before = stored(filled(CHANGES["pause-trading"], ACTUATION))
    bare = copy.deepcopy(before)
    del bare["metadata"]["labels"]
    changed = copy.deepcopy(bare)
    changed["spec"]["parameters"]["plan"] = "sha256:" + "1" * 64
    for old, new in ((before, bare), (bare, changed), (changed, {**changed, "metadata": before["metadata"]})):
        assert broken_rules(new, CHANGES, before=old)


@pytest.mark.parametrize(
    "spec",
    [
        {"agentRef": {"name": "codex-agent"}, "implementationSpecRef": {"name": "tidy-docs"}},
        {"agentRef": {"name": "codex-agent"}, "implementation": {"inline": {"text": "tidy the documents"}}},
        {
            "agentRef": {"name": "codex-agent"},
            "implementationSpecRef": {"name": "tidy"},
            "workflow": {"steps": [{"name": "one", "implementation": {"inline": {"text": "x"}}}]},
        },
    ],
)
def test_admission_when_a_run_is_not_ours_then_it_is_left_alone(spec: dict[str, Any]) -> None:
    """Other people's runs pass whatever they look like."""
    run = {"metadata": {"name": "x"}, "spec": {"runtime": {"type": "workflow"}, **spec}}
    assert broken_rules(run, CHANGES) == []


def test_command_line_when_a_value_looks_like_an_option_then_it_stays_a_value() -> None:
    """No parameter can smuggle an option in."""
    given = {"reason": "--act --pr", "cancelOrders": "true", "confirm": "x"}
    acting = command_line(CHANGES["pause-trading"], ACTUATION, given, repo="u")
    assert acting == ["pause-trading", "--reason=--act --pr", "--confirm=x", "--repo=u", "--cancel-orders", "--pr"]
    planning = command_line(CHANGES["pause-trading"], DIAGNOSTICS, given, repo="u")
    assert planning == ["pause-trading", "--repo=u", "--cancel-orders"]


@pytest.mark.parametrize(("name", "purpose"), EVERY)
def test_command_line_when_shown_then_todays_program_takes_it(name: str, purpose: str) -> None:
    """Every option that a run can carry is one of its command's."""
    change = CHANGES[name]
    given = {key: FILLED.get(key, "x") for key in change.known(purpose)} | {"cancelOrders": "true", "all": "true"}
    words = command_line(change, purpose, given, repo="u")
    path = [word for word in words if not word.startswith("--")]
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    options = {word.split("=")[0] for word in words if word.startswith("--")}
    assert [option for option in sorted(options) if f"{option} " not in shown.stdout] == []
    assert shown_command(change, purpose).startswith(f"torghutctl {name}")


def test_schema_when_held_against_the_deployed_crds_then_it_is_the_same() -> None:
    """Types, limits, enums and required fields of every path; CEL rules by what they refuse."""
    if not CRDS.is_dir():
        pytest.skip("../shared/crds is not there")
    own: dict[str, Any] = {}
    deployed: dict[str, Any] = {}
    for path in CRDS.glob("agents-*.yaml"):
        crd = yaml.safe_load(path.read_text())
        kind = crd["spec"]["names"]["kind"]
        if kind in SCHEMAS:
            _flatten(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"], kind, deployed)
            _flatten(SCHEMAS[kind], kind, own)
    assert own == deployed
    assert len(own) > 150


def _flatten(node: dict[str, Any], place: str, found: dict[str, Any]) -> None:
    limits = ("type", "enum", "maxLength", "minLength", "maxItems", "maxProperties", "minimum", "pattern")
    kept = {key: sorted(node[key]) if key == "enum" else node[key] for key in limits if key in node}
    found[place] = {**kept, "required": sorted(node.get("required", []))}
    for key, inner in node.get("properties", {}).items():
        _flatten(inner, f"{place}.{key}", found)
    for key in ("items", "additionalProperties"):
        inner = node.get(key)
        if isinstance(inner, dict) and inner.get("type"):
            _flatten(inner, f"{place}[{key}]", found)


def test_validate_when_given_the_deployed_crds_then_it_finds_the_same(tmp_path: Path) -> None:
    """`--crds` takes the CustomResourceDefinitions themselves."""
    if not CRDS.is_dir():
        pytest.skip("../shared/crds is not there")
    from torghutctl.commands.agentruns import _schemas

    schemas = _schemas(CRDS)
    assert set(schemas) >= set(SCHEMAS)
    assert [case for case in [*BENDS, *UNSEEN_BY_ADMISSION] if not problems_of(bent(case), CHANGES, schemas)] == []
    for name, purpose in EVERY:
        documents = [*agents(), implementation_spec(CHANGES[name], purpose), filled(CHANGES[name], purpose)]
        assert problems_of_all(documents, CHANGES, schemas) == []
    path = tmp_path / "run.yaml"
    path.write_text(json.dumps(bent("system prompt")))
    done = CliRunner().invoke(app, ["agentruns", "validate", str(path), "--crds", str(CRDS)])
    assert (done.exit_code, "AgentRun-level systemPrompt" in done.stdout) == (6, True)
    assert CliRunner().invoke(app, ["agentruns", "validate", str(path), "--crds", str(tmp_path)]).exit_code == 2


def test_validate_when_many_files_and_standard_input_are_given_then_each_problem_names_its_file(tmp_path: Path) -> None:
    """One bad document costs itself alone, in a table and in JSON."""
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(json.dumps(filled(CHANGES["restart-ws"], ACTUATION)))
    bad.write_text(json.dumps(bent("no digest")))
    done = CliRunner().invoke(app, ["agentruns", "validate", str(good), str(bad), "-", "-o", "json"], input="- 1\n")
    report = json.loads(done.stdout[: done.stdout.rindex("}") + 1].split('\n{"schemaVersion": "torghut.error')[0])
    assert done.exit_code == 6
    assert {item["file"] for item in report["problems"]} == {str(bad), "-"}


def test_render_when_it_would_not_validate_then_it_is_refused() -> None:
    """A run that nobody may create is not written; a template is, on request."""
    words = ["agentruns", "render", "restart-ws", "--purpose", "actuation"]
    assert CliRunner().invoke(app, words).exit_code == 6
    assert CliRunner().invoke(app, [*words, "--template"]).exit_code == 0
    assert CliRunner().invoke(app, ["agentruns", "render", "restore-replica", "--purpose", "actuation"]).exit_code == 6
    assert CliRunner().invoke(app, ["agentruns", "render", "rm"]).exit_code == 2
    given = [word for key in CHANGES["restart-ws"].required(ACTUATION) for word in ("-p", f"{key}={FILLED.get(key)}")]
    given[given.index("change=None")] = "change=restart-ws"
    for output in ([], ["-o", "yaml"]):
        done = CliRunner().invoke(app, [*words, *given, *output])
        documents = list(yaml.safe_load_all(done.stdout))
        assert [item["kind"] for item in documents] == ["ImplementationSpec", "AgentRun"]
        assert documents[1]["spec"]["parameters"]["head"] == "agentruns/torghut-restart-ws-20260302-1430-00000000"


def test_validate_when_a_run_stands_before_its_specification_then_it_is_told() -> None:
    """The platform gives a run up for good whose specification does not exist yet."""
    change = CHANGES["restart-ws"]
    documents = [filled(change, ACTUATION), implementation_spec(change, ACTUATION)]
    assert [problem.split(":")[0] for problem in problems_of_all(documents, CHANGES)] == ["document 1"]


def test_validate_when_a_specification_of_ours_was_changed_then_it_is_told() -> None:
    """Nobody may put other words under a name of ours."""
    document = implementation_spec(CHANGES["restart-ws"], ACTUATION)
    document["spec"]["text"] += "Merge it too.\n"
    assert problems_of(document, CHANGES)


def test_policy_when_written_then_it_fails_closed() -> None:
    """Denies and audits; an expression that fails denies."""
    found, binding = policy(CHANGES)
    assert (found["spec"]["failurePolicy"], binding["spec"]["validationActions"]) == ("Fail", ["Deny", "Audit"])


def test_templates_when_listed_then_every_procedure_has_them() -> None:
    """A procedure without a diagnostics run is a hole."""
    assert set(CHANGES) == {*SPECS, "health-report"}
    assert all(DIAGNOSTICS in change.purposes for change in CHANGES.values())
