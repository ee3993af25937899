"""suspend, resume and restart where the TA is one process: replicas and restartedAt of its Deployment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from torghut_core.rfc3339 import parse_ns
from torghutctl.environments import Environment
from torghutctl.errors import InputError
from torghutctl.planning.yaml_document import UneditableError
from torghutctl.procedures import replay_ta, restart_ta, resume_ta, suspend_ta
from torghutctl.procedures.specification import PlanningInput
from torghutctl.procedures.verification import job_checks
from torghutctl.snapshot.model import Names, Reading, Snapshot
from torghutctl.snapshot.repository import HistoryEntry, Tree, TreeFile

FOLDER = Path(__file__).resolve().parents[3] / "manifests"
AT = parse_ns("2026-03-04T15:06:07Z")


def given(changes: dict[str, bytes] | None = None, readings: dict[str, Any] | None = None) -> PlanningInput:
    """Return the shipped tree, some files changed."""
    data = {str(path.relative_to(FOLDER)): path.read_bytes() for path in sorted(FOLDER.rglob("*.yaml"))}
    data |= changes or {}
    files = {f"a/{n}": TreeFile(path=f"a/{n}", blob="b", mode="100644", data=d) for n, d in data.items()}
    values = {name: Reading(source=name, value=value) for name, value in (readings or {}).items()}
    snapshot = Snapshot(observed_at_ns=AT, names=Names(), readings=values) if readings is not None else None
    tree = Tree(folder="a", commit="c", files=files)
    return PlanningInput(tree=tree, environment=Environment(), at_ns=AT, snapshot=snapshot)


def after(draft: Any) -> tuple[str, dict[str, Any]]:
    (edit,) = draft.edits
    return edit.path, yaml.safe_load(edit.after)


def test_suspend_when_the_ta_is_one_process_then_no_replica_and_the_count_is_recorded() -> None:
    """And resume brings the recorded count back, to the byte but for the record."""
    shipped = (FOLDER / "ta/deployment.yaml").read_bytes().replace(b"replicas: 1", b"replicas: 3")
    path, document = after(suspend_ta.plan(given({"ta/deployment.yaml": shipped})))
    assert (path, document["spec"]["replicas"]) == ("a/ta/deployment.yaml", 0)
    assert document["metadata"]["annotations"] == {"torghut.proompteng.ai/replicas-when-running": "3"}
    suspended = suspend_ta.plan(given({"ta/deployment.yaml": shipped})).edits[0].after
    again = suspend_ta.plan(given({"ta/deployment.yaml": suspended}))
    assert again.edits == ()
    _, resumed = after(resume_ta.plan(given({"ta/deployment.yaml": suspended})))
    assert resumed["spec"]["replicas"] == 3
    assert resume_ta.plan(given()).edits == ()


def test_resume_when_the_record_is_no_count_then_it_is_refused_by_name() -> None:
    """A guess would start something nobody asked for."""
    suspended = suspend_ta.plan(given()).edits[0].after.replace(b'running: "1"', b'running: "many"')
    with pytest.raises(UneditableError, match="many"):
        resume_ta.plan(given({"ta/deployment.yaml": suspended}))


def test_restart_when_the_ta_is_one_process_then_its_template_is_stamped() -> None:
    """With the plan's time; resume --restart does both."""
    path, document = after(restart_ta.plan(given()))
    stamp = document["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"]
    assert (path, stamp) == ("a/ta/deployment.yaml", "2026-03-04T15:06:07Z")
    suspended = suspend_ta.plan(given()).edits[0].after
    _, both = after(resume_ta.plan(given({"ta/deployment.yaml": suspended}), restart=True))
    assert both["spec"]["replicas"] == 1
    assert both["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] == stamp


def test_suspend_when_the_kustomization_builds_the_flink_job_then_that_one_is_edited() -> None:
    """The procedures go by what is deployed, not by what lies in the folder."""
    listed = (FOLDER / "ta/kustomization.yaml").read_bytes()
    listed = listed.replace(b"  - deployment.yaml\n", b"").replace(b"  # - flink", b"  - flink")
    path, document = after(suspend_ta.plan(given({"ta/kustomization.yaml": listed})))
    assert (path, document["spec"]["job"]["state"]) == ("a/ta/flinkdeployment.yaml", "suspended")


def test_wait_when_the_process_was_restarted_then_replicas_stamp_and_readyz_decide() -> None:
    """Each of them false in turn."""
    live = {
        "name": "torghut-ta",
        "replicas": 1,
        "readyReplicas": 1,
        "generation": 2,
        "observedGeneration": 2,
        "templateRestartedAt": "2026-01-05T14:00:00Z",
    }
    good = {"ta/deployment": live, "ta/readyz/x": {"ready": True}}
    assert [check.ok for check in job_checks(given(readings=good))] == [True] * 4
    bends: list[dict[str, Any]] = [
        {"ta/deployment": {**live, "replicas": 0}},
        {"ta/deployment": {**live, "templateRestartedAt": "2025-01-05T14:00:00Z"}},
        {"ta/deployment": {**live, "observedGeneration": 1}},
        {"ta/readyz/x": {"ready": False}},
    ]
    for number, bend in enumerate(bends):
        expected = [True] * 4
        expected[number] = False
        assert [check.ok for check in job_checks(given(readings={**good, **bend}))] == expected
    assert [check.ok for check in job_checks(given(readings={}))] == [None]


def test_replay_when_the_ta_is_one_process_then_its_pods_are_made_anew_and_exit_brings_the_rest_back() -> None:
    """The group in the ConfigMap and on the pod template, nothing of Flink; left, all but that annotation is as before."""
    begun = replay_ta.plan_start(given(), replay_ta.Replay(identity="gap"))
    files = {edit.path.removeprefix("a/"): edit.after for edit in begun.edits}
    template = yaml.safe_load(files["ta/deployment.yaml"])["spec"]["template"]["metadata"]["annotations"]
    data = yaml.safe_load(files["ta/configmap.yaml"])["data"]
    assert list(files) == ["ta/configmap.yaml", "ta/deployment.yaml"]
    assert template["torghut.proompteng.ai/consumer-group"] == "torghut-ta-replay-gap"
    assert (data["TA_GROUP_ID"], data["TA_AUTO_OFFSET_RESET"]) == ("torghut-ta-replay-gap", "earliest")
    assert replay_ta.plan_start(given(files), replay_ta.Replay(identity="gap")).edits == ()
    shipped = (FOLDER / "ta/configmap.yaml").read_bytes()
    entry = HistoryEntry(commit="1", committed_at=1, subject="", data=shipped)
    left = replay_ta.plan_exit(replace(given(files), history={"ta/configmap.yaml": (entry,)}))
    after_it = {edit.path.removeprefix("a/"): edit.after for edit in left.edits}
    assert after_it["ta/configmap.yaml"] == shipped
    group = yaml.safe_load(shipped)["data"]["TA_GROUP_ID"]
    was = f'\n        torghut.proompteng.ai/consumer-group: "{group}"'.encode()
    assert after_it["ta/deployment.yaml"].replace(was, b"") == (FOLDER / "ta/deployment.yaml").read_bytes()


def test_replay_when_the_ta_is_suspended_then_the_recorded_replicas_come_back_with_it() -> None:
    """A replay runs, whatever the count was before."""
    suspended = suspend_ta.plan(given()).edits[0].after
    begun = replay_ta.plan_start(given({"ta/deployment.yaml": suspended}), replay_ta.Replay(identity="gap"))
    edited = next(edit.after for edit in begun.edits if edit.path == "a/ta/deployment.yaml")
    assert yaml.safe_load(edited)["spec"]["replicas"] == 1


def test_replay_when_from_scratch_is_asked_of_one_process_then_refused_by_name() -> None:
    """There is no state of Flink's to remove."""
    with pytest.raises(InputError, match="--mode from-scratch: is for the job on Flink"):
        replay_ta.plan_start(given(), replay_ta.Replay(identity="gap", mode=replay_ta.Mode.FROM_SCRATCH))
