"""Every way a manifest can set a trading switch: changed by a pause, or named because it cannot be."""

from __future__ import annotations

import pytest

from torghutctl.environments import Environment
from torghutctl.errors import RefusedError
from torghutctl.procedures import pause_trading, resume_trading
from torghutctl.procedures.specification import PlanningInput
from torghutctl.snapshot.repository import HistoryEntry, Tree, TreeFile, TreeLink

FOLDER = "argocd/applications/torghut"
HEAD = b"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: torghut-scheduler}\nspec:\n  template:\n    spec:\n      containers:\n"
OFF = (
    HEAD
    + b"        - name: main\n          env:\n            - {name: A, value: x}\n            - name: TRADING_ENABLED\n              value: 'false'\n"
)
POINTER = b"/spec/template/spec/containers/0/env/1"


def given(files: dict[str, bytes], links: tuple[TreeLink, ...] = (), **more: object) -> PlanningInput:
    found = {
        f"{FOLDER}/{name}": TreeFile(path=f"{FOLDER}/{name}", blob="b", mode="100644", data=data)
        for name, data in files.items()
    }
    tree = Tree(folder=FOLDER, commit="c", files=found, links=links)
    return PlanningInput(tree=tree, environment=Environment(), at_ns=0, **more)  # type: ignore[arg-type]


CHANGED = {
    "patch operation with a name": {
        "p.yaml": b"- op: add\n  path: /x/env/-\n  value: {name: TRADING_ENABLED, value: 'true'}\n"
    },
    "patch operation on a ConfigMap's key": {
        "p.yaml": b"- op: replace\n  path: /data/TRADING_ENABLED\n  value: 'true'\n"
    },
    "patch operation by place": {
        "base.yaml": OFF,
        "p.yaml": b"- op: replace\n  path: " + POINTER + b"/value\n  value: 'true'\n",
    },
    "patch operation by place after a test": {
        "p.yaml": b"- {op: test, path: /e/env/7/name, value: TRADING_ENABLED}\n"
        b"- {op: replace, path: /e/env/7/value, value: 'true'}\n"
    },
    "CronJob": {
        "c.yaml": b"kind: CronJob\nspec:\n  jobTemplate: {spec: {template: {spec: {containers: [{env: [{name: TRADING_ENABLED, value: 'true'}]}]}}}}\n"
    },
    "List": {
        "l.yaml": b"kind: List\nitems:\n- kind: Deployment\n  spec:\n    env:\n    - {name: TRADING_ENABLED, value: 'true'}\n"
    },
    "ConfigMap taken by key": {
        "c.yaml": b"kind: ConfigMap\nmetadata: {name: t}\ndata:\n  TRADING_ENABLED: 'true'\n",
        "d.yaml": HEAD
        + b"        - env:\n            - {name: TRADING_ENABLED, valueFrom: {configMapKeyRef: {name: t, key: TRADING_ENABLED}}}\n",
    },
    "an alias of quoted text": {
        "d.yaml": b"kind: Deployment\nx: &v 'true'\nspec:\n  env:\n  - name: TRADING_ENABLED\n    value: *v\n  - {name: B, value: *v}\n"
    },
}


@pytest.mark.parametrize("case", CHANGED)
def test_pause_when_a_manifest_sets_it_in_some_way_then_that_place_is_turned_off(case: str) -> None:
    """Whatever the form, the next look finds nothing left that is on, and text stays text."""
    files = CHANGED[case]
    draft = pause_trading.plan(given(files))
    assert (len(draft.edits), draft.skipped) == (1, ())
    assert b"'false'" in draft.edits[0].after
    after = {**files, draft.edits[0].path.removeprefix(f"{FOLDER}/"): draft.edits[0].after}
    assert pause_trading.plan(given(after)).edits == ()


NAMED = {
    "patch by place inside a text": {
        "base.yaml": OFF,
        "kustomization.yaml": b"patches:\n- patch: |-\n    - op: replace\n      path: "
        + POINTER
        + b'/value\n      value: "true"\n',
    },
    "ConfigMap that is not here": {
        "d.yaml": HEAD
        + b"        - env:\n            - {name: TRADING_ENABLED, valueFrom: {configMapKeyRef: {name: t, key: TRADING_ENABLED}}}\n"
    },
    "ConfigMap without the key": {
        "c.yaml": b"kind: ConfigMap\nmetadata: {name: t}\ndata: {OTHER: x}\n",
        "d.yaml": HEAD
        + b"        - env:\n            - {name: TRADING_ENABLED, valueFrom: {configMapKeyRef: {name: t, key: TRADING_ENABLED}}}\n",
    },
    "all keys of a ConfigMap that is not here": {
        "d.yaml": HEAD + b"        - args: [run, trading]\n          envFrom:\n            - configMapRef: {name: t}\n"
    },
    "a key with a prefix": {
        "c.yaml": b"kind: ConfigMap\nmetadata: {name: t}\ndata: {ENABLED: 'true'}\n",
        "d.yaml": HEAD + b"        - envFrom:\n            - {prefix: TRADING_, configMapRef: {name: t}}\n",
    },
    "UTF-16": {"d.yaml": OFF.replace(b"'false'", b"'true'").decode().encode("utf-16")},
}


@pytest.mark.parametrize("case", NAMED)
def test_pause_when_a_place_cannot_be_edited_then_its_file_is_named(case: str) -> None:
    """It may be on, so it is neither passed over nor "nothing to change"."""
    files = NAMED[case]
    draft = pause_trading.plan(given(files))
    assert [f"{FOLDER}/{list(files)[-1]}"] == [text.split(":")[0] for text in draft.skipped]


HARMLESS = {
    "patch by place of another entry": {
        "base.yaml": OFF,
        "p.yaml": b"- op: replace\n  path: /spec/template/spec/containers/0/env/10/value\n  value: 'true'\n",
    },
    "patch text that turns it off": {
        "base.yaml": OFF,
        "kustomization.yaml": b"patches:\n- patch: |-\n    - op: replace\n      path: "
        + POINTER
        + b'/value\n      value: "false"\n',
    },
    "an entry of its own beside envFrom": {
        "d.yaml": HEAD
        + b"        - env:\n            - {name: TRADING_ENABLED, value: 'false'}\n          envFrom:\n            - configMapRef: {name: t}\n"
    },
    "envFrom of something that does not trade": {
        "base.yaml": OFF,
        "d.yaml": HEAD + b"        - args: [run, ws]\n          envFrom:\n            - configMapRef: {name: t}\n",
    },
}


@pytest.mark.parametrize("case", HARMLESS)
def test_pause_when_a_place_cannot_be_on_then_it_is_left_alone(case: str) -> None:
    """No false alarm: an exit code of 6 that is always there says nothing."""
    draft = pause_trading.plan(given(HARMLESS[case]))
    assert (draft.edits, draft.skipped) == ((), ())


@pytest.mark.parametrize(
    ("contents", "expected"),
    [((OFF,), ()), ((OFF.replace(b"'false'", b"'true'"),), ("l.yaml",)), (None, ("l.yaml",))],
)
def test_pause_when_a_link_leads_out_of_the_folder_then_what_it_may_set_is_named(
    contents: tuple[bytes, ...] | None, expected: tuple[str, ...]
) -> None:
    """What stands elsewhere is never edited, and never forgotten."""
    link = TreeLink(path=f"{FOLDER}/l.yaml", target="../../elsewhere.yaml", contents=contents)
    draft = pause_trading.plan(given({"base.yaml": OFF}, (link,)))
    assert tuple(f"{FOLDER}/{name}" for name in expected) == tuple(text.split(":")[0] for text in draft.skipped)


def test_cancel_orders_when_only_a_patch_sets_trading_then_it_is_named() -> None:
    """A kill switch cannot be put beside the value of a patch operation."""
    files = {"p.yaml": b"- op: replace\n  path: /data/TRADING_ENABLED\n  value: 'true'\n"}
    draft = pause_trading.plan(given(files), cancel_orders=True)
    assert (draft.edits, len(draft.skipped)) == ((), 1)


ON = OFF.replace(b"'false'", b"'true'")
SERVICE_OFF = OFF.replace(b"kind: Deployment", b"kind: Service")
SERVICE_ON = ON.replace(b"kind: Deployment", b"kind: Service")


def versions(*pairs: tuple[str, bytes]) -> tuple[HistoryEntry, ...]:
    """A file's history, newest first: the commit's number is its time."""
    return tuple(HistoryEntry(commit=commit, committed_at=int(commit), subject="", data=data) for commit, data in pairs)


HISTORIES = {
    "the pause turned both": (
        versions(("7", SERVICE_OFF), ("1", SERVICE_ON)),
        versions(("7", OFF), ("1", ON)),
        ["scheduler.yaml"],
    ),
    "the service never traded": (versions(("1", SERVICE_OFF)), versions(("7", OFF), ("1", ON)), ["scheduler.yaml"]),
    "the scheduler was off for long": (
        versions(("7", SERVICE_OFF), ("1", SERVICE_ON)),
        versions(("3", OFF), ("1", ON)),
        ["knative-service.yaml"],
    ),
    "history does not tell": (versions(("1", SERVICE_OFF)), versions(("1", OFF)), ["scheduler.yaml"]),
}


@pytest.mark.parametrize("case", HISTORIES)
def test_resume_when_several_manifests_set_it_then_those_that_the_pause_turned_come_back(case: str) -> None:
    """A process that was not trading before the pause does not trade after it, and two are never started at once."""
    service, scheduler, expected = HISTORIES[case]
    files = {"knative-service.yaml": SERVICE_OFF, "scheduler.yaml": OFF}
    draft = resume_trading.plan(given(files, history={"knative-service.yaml": service, "scheduler.yaml": scheduler}))
    assert [f"{FOLDER}/{name}" for name in expected] == [edit.path for edit in draft.edits]


def test_resume_when_another_manifest_has_it_on_then_it_is_refused() -> None:
    """Two processes that submit orders are one too many."""
    history = {
        "knative-service.yaml": versions(("7", SERVICE_OFF), ("1", SERVICE_ON)),
        "scheduler.yaml": versions(("1", ON)),
    }
    draft = resume_trading.plan(given({"knative-service.yaml": SERVICE_OFF, "scheduler.yaml": ON}, history=history))
    assert [item.ok for item in draft.preconditions if item.name == "no other manifest has trading on"] == [False]


def test_resume_when_only_the_scheduler_trades_then_its_kill_switch_alone_is_turned() -> None:
    """After --cancel-orders in every manifest: a service that never traded keeps its own."""
    kill = b"            - {name: TRADING_KILL_SWITCH_ENABLED, value: 'true'}\n"
    free = kill.replace(b"true", b"false")
    history = {
        "knative-service.yaml": versions(("7", SERVICE_OFF + kill), ("1", SERVICE_OFF + free)),
        "scheduler.yaml": versions(("7", ON + kill), ("1", ON + free)),
    }
    files = {"knative-service.yaml": SERVICE_OFF + kill, "scheduler.yaml": ON + kill}
    draft = resume_trading.plan(given(files, history=history))
    assert [(edit.path, edit.after) for edit in draft.edits] == [(f"{FOLDER}/scheduler.yaml", ON + free)]


def test_resume_when_nothing_tells_which_manifest_traded_then_it_is_refused_by_name() -> None:
    """A choice is a person's."""
    files = {"knative-service.yaml": b"kind: Service\n", "a.yaml": OFF, "b.yaml": OFF}
    with pytest.raises(RefusedError, match=r"a\.yaml, .*b\.yaml"):
        resume_trading.plan(given(files))
