"""health-report, snapshot and status from the command line: formats, exit codes, bundles, a local folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.fakes import torghut_cluster as base
from tests.fakes.incidents import stop_forwarder
from tests.fakes.kubernetes_api import Cluster, Fault, serve
from torghutctl.cli import app
from torghutctl.commands.health_report import follow
from torghutctl.health.differences import explain
from torghutctl.health.reasons import REASONS
from torghutctl.render.health_view import changes

RUNNER = CliRunner()


@pytest.fixture
def cluster() -> Cluster:
    return base.healthy()


@pytest.fixture
def kubeconfig(cluster: Cluster, tmp_path: Path) -> Iterator[Path]:
    with serve(cluster, tmp_path) as path:
        yield path


def _run(*arguments: str | Path) -> Any:
    return RUNNER.invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("form", ["table", "markdown", "json", "yaml"])
def test_health_report_when_live_and_offline_then_same_bytes(
    cluster: Cluster, kubeconfig: Path, form: str, tmp_path: Path
) -> None:
    """What --record wrote gives byte for byte the report that was shown, the paste-ready command included."""
    stop_forwarder(cluster, "alpaca_406_second_connection")
    path = tmp_path / "incident.tar.gz"
    live = _run(
        "health-report",
        "--kubeconfig",
        kubeconfig,
        "--at",
        base.NOW,
        "--record",
        path,
        "-o",
        form,
        "--repo",
        tmp_path / "no repo",
    )
    offline = _run("health-report", "--from-snapshot", path, "-o", form)
    assert (4, live.stdout) == (offline.exit_code, offline.stdout)
    assert live.exit_code == 4
    if form == "yaml":
        return  # the same text, quoted as YAML quotes it
    assert (
        f"torghutctl restart-ws --repo '{tmp_path / 'no repo'}' --kubeconfig {kubeconfig}"
        " --reason 'forwarder alpaca_406_second_connection'" in live.stdout
    )


def test_health_report_when_environment_is_live_then_bundle_is_judged_alike(
    cluster: Cluster, kubeconfig: Path, tmp_path: Path
) -> None:
    """What was declared of the environment travels in the bundle, and -e stands in the next command."""
    config = tmp_path / "environments.yaml"
    config.write_text("environments:\n  real:\n    live: true\n    repo: /srv/gitops\n")
    cluster.services[base.STATUS.format(base.TRADING_POD)] = (200, base.trading_status(mode="live", live_enabled=True))
    path = tmp_path / "bundle"
    options = ("--kubeconfig", kubeconfig, "--at", base.NOW)
    live = _run("health-report", "-e", "real", "--config", config, *options, "--record", path, "-o", "json")
    offline = _run("health-report", "--from-snapshot", path, "-o", "json")
    assert (0, 0, live.stdout) == (live.exit_code, offline.exit_code, offline.stdout)
    undeclared = _run("health-report", *options, "-o", "json")
    assert (undeclared.exit_code, json.loads(undeclared.stdout)["nextProcedure"]["name"]) == (4, "pause-trading")


def test_health_report_when_healthy_then_exit_0_and_nothing_to_do(kubeconfig: Path) -> None:
    """A healthy system has neither a cause nor a next step; progress is on standard error."""
    result = _run("health-report", "--kubeconfig", kubeconfig, "--at", base.NOW, "-o", "json")
    report = json.loads(result.stdout)
    assert (
        result.exit_code,
        report["classification"],
        report["topCause"],
        report["nextProcedure"],
    ) == (0, "healthy", None, None)
    assert "reading the cluster" in result.stderr
    assert [item["name"] for item in report["components"]] == [
        "forwarder",
        "ta",
        "clickhouse",
        "keeper",
        "postgres",
        "trading",
        "kafka",
        "argocd",
        "freshness",
    ]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--kubeconfig", "/nowhere/config"), "kubeconfig /nowhere/config: there is no such file"),
        (("--kubeconfig", "/"), "kubeconfig /: cannot be read (Is a directory)"),
        (("--at", "0001-01-01T00:00:00Z"), "--at 0001-01-01T00:00:00Z: must lie between 2013-01-01 and 2035-12-31"),
        (("--at", "2050-01-01T00:00:00Z"), "--at 2050-01-01T00:00:00Z: must lie between 2013-01-01 and 2035-12-31"),
        (("--at", "9999-12-31T23:59:59Z"), "--at 9999-12-31T23:59:59Z: must lie between"),
        (("-e", ""), "-e '': must not be empty"),
        (("--repo", ""), "--repo '': must not be empty"),
        (("--context", ""), "--context '': must not be empty"),
        (("--base", ""), "--base '': must not be empty"),
        (("--gitops-path", ""), "--gitops-path '': must not be empty"),
        (("--watch", "--from-snapshot", "/nowhere"), "--watch and --from-snapshot cannot be combined"),
        (("--local", "/nowhere"), "/nowhere"),
        (("--from-snapshot", "/nowhere"), "/nowhere"),
        (("--at", "yesterday"), "--at yesterday"),
        (("--why", "bad_luck"), "bad_luck"),
        (("-e", "nobody"), "nobody"),
        (("-o", "xml"), "xml"),
        (("--from-snapshot", "/nowhere", "--local", "/nowhere"), "--local"),
        (("--namespace", "../x?y=1"), "--namespace '../x?y=1'"),
        (("--flink-deployment", ""), "--flink-deployment ''"),
    ],
)
def test_health_report_when_usage_is_wrong_then_exit_2_and_one_line(arguments: tuple[str, ...], named: str) -> None:
    """A value that cannot be used is named; there is no traceback."""
    result = _run("health-report", *arguments)
    assert result.exit_code == 2
    assert named in result.stderr
    assert "Traceback" not in result.stderr + result.stdout


@pytest.mark.parametrize("name", sorted(REASONS))
def test_why_when_reason_is_known_then_explained(name: str) -> None:
    """Every reason says what shows it, what would change it, where it comes from and which runbook helps."""
    result = _run("health-report", "--why", name, "-o", "json")
    answer = json.loads(result.stdout)
    assert (0, name) == (result.exit_code, answer["reason"])
    assert all(answer[key] for key in ("means", "shownBy", "changedBy", "source", "runbook"))


def test_snapshot_when_written_twice_then_same_bytes(kubeconfig: Path, tmp_path: Path) -> None:
    """The same moment gives the same archive, and a folder with the same content."""
    paths = [tmp_path / name for name in ("a.tar.gz", "b.tar.gz")]
    for path in paths:
        assert _run("snapshot", path, "--kubeconfig", kubeconfig, "--at", base.NOW).exit_code == 0
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_snapshot_when_nothing_answers_then_exit_9_and_still_written(tmp_path: Path) -> None:
    """A cluster that is gone leaves a bundle that says so."""
    with serve(base.healthy(), tmp_path) as kubeconfig:
        pass
    result = _run("snapshot", tmp_path / "gone", "--kubeconfig", kubeconfig, "--at", base.NOW)
    assert result.exit_code == 9
    assert _run("health-report", "--from-snapshot", tmp_path / "gone").exit_code == 5


def test_snapshot_when_folder_holds_something_else_then_refused(kubeconfig: Path, tmp_path: Path) -> None:
    """A folder that is no bundle is not written into."""
    other = tmp_path / "mine"
    other.mkdir()
    (other / "notes.txt").write_text("keep me")
    result = _run("snapshot", other, "--kubeconfig", kubeconfig)
    assert (result.exit_code, [path.name for path in other.iterdir()]) == (2, ["notes.txt"])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("mine.tar.gz", b"my other archive", "is there already and is no bundle"),
        ("mine", b"a file", "is there already and is no bundle"),
        ("mine.zip", None, "a bundle is a folder or a file that ends in .tar.gz"),
        ("mine.gz", None, "a bundle is a folder or a file that ends in .tar.gz"),
    ],
)
def test_snapshot_when_path_cannot_be_a_bundle_then_refused_before_anything_is_read(
    name: str, content: bytes | None, words: str, cluster: Cluster, kubeconfig: Path, tmp_path: Path
) -> None:
    """The argument, its value and the rule are named, what is there stays, and the cluster is not asked."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    result = _run("snapshot", path, "--kubeconfig", kubeconfig)
    assert (result.exit_code, f"PATH {path}: {words}" in result.stderr, cluster.requests) == (2, True, [])
    assert (path.read_bytes() if path.exists() else None) == content


def test_snapshot_when_an_older_bundle_is_there_then_written_over(kubeconfig: Path, tmp_path: Path) -> None:
    """The same path twice is the newer bundle, as --record with --watch needs it."""
    for name in ("a.tar.gz", "b"):
        for at in ("2026-02-11T15:30:00Z", "2026-02-11T15:31:00Z"):
            assert _run("snapshot", tmp_path / name, "--kubeconfig", kubeconfig, "--at", at).exit_code == 0
        report = json.loads(_run("health-report", "--from-snapshot", tmp_path / name, "-o", "json").stdout)
        assert report["observedAt"] == "2026-02-11T15:31:00Z"


def test_health_report_when_context_is_unknown_then_the_known_ones_are_named(kubeconfig: Path) -> None:
    """One sentence: which file, which context, and which it has."""
    result = _run("health-report", "--kubeconfig", kubeconfig, "--context", "nope")
    words = f"error: kubeconfig {kubeconfig}, context nope: has no such context; it has test"
    assert (result.exit_code, result.stderr.splitlines()[1]) == (2, words)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(status=401), "refused to this reader (HTTP 401), all 2"),
        (Fault(body=b"<html>", status=200), "none of 24 sources gave an answer that can be used"),
    ],
)
def test_health_report_when_nothing_can_be_read_then_the_cause_says_so_and_blames_no_component(
    cluster: Cluster, kubeconfig: Path, fault: Fault, words: str
) -> None:
    """An expired token or a proxy's page is no fault of ClickHouse's; the failures are told in one line a kind."""
    cluster.faults["/"] = fault
    result = _run("health-report", "--kubeconfig", kubeconfig, "--at", base.NOW, "-o", "json")
    report = json.loads(result.stdout)
    message = report["topCause"]["message"]
    assert (result.exit_code, message.startswith("nothing of the system can be read from http://127.0.0.1:")) == (
        5,
        True,
    )
    assert f"(kubeconfig {kubeconfig}, context " in message
    assert report["topCause"]["component"] == "access"
    statuses = {item["name"]: item["status"] for item in report["components"]}
    assert (statuses["keeper"], statuses["kafka"], statuses["forwarder"]) == ("not read", "not read", "unknown")
    assert words in message
    assert "a consequence of" not in result.stdout
    assert "independent of" not in result.stdout
    assert len(result.stderr.splitlines()) <= 5


def test_health_report_when_api_server_is_gone_then_said_so(tmp_path: Path) -> None:
    """No connection is the cause's own sentence."""
    with serve(base.healthy(), tmp_path) as kubeconfig:
        pass
    result = _run("health-report", "--kubeconfig", kubeconfig, "--at", base.NOW)
    assert result.exit_code == 5
    assert "out of reach (the API server's address refuses connections), all 24" in result.stdout
    assert len(result.stdout.splitlines()) < 22


def test_status_when_everything_agrees_then_exit_0(kubeconfig: Path) -> None:
    """The live spec, the newest revision and the service say the same."""
    result = _run("status", "--kubeconfig", kubeconfig, "-o", "json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["agreement"], report["trades"]) == (0, "same", "yes, on paper")


@pytest.mark.parametrize("form", ["table", "markdown"])
def test_status_when_git_was_not_read_then_not_called_the_same(form: str, kubeconfig: Path) -> None:
    """What was not asked agrees with nothing, and pods and revision stand in both forms."""
    text = _run("status", "--kubeconfig", kubeconfig, "-o", form).stdout
    assert "cluster and service: same" in text.lower()
    assert "git, cluster and service" not in text.lower()
    asked = _run("status", "--kubeconfig", kubeconfig, "-o", form, "--repo", "/nowhere").stdout
    assert ("git was not read" in asked, "--repo /nowhere: no such folder" in asked) == (False, True)
    for part in ("git was not read: --repo", base.TRADING_POD, "created torghut-00007", "paper, enabled, running"):
        assert part in text


def test_status_when_paused_in_spec_and_still_trading_then_exit_3(cluster: Cluster, kubeconfig: Path) -> None:
    """A pause that was applied and is not effective yet shows as a difference."""
    service = base.knative_service()
    service["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "false"
    cluster.put(f"{base.KNATIVE}/services", service)
    result = _run("status", "--kubeconfig", kubeconfig, "-o", "json")
    row = next(item for item in json.loads(result.stdout)["settings"] if item["name"] == "TRADING_ENABLED")
    assert (result.exit_code, row["live"], row["effective"], row["agrees"]) == (3, "false", "true", False)
    assert row["difference"] == (
        "applied, and the newest revision was made before it. It matters: whether orders are sent follows EFFECTIVE."
    )
    assert "TRADING_ENABLED: applied, and the newest revision" in _run("status", "--kubeconfig", kubeconfig).stdout


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"git": "1", "live": "true", "effective": "yes"}, None),
        ({"git": "false", "live": "true", "effective": "true", "sync": "OutOfSync"}, "merged and not applied (Argo CD says OutOfSync)"),
        ({"live": "false", "revision": "false", "effective": "true"}, "the running process was started before it, or its database says otherwise"),
        ({"effective": "true", "others": ["false"]}, "running pods say different things: an older one has not ended"),
        ({"git": "a", "effective": None, "others": [None]}, None),
    ],
)  # fmt: skip
def test_difference_when_columns_part_then_how_far_the_change_got(columns: dict[str, Any], said: str | None) -> None:
    """The first column that says otherwise tells where the change stopped; what is not known is no difference."""
    given: dict[str, Any] = {"git": None, "live": None, "revision": None, "effective": None, **columns}
    found = explain("TRADING_ENABLED", **given)
    assert said == (None if found is None else found.split(". ")[0])


def test_status_when_service_is_silent_then_exit_5(cluster: Cluster, kubeconfig: Path) -> None:
    """Without /trading/status the effective state is unknown, whatever the manifests say."""
    del cluster.services[base.STATUS.format(base.TRADING_POD)]
    result = _run("status", "--kubeconfig", kubeconfig)
    assert result.exit_code == 5
    assert "trades: unknown" in result.stdout


def test_status_when_an_older_revision_still_trades_then_said_and_exit_3(cluster: Cluster, kubeconfig: Path) -> None:
    """A paused newest revision beside an older one that trades is no pause."""
    paused = base.trading_status(enabled=False, running=False)
    cluster.services[base.STATUS.format(base.TRADING_POD)] = (200, paused)
    cluster.put(base.PODS, base.pod(base.OLD_TRADING_POD, base.revision_labels(6), container="user-container"))
    cluster.services[base.STATUS.format(base.OLD_TRADING_POD)] = (200, base.trading_status())
    result = _run("status", "--kubeconfig", kubeconfig, "-o", "json")
    report = json.loads(result.stdout)
    row = next(item for item in report["settings"] if item["name"] == "TRADING_ENABLED")
    assert (result.exit_code, report["trades"], row["effective"], row["agrees"]) == (3, "yes, on paper", "false", False)
    assert {item["pod"]: item["enabled"] for item in report["pods"]} == {
        base.TRADING_POD: False,
        base.OLD_TRADING_POD: True,
    }


@pytest.mark.parametrize("path", [f"/{base.KNATIVE}/services", f"/{base.KNATIVE}/revisions"])
def test_status_when_a_column_cannot_be_read_then_exit_5(cluster: Cluster, kubeconfig: Path, path: str) -> None:
    """A column that is empty because nobody may read it agrees with nothing."""
    cluster.faults[path] = Fault(status=403)
    result = _run("status", "--kubeconfig", kubeconfig, "-o", "json")
    assert (result.exit_code, json.loads(result.stdout)["agreement"]) == (5, "unknown")


def test_health_report_when_watched_then_reports_until_interrupted(
    kubeconfig: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--watch shows a report, then what changed, and ends with the last report's exit code."""
    pauses = iter([lambda: stop_forwarder(cluster, "alpaca_auth")])

    def pause(_: float) -> None:
        try:
            next(pauses)()
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr("torghutctl.commands.health_report.time.sleep", pause)
    result = _run("health-report", "--kubeconfig", kubeconfig, "--at", base.NOW, "--watch")
    assert result.exit_code == 4
    assert result.stdout.startswith("HEALTHY")
    assert f"{base.NOW} healthy -> down" in result.stdout
    assert f"{base.NOW} next: rotate-credentials (runbook) (runbooks/rotate-credentials.md)" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("form", ["json", "yaml", "markdown"])
def test_health_report_when_watched_in_another_form_then_each_report_is_whole(
    kubeconfig: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Standard output stays data: a change is a report of the same form, never a loose line."""
    pauses = iter([lambda: None, lambda: stop_forwarder(cluster, "alpaca_auth")])

    def pause(_: float) -> None:
        try:
            next(pauses)()
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr("torghutctl.commands.health_report.time.sleep", pause)
    single = [_run("health-report", "--kubeconfig", kubeconfig, "--at", base.NOW, "-o", form).stdout]
    watched = _run("health-report", "--kubeconfig", kubeconfig, "--at", base.NOW, "--watch", "-o", form)
    single.append(_run("health-report", "--kubeconfig", kubeconfig, "--at", base.NOW, "-o", form).stdout)
    assert "".join(single) == watched.stdout


def test_health_report_when_watched_target_is_away_for_a_while_then_it_goes_on(
    kubeconfig: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kubeconfig that is being rewritten is told on standard error and read again."""
    text = kubeconfig.read_text()
    steps = iter([lambda: kubeconfig.write_text("{"), lambda: kubeconfig.write_text(text)])

    def pause(_: float) -> None:
        try:
            next(steps)()
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr("torghutctl.commands.health_report.time.sleep", pause)
    result = _run("health-report", "--kubeconfig", kubeconfig, "--at", base.NOW, "--watch")
    assert (result.exit_code, "not read this time: kubeconfig" in result.stderr) == (0, True)


def test_health_report_when_record_cannot_be_written_then_report_is_shown_all_the_same(
    kubeconfig: Path, tmp_path: Path
) -> None:
    """A bad --record path is a usage error that costs no verdict."""
    taken = tmp_path / "taken"
    taken.write_text("mine")
    result = _run("health-report", "--kubeconfig", kubeconfig, "--at", base.NOW, "--record", taken)
    assert (result.exit_code, result.stdout.startswith("HEALTHY"), taken.read_text()) == (2, True, "mine")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "5", "{: bad", "a\x00", '{"clusters": 5}', '{"current-context": "x", "contexts": [{"name": "x"}]}'],
)
def test_health_report_when_kubeconfig_is_nonsense_then_exit_2_names_it(text: str, tmp_path: Path) -> None:
    """Whatever stands in the file, the error is one sentence that names it."""
    path = tmp_path / "config"
    path.write_text(text)
    result = _run("health-report", "--kubeconfig", path)
    assert (result.exit_code, f"kubeconfig {path}" in result.stderr) == (2, True)
    assert "Traceback" not in result.stderr


def test_health_report_when_credential_plugin_fails_then_exit_2_without_its_words(
    kubeconfig: Path, tmp_path: Path
) -> None:
    """A plugin that gives no credential is named as such; what it wrote stays with it."""
    plugin = tmp_path / "plugin"
    plugin.write_text("#!/bin/sh\necho PLANTEDsecret >&2\nexit 1\n")
    plugin.chmod(0o755)
    config = json.loads(kubeconfig.read_text())
    config["users"][0]["user"] = {
        "exec": {"command": str(plugin), "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never"}
    }
    path = tmp_path / "with-plugin"
    path.write_text(json.dumps(config))
    result = _run("health-report", "--kubeconfig", path)
    assert (result.exit_code, "its credential plugin plugin gave no credential" in result.stderr) == (2, True)
    assert "PLANTED" not in result.stderr + result.stdout


def test_health_report_when_token_of_the_kubeconfig_turns_up_then_masked(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path
) -> None:
    """What this reader itself shows to the API server is masked even where a value may be shown."""
    token = "planted-user-token-in-kubeconfig"
    data = {"TA_GROUP_ID": f"torghut-ta-replay-{token}"}
    cluster.put(base.CONFIGMAPS, {"kind": "ConfigMap", "metadata": {"name": "torghut-ta-config"}, "data": data})
    result = _run("health-report", "--kubeconfig", kubeconfig, "--at", base.NOW, "--record", tmp_path / "bundle")
    written = "".join(path.read_text() for path in (tmp_path / "bundle").rglob("*.json"))
    assert "torghut-ta-replay-(hidden)" in result.stdout
    assert token not in result.stdout + result.stderr + written


def test_follow_when_reports_change_then_only_differences_are_said(kubeconfig: Path, cluster: Cluster) -> None:
    """--watch says what began and what ended, and nothing while nothing changes."""
    first = json.loads(_run("health-report", "--kubeconfig", kubeconfig, "--at", base.NOW, "-o", "json").stdout)
    stop_forwarder(cluster, "alpaca_auth")
    second = json.loads(_run("health-report", "--kubeconfig", kubeconfig, "--at", base.NOW, "-o", "json").stdout)
    reports = iter([first, second, second])
    said: list[str] = []

    def again() -> dict[str, Any]:
        try:
            return next(reports)
        except StopIteration:
            raise KeyboardInterrupt from None

    last = follow(first, again, pause=lambda: None, show=lambda _, lines: said.extend(lines))
    assert second == last
    assert [
        f"{base.NOW} healthy -> down",
        f"{base.NOW} top cause: none -> forwarder alpaca_auth",
        f"{base.NOW} next: rotate-credentials (runbook) (runbooks/rotate-credentials.md)",
        f"{base.NOW} forwarder: healthy -> down",
        f"{base.NOW} forwarder: alpaca_auth (down) began",
    ] == said
    assert changes(second, second) == []
