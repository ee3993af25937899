"""What the report points at is there: runbooks, and a Role that allows exactly what is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tests.fakes import torghut_cluster as base
from tests.fakes.incidents import fail_job, newest_fails
from tests.fakes.kubernetes_api import serve
from torghut_core.rfc3339 import parse_ns
from torghutctl.assets import folder
from torghutctl.cli import app
from torghutctl.health.reasons import REASONS
from torghutctl.snapshot.reader import read
from torghutctl.snapshot.target import Target

OWN_RUNBOOKS = sorted({row.runbook for row in REASONS.values() if row.runbook})


def _role_rules() -> set[tuple[str, str, str, str]]:
    text = (folder("manifests") / "rbac" / "health-reader.yaml").read_text()
    return {
        (item["metadata"]["namespace"], group, resource, verb)
        for item in yaml.safe_load_all(text)
        if item["kind"] == "Role"
        for rule in item["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _right(path: str) -> tuple[str, str, str, str]:
    """Return the right that the API server asks of a request: namespace, group, resource, verb."""
    parts = path.split("?")[0].strip("/").split("/")
    group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
    assert rest[0] == "namespaces"
    namespace, resource, *more = rest[1:]
    if not more:
        return namespace, group, resource, "list"
    return namespace, group, f"{resource}/{more[1]}" if len(more) > 1 else resource, "get"


def test_role_when_everything_is_read_then_allows_exactly_that(tmp_path: Path) -> None:
    """The requests of a reading need every right of the Role and no other; none is on Secrets, none writes."""
    cluster = base.healthy()
    fail_job(cluster)
    newest_fails(cluster, old_serves=True)
    with serve(cluster, tmp_path) as kubeconfig:
        read(Target(kubeconfig=kubeconfig), at_ns=parse_ns(base.NOW), process={})
    # Discovery is every authenticated user's (`system:discovery`), and no right of a Role.
    asked = {_right(path) for path in cluster.requests if path != "/apis"}
    assert _role_rules() == asked
    assert {"get", "list"} == {verb for *_, verb in asked}
    assert not any("secrets" in resource for _, _, resource, _ in asked)


def test_role_manifest_when_rendered_then_is_what_is_shipped() -> None:
    """The shipped Role is what the script writes from the program's list of sources."""
    from importlib.util import module_from_spec, spec_from_file_location

    path = Path(__file__).resolve().parents[3] / "scripts" / "render_reader_role.py"
    spec = spec_from_file_location("render_reader_role", path)
    assert spec is not None and spec.loader is not None
    module: Any = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.render() == (folder("manifests") / "rbac" / "health-reader.yaml").read_text()


@pytest.mark.parametrize("name", sorted(REASONS))
def test_next_step_when_named_by_a_reason_then_runbook_and_command_exist(name: str) -> None:
    """The runbook is shipped, and the command that is ready to paste takes the options it is shown with."""
    row = REASONS[name]
    assert (folder("runbooks") / f"{row.next_step}.md").is_file()
    if row.procedure is not None:
        words = [row.procedure, *([row.subcommand] if row.subcommand else []), "--help"]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0
        for option in ("--environment", "--repo", "--reason"):
            assert option in result.stdout


@pytest.mark.parametrize("name", OWN_RUNBOOKS)
def test_runbook_when_named_by_a_reason_then_is_there_and_names_it(name: str) -> None:
    """A runbook exists and says which reasons it is for."""
    text = (folder("runbooks") / f"{name}.md").read_text()
    for row in REASONS.values():
        if row.runbook == name and row.component != "freshness":
            assert f"`{row.name}`" in text
