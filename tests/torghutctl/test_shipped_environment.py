"""What the manifests set is what the runtimes read: each workload's environment as a pod would have it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from torghut_core.settings import known_variables, load, told_unknown
from torghutctl.cli import app
from torghutctl.commands.explain_config import RUNTIMES, settings_class

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {"uri": "postgresql://torghut:x@torghut-db-rw:5432/torghut"}
"""Sample contents of Secrets by key; any other key is a word."""


def documents() -> Iterator[dict[str, Any]]:
    for path in sorted((ROOT / "manifests").rglob("*.yaml")):
        yield from (item for item in yaml.safe_load_all(path.read_text()) if item)


def containers(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the containers of a workload of any kind."""
    spec = document.get("spec", {})
    template = spec.get("template") or spec.get("podTemplate") or {}
    yield from template.get("spec", {}).get("containers", [])


def environment(container: dict[str, Any]) -> dict[str, str]:
    """Return the variables that the container gets: ConfigMaps, then its own, Secrets with a sample."""
    maps = {d["metadata"]["name"]: d["data"] for d in documents() if d["kind"] == "ConfigMap"}
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= maps[source["configMapRef"]["name"]]
    for entry in container.get("env", []):
        if "value" in entry:
            assert isinstance(entry["value"], str), entry
            found[entry["name"]] = entry["value"]
        else:
            key = entry["valueFrom"]["secretKeyRef"]["key"]
            found[entry["name"]] = SECRETS.get(key, "sample")
    return found


def workloads() -> list[tuple[str, str, dict[str, str]]]:
    """Return what the tree runs: (workload, runtime, environment)."""
    found = []
    for document in documents():
        for container in containers(document):
            arguments = container.get("args", [])
            if arguments[:1] == ["run"]:
                found.append((document["metadata"]["name"], arguments[1], environment(container)))
            elif document["kind"] == "FlinkDeployment":
                found.append((document["metadata"]["name"], "ta", environment(container)))
    return found


SHIPPED = workloads()


def test_tree_when_looked_at_then_it_runs_every_runtime() -> None:
    """A test that finds no workload would prove nothing."""
    assert {runtime for _, runtime, _ in SHIPPED} == set(RUNTIMES)


@pytest.mark.parametrize(("name", "runtime", "values"), SHIPPED, ids=[name for name, *_ in SHIPPED])
def test_workload_when_its_environment_is_read_then_every_name_is_known_and_it_loads(
    name: str, runtime: str, values: dict[str, str]
) -> None:
    """No variable that nothing reads, no value that stops the start."""
    model = settings_class(runtime)
    assert told_unknown(model, values) == []
    load(model, values)


def test_families_when_another_runtime_reads_one_of_their_names_then_it_is_no_slip() -> None:
    """One machine has one environment for all of them."""
    known = {runtime: known_variables(settings_class(runtime)) for runtime in RUNTIMES}
    for runtime, names in known.items():
        model = settings_class(runtime)
        others = frozenset().union(*(theirs for other, theirs in known.items() if other != runtime)) - names
        assert {name for name in others if name.startswith(model.families)} == model.elsewhere


def test_one_machine_when_it_sets_a_variable_then_a_runtime_reads_it() -> None:
    """A name that nobody reads leads nowhere, and every command that reads the folder's environment warns of it."""
    models = [settings_class(runtime) for runtime in RUNTIMES]
    known = frozenset().union(*map(known_variables, models))
    families = tuple(family for model in models for family in model.families)
    text = "".join(path.read_text() for path in (ROOT / "torghutctl" / "onemachine").glob("*.py"))
    named = {name for name in re.findall(r'"([A-Z][A-Z0-9_]+)":', text) if name.startswith(families)}
    assert {"APCA_API_BASE_URL", "TRADING_POLL_MS"} <= named
    assert named - known == set()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_settings_when_they_are_listed_then_each_says_what_it_means(runtime: str) -> None:
    """The reference and `explain-config -o json` have a sentence beside every variable."""
    fields = settings_class(runtime).model_fields
    assert [name for name, field in fields.items() if not (field.description or "").endswith(".")] == []


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_explain_config_when_a_name_is_misspelt_then_it_is_named_with_the_one_that_is_meant(
    runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A switch that is spelt wrong never passes in silence."""
    values = next(values for _, named, values in SHIPPED if named == runtime)
    family = settings_class(runtime).families[0]
    for key in [key for key in os.environ if key.startswith(family)]:
        monkeypatch.delenv(key)
    for key, value in {**values, f"{family}NO_SUCH_THING": "1"}.items():
        monkeypatch.setenv(key, value)
    done = CliRunner().invoke(app, ["explain-config", runtime, "-o", "json"])
    assert (done.exit_code, f"{family}NO_SUCH_THING: is not known and has no effect" in done.stdout) == (0, True)
    assert "postgresql://" not in done.stdout


def test_explain_config_when_the_kill_switch_is_misspelt_then_the_right_name_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the table too, and a value that breaks its rule ends with 2."""
    monkeypatch.setenv("TRADING_KILLSWITCH_ENABLED", "true")
    done = CliRunner().invoke(app, ["explain-config", "trading", "--set"])
    assert "is TRADING_KILL_SWITCH_ENABLED meant?" in done.stdout
    monkeypatch.setenv("TRADING_MODE", "real")
    assert CliRunner().invoke(app, ["explain-config", "trading"]).exit_code == 2
    assert CliRunner().invoke(app, ["explain-config", "nothing"]).exit_code == 2


def test_load_when_a_name_is_unknown_then_the_start_warns(caplog: pytest.LogCaptureFixture) -> None:
    """Every runtime says so in its log."""
    load(settings_class("guardrails"), {"GUARDRAILS_PORTS": "1"})
    assert [record.message for record in caplog.records] == [
        "GUARDRAILS_PORTS: is not known and has no effect; is GUARDRAILS_PORT meant?"
    ]


def test_explain_config_when_variables_are_named_then_only_they_are_told_with_what_they_mean() -> None:
    """In the order asked, by any of their spellings, each once; the value in force, where it is from, and the sentence."""
    asked = ["explain-config", "trading", "TRADING_MODE", "DATABASE_URL", "DB_DSN"]
    done = CliRunner().invoke(app, asked, env={"DB_DSN": "postgresql://u:hunter22@h/x", "COLUMNS": "200"})
    assert done.exit_code == 0
    _heading, mode, dsn, *means = done.stdout.splitlines()
    assert [line.split() for line in (mode, dsn)] == [
        ["TRADING_MODE", "paper", "default"],
        ["DB_DSN", "(hidden)", "environment"],
    ]
    assert [line.partition(": ")[0] for line in means] == ["TRADING_MODE", "DB_DSN"]
    assert all(line.partition(": ")[2].endswith(".") for line in means)


def test_explain_config_when_a_variable_is_not_read_then_exit_2_and_the_one_that_is_meant() -> None:
    """The variable, the value and the rule, as for every argument."""
    done = CliRunner().invoke(app, ["explain-config", "ta", "TA_LATE_TRADE"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "VARIABLE TA_LATE_TRADE: is not read by ta" in done.stderr
    assert "is TA_LATE_TRADES meant?" in done.stderr
    done = CliRunner().invoke(app, ["explain-config", "ta", "nonsense"])
    assert "torghutctl explain-config ta lists what is" in done.stderr
