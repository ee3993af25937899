"""The tree of a deployment that has moved on: a scheduler Deployment trades, the Knative Service is an API, four Flink jobs.

Shapes as in the platform's facts, sections 3 and 4; each test is one line of what was wrong against it.
"""

from __future__ import annotations

from typing import Any

import yaml

from torghut_core.rfc3339 import parse_ns
from torghutctl.environments import Environment
from torghutctl.procedures import pause_trading, resume_trading, rollback_image, suspend_ta
from torghutctl.procedures.specification import PlanningInput
from torghutctl.procedures.verification import Check, image_checks, switch_checks
from torghutctl.snapshot.desired import desired_state
from torghutctl.snapshot.model import Names, Reading, Snapshot
from torghutctl.snapshot.repository import HistoryEntry, Tree, TreeFile
from torghutctl.snapshot.resources import argocd_application

OLD, NEW = "sha256:" + "1" * 64, "sha256:" + "2" * 64
AT = parse_ns("2026-08-22T14:30:00Z")


def container(name: str, digest: str, *more: tuple[str, str], version: str = "v2") -> dict[str, Any]:
    pairs = (("TORGHUT_VERSION", version), ("TORGHUT_COMMIT", f"c-{version}"), ("TORGHUT_IMAGE_DIGEST", digest), *more)
    return {
        "name": name,
        "image": f"registry.example/lab/torghut@{digest}",
        "env": [{"name": key, "value": value} for key, value in pairs],
    }


def workload(kind: str, name: str, digest: str, *more: tuple[str, str], version: str = "v2") -> dict[str, Any]:
    group = {"Service": "serving.knative.dev/v1", "Deployment": "apps/v1"}[kind]
    spec = {"template": {"spec": {"containers": [container("user-container", digest, *more, version=version)]}}}
    return {"apiVersion": group, "kind": kind, "metadata": {"name": name}, "spec": spec}


def scheduler(
    digest: str, enabled: str = "true", *, version: str = "v2", revision: str | None = None
) -> dict[str, Any]:
    more = [
        ("TORGHUT_PROCESS_ROLE", "scheduler"),
        ("TRADING_ENABLED", enabled),
        ("TRADING_MODE", "live"),
        ("TRADING_LIVE_SUBMIT_ENABLED", "true"),
        ("TRADING_SIMPLE_SUBMIT_ENABLED", "true"),
    ]
    if revision is not None:
        more.append(("TORGHUT_REVISION", revision))
    return workload("Deployment", "torghut-scheduler", digest, *more, version=version)


def cron_job(digest: str) -> dict[str, Any]:
    """A reconciliation that is told the mode, its neighbour unquoted."""
    pod = {"containers": [container("reconcile", digest, ("TRADING_MODE", "live"))]}
    job = {"spec": {"template": {"spec": pod}}}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "r"}, "spec": {"jobTemplate": job}}


def flink(name: str) -> dict[str, Any]:
    spec = {"image": "x", "restartNonce": 4, "job": {"state": "running"}}
    return {
        "apiVersion": "flink.apache.org/v1beta1",
        "kind": "FlinkDeployment",
        "metadata": {"name": name},
        "spec": spec,
    }


def files(**changes: Any) -> dict[str, Any]:
    """Return the tree's documents by path."""
    api = (("TORGHUT_PROCESS_ROLE", "api"), ("TRADING_ENABLED", "false"), ("TRADING_MODE", "live"))
    return {
        "knative-service.yaml": workload("Service", "torghut", NEW, *api),
        "scheduler-deployment.yaml": scheduler(NEW),
        "db-migrations.yaml": workload("Deployment", "torghut-migrate", NEW),
        "reconcile.yaml": cron_job(NEW),
        "images.yaml": {"images": [{"name": "torghut", "digest": NEW}]},
        "ta/flinkdeployment.yaml": flink("torghut-ta"),
        "ta-sim/flinkdeployment.yaml": flink("torghut-ta-sim"),
        "market-data-archive/flinkdeployment.yaml": flink("torghut-archive"),
        **changes,
    }


def given(tree: dict[str, Any], *, readings: dict[str, Any] | None = None, history: Any = None) -> PlanningInput:
    found = {
        f"a/{path}": TreeFile(path=f"a/{path}", blob="b", mode="100644", data=yaml.safe_dump(item).encode())
        for path, item in tree.items()
    }
    snapshot = None
    if readings is not None:
        values = {name: Reading(source=name, value=value) for name, value in readings.items()}
        snapshot = Snapshot(observed_at_ns=AT, names=Names(), readings=values)
    return PlanningInput(
        tree=Tree(folder="a", commit="c", files=found),
        environment=Environment(),
        at_ns=AT,
        snapshot=snapshot,
        history=history or {},
    )


def version(item: dict[str, Any], commit: str) -> HistoryEntry:
    return HistoryEntry(commit=commit, committed_at=int(commit), subject="", data=yaml.safe_dump(item).encode())


def changed(draft: Any) -> dict[str, list[str]]:
    """Return the labels of what a draft changes, by file."""
    found: dict[str, list[str]] = {}
    for change in draft.changes:
        found.setdefault(change.path.removeprefix("a/"), []).append(f"{change.label} -> {change.after}")
    return found


def test_pause_when_a_scheduler_trades_then_it_is_turned_off_and_nothing_else() -> None:
    """The API's switch is off already, and what only reconciles keeps its mode."""
    draft = pause_trading.plan(given(files()))
    assert changed(draft) == {"scheduler-deployment.yaml": ["TRADING_ENABLED of Deployment torghut-scheduler -> false"]}
    assert draft.verification[0] == "the Deployment torghut-scheduler is rolled out with TRADING_ENABLED=false"


def test_cancel_orders_when_a_cron_job_is_told_the_mode_then_it_gets_no_kill_switch() -> None:
    """And what is put in stays a string: an EnvVar takes no boolean, the sync would fail."""
    draft = pause_trading.plan(given(files()), cancel_orders=True)
    assert "reconcile.yaml" not in changed(draft)
    for edit in draft.edits:
        document = yaml.safe_load(edit.after)
        env = document["spec"]["template"]["spec"]["containers"][0]["env"]
        assert {"name": "TRADING_KILL_SWITCH_ENABLED", "value": "true"} in env


def test_resume_when_the_api_is_off_for_good_then_the_scheduler_alone_comes_back() -> None:
    """Its revision is stamped with the plan's time, where it says one; the digest rests on that time."""
    tree = files(**{"scheduler-deployment.yaml": scheduler(NEW, "false", revision="old")})
    draft = resume_trading.plan(given(tree))
    assert changed(draft) == {
        "scheduler-deployment.yaml": [
            "TRADING_ENABLED of Deployment torghut-scheduler -> true",
            "TORGHUT_REVISION of Deployment torghut-scheduler -> 2026-08-22T14:30:00Z",
        ]
    }
    bare = resume_trading.plan(given(files(**{"scheduler-deployment.yaml": scheduler(NEW, "false")})))
    assert changed(bare) == {"scheduler-deployment.yaml": ["TRADING_ENABLED of Deployment torghut-scheduler -> true"]}


def test_resume_when_all_is_on_then_nothing_changes_but_where_a_stop_stands() -> None:
    """A recorded stop is lifted by a new revision alone."""
    tree = files(**{"scheduler-deployment.yaml": scheduler(NEW, revision="old")})
    assert changed(resume_trading.plan(given(tree))) == {}
    stopped = {"trading/status/torghut-scheduler-1": {"enabled": True, "stop": {"since": "x", "by": "old"}}}
    assert list(changed(resume_trading.plan(given(tree, readings=stopped)))) == ["scheduler-deployment.yaml"]


def deployment(**changes: Any) -> dict[str, Any]:
    return {
        "name": "torghut-scheduler",
        "generation": 3,
        "observedGeneration": 3,
        "replicas": 1,
        "updatedReplicas": 1,
        "readyReplicas": 1,
        "image": f"registry.example/lab/torghut@{NEW}",
        "variables": [
            {"name": "TRADING_ENABLED", "value": "true"},
            {"name": "TRADING_KILL_SWITCH_ENABLED", "value": "false"},
        ],
        **changes,
    }


def pod(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "labels": {"app": "torghut-scheduler", "app.kubernetes.io/component": "trading-scheduler"},
        "owner": "ReplicaSet/torghut-scheduler-5c",
        "phase": "Running",
        "containers": [],
        "specContainers": [],
        "conditions": [],
    }


def failing(checks: tuple[Check, ...]) -> list[str]:
    return [check.name for check in checks if check.ok is not True]


def test_wait_when_the_scheduler_has_it_then_the_apis_permanent_false_is_not_compared() -> None:
    """A resume comes true; a status that says no kill switch is read from the rolled out specification."""
    tree = files(**{"scheduler-deployment.yaml": scheduler(NEW)})
    tree["scheduler-deployment.yaml"]["spec"]["template"]["spec"]["containers"][0]["env"].append(
        {"name": "TRADING_KILL_SWITCH_ENABLED", "value": "false"}
    )
    name = "torghut-scheduler-5c-x"
    readings = {
        "trading/scheduler": deployment(),
        "trading/service": {"variables": [{"name": "TRADING_ENABLED", "value": "false"}], "newestCreated": "torghut-1"},
        "pods": [pod(name)],
        f"trading/status/{name}": {"enabled": True, "killSwitch": None},
        "trading/status/torghut-00001-x": {"enabled": False, "killSwitch": None},
    }
    checks = switch_checks(given(tree, readings=readings), "TRADING_ENABLED", "TRADING_KILL_SWITCH_ENABLED")
    assert (failing(checks), len(checks)) == ([], 6)
    readings["trading/scheduler"] = deployment(updatedReplicas=0)
    assert failing(switch_checks(given(tree, readings=readings), "TRADING_ENABLED")) == [
        "Deployment torghut-scheduler is rolled out"
    ]
    readings[f"trading/status/{name}"] = {"enabled": False, "killSwitch": None}
    readings["trading/scheduler"] = deployment()
    assert failing(switch_checks(given(tree, readings=readings), "TRADING_ENABLED")) == ["/trading/status enabled=true"]


def test_wait_when_no_workload_stands_out_then_nothing_is_true_yet() -> None:
    """Two schedulers of one name: not known, never verified."""
    tree = {"one.yaml": scheduler(NEW), "two.yaml": scheduler(NEW)}
    assert [check.ok for check in switch_checks(given(tree, readings={}), "TRADING_ENABLED")] == [None]
    assert [check.ok for check in image_checks(given(tree, readings={}))] == [None]


def test_wait_when_the_schedulers_image_went_back_then_its_rollout_and_each_pod_decide() -> None:
    """One that is not made anew, one too many, or one that does not answer: not yet."""
    name = "torghut-scheduler-5c-x"
    ready = {**pod(name), "conditions": [{"type": "Ready", "status": "True"}]}
    good = {"trading/scheduler": deployment(), "pods": [ready], f"trading/status/{name}": {"enabled": True}}
    assert failing(image_checks(given(files(), readings=good))) == []
    serving = "each new pod is Ready and answers /trading/status"
    other = "torghut-scheduler-4b-x"
    bends: list[tuple[dict[str, Any], list[str]]] = [
        ({"trading/scheduler": deployment(updatedReplicas=0)}, ["Deployment torghut-scheduler is rolled out"]),
        ({"pods": [pod(name)]}, [serving]),
        ({"pods": [ready, {**ready, "name": other}], f"trading/status/{other}": {"enabled": True}}, [serving]),
        ({"trading/scheduler": deployment(replicas=0, updatedReplicas=0, readyReplicas=0), "pods": []}, []),
    ]
    for bend, expected in bends:
        assert failing(image_checks(given(files(), readings={**good, **bend}))) == expected


def test_rollback_when_a_promotion_moved_many_files_then_every_place_of_the_digest_moves_back() -> None:
    """Image, version, commit and digest variables beside each, and a kustomization's own pin; what else stands stays."""
    tree = files()
    tree["ta/flinkdeployment.yaml"]["spec"]["image"] = "registry.example/lab/ta@sha256:" + "9" * 64
    history = {"scheduler-deployment.yaml": (version(scheduler(NEW), "2"), version(scheduler(OLD, version="v1"), "1"))}
    draft = rollback_image.plan(given(tree, readings={"trading/scheduler": deployment()}, history=history))
    pinned = [
        "db-migrations.yaml",
        "images.yaml",
        "knative-service.yaml",
        "reconcile.yaml",
        "scheduler-deployment.yaml",
    ]
    assert sorted(edit.path.removeprefix("a/") for edit in draft.edits) == pinned
    for edit in draft.edits:
        assert (NEW.encode() in edit.after, OLD.encode() in edit.after) == (False, True)
        if b"TORGHUT_VERSION" in edit.before:
            assert (b"c-v1" in edit.after, b"c-v2" in edit.after) == (True, False)
    assert [item.ok for item in draft.preconditions] == [True, True, True]


def test_git_when_a_scheduler_trades_then_its_wish_is_the_schedulers() -> None:
    """Not the API's permanent off."""
    data = {path: yaml.safe_dump(item).encode() for path, item in files().items()}
    variables = {item["name"]: item.get("value") for item in desired_state(data, Names())["trading"]["variables"]}
    assert variables["TRADING_ENABLED"] == "true"


def test_suspend_when_four_jobs_write_then_all_are_named_and_one_or_every_one_is_suspended() -> None:
    """A full disk is not freed by stopping one of four."""
    one = suspend_ta.plan(given(files()))
    advice = next(item for item in one.preconditions if item.name == "no other Flink job writes on")
    assert list(changed(one)) == ["ta/flinkdeployment.yaml"]
    assert (advice.ok, advice.refuses) == (False, False)
    assert "torghut-archive (a/market-data-archive/flinkdeployment.yaml), torghut-ta-sim" in advice.detail
    every = suspend_ta.plan(given(files()), every=True)
    assert sorted(changed(every)) == [
        "market-data-archive/flinkdeployment.yaml",
        "ta-sim/flinkdeployment.yaml",
        "ta/flinkdeployment.yaml",
    ]


def test_application_when_automation_is_switched_off_inside_then_it_is_not_automatic() -> None:
    """Argo CD 3: `automated: {enabled: false}` syncs nothing."""
    status = {"sync": {"status": "Synced"}, "health": {"status": "Healthy"}}

    def is_auto(automated: Any) -> bool:
        spec = {"syncPolicy": {"automated": automated}}
        return bool(argocd_application({"metadata": {"name": "x"}, "spec": spec, "status": status})["isAutoSynced"])

    assert [is_auto({}), is_auto({"enabled": True}), is_auto({"enabled": False}), is_auto(None)] == [
        True,
        True,
        False,
        False,
    ]


def test_procedures_when_planned_then_no_live_switch_is_ever_touched() -> None:
    """Neither today's names nor the older one."""
    tree = files(**{"scheduler-deployment.yaml": scheduler(NEW, "false")})
    for draft in (
        pause_trading.plan(given(files())),
        pause_trading.plan(given(files()), cancel_orders=True),
        resume_trading.plan(given(tree)),
    ):
        labels = [label for labels in changed(draft).values() for label in labels]
        live = ("TRADING_MODE", "TRADING_LIVE_ENABLED", "TRADING_LIVE_SUBMIT_ENABLED", "TRADING_SIMPLE_SUBMIT_ENABLED")
        assert not any(label.startswith(live) for label in labels)
