"""What a history of the trading service's manifest says about its images."""

from __future__ import annotations

from typing import Any

import pytest

from torghutctl.environments import Environment
from torghutctl.errors import RefusedError
from torghutctl.procedures.rollback_image import plan, releases
from torghutctl.procedures.specification import PlanningInput
from torghutctl.procedures.verification import image_checks
from torghutctl.snapshot.model import Reading, Snapshot
from torghutctl.snapshot.repository import HistoryEntry, Tree, TreeFile

PATH = "a/knative-service.yaml"


def service(image: str, sidecar: str = "") -> bytes:
    beside = f"        - name: proxy\n          image: {sidecar}\n" if sidecar else ""
    return (
        "apiVersion: v1\nkind: Service\nmetadata: {name: other}\nspec: {ports: []}\n---\n"
        "kind: Service\nmetadata: {name: torghut}\nspec:\n  template:\n    spec:\n      containers:\n"
        f"{beside}        - name: user-container\n          # image: x/old@sha256:{'0' * 64}\n          image: {image}\n"
        f"          env:\n            - {{name: TORGHUT_VERSION, value: v-{image[-1]}}}\n"
    ).encode()


def pinned(digit: int, name: str = "torghut/torghut") -> str:
    return f"{name}@sha256:{str(digit) * 64}"


def versions(*data: bytes) -> tuple[HistoryEntry, ...]:
    """A file's history from its versions, oldest first."""
    found = [HistoryEntry(commit=str(n), committed_at=n, subject="", data=one) for n, one in enumerate(data)]
    return tuple(reversed(found))


def given(history: tuple[HistoryEntry, ...], snapshot: Snapshot | None = None) -> PlanningInput:
    file = TreeFile(path=PATH, blob="b", mode="100644", data=history[0].data)
    return PlanningInput(
        tree=Tree(folder="a", commit="c", files={PATH: file}),
        environment=Environment(),
        at_ns=0,
        history={"knative-service.yaml": history},
        snapshot=snapshot,
    )


def test_releases_when_another_container_comes_first_then_its_image_is_never_taken() -> None:
    """The trading container's image alone is a release, and only by digest."""
    history = versions(
        service("torghut/torghut:0.1", pinned(7, "proxy/proxy")),
        service(pinned(1), pinned(8, "proxy/proxy")),
        service(pinned(2), pinned(9, "proxy/proxy")),
    )
    assert [release.image for release in releases(history, 10)] == [pinned(2), pinned(1)]


def test_plan_when_another_container_comes_first_then_only_the_trading_container_moves() -> None:
    """Image and version go back; the one beside it stays."""
    history = versions(service(pinned(1), pinned(8, "p/p")), service(pinned(2), pinned(9, "p/p")))
    after = plan(given(history)).edits[0].after
    assert after == service(pinned(1), pinned(9, "p/p"))


def test_plan_when_there_is_no_earlier_digest_then_it_is_refused() -> None:
    """There is nothing to go back to: a no, not a wrong usage."""
    with pytest.raises(RefusedError, match="an earlier image"):
        plan(given(versions(service(pinned(1)))))


def revision(number: int, digit: int, ready: str, reason: str | None = None) -> dict[str, Any]:
    state = {"type": "Ready", "status": ready, "reason": reason, "since": "2026-02-10T12:00:00Z"}
    name = f"torghut-{number:05d}"
    return {"name": name, "image": pinned(digit), "resolvedImage": None, "conditions": [state]}


@pytest.mark.parametrize(
    ("revisions", "ok", "detail"),
    [
        ([revision(6, 1, "True")], True, "revision torghut-00006: Ready True, since 2026-02-10T12:00:00Z"),
        ([revision(5, 1, "False", "ExitCode1")], False, "revision torghut-00005: Ready False, ExitCode1, since 2026-02-10T12:00:00Z"),
        ([revision(7, 2, "True")], None, "no revision that the cluster still keeps ran it: git's history alone speaks for it"),
    ],
)  # fmt: skip
def test_plan_when_the_cluster_remembers_the_image_then_advice_says_how_it_ran(
    revisions: list[dict[str, Any]], ok: bool | None, detail: str
) -> None:
    """What speaks for the target: which revisions ran it, whether they were ready, and since when; never a refusal."""
    source = "trading/revisions"
    snapshot = Snapshot(observed_at_ns=0, readings={source: Reading(source=source, value=revisions)})
    history = versions(service(pinned(1)), service(pinned(2)))
    found = {item.name: item for item in plan(given(history, snapshot)).preconditions}["the chosen image ran well"]
    assert (found.ok, found.detail, found.refuses) == (ok, detail, False)


def pod(number: int, ready: str = "True") -> dict[str, Any]:
    labels = {"serving.knative.dev/service": "torghut", "serving.knative.dev/revision": f"torghut-{number:05d}"}
    conditions = [{"type": "Ready", "status": ready, "reason": None, "since": None}]
    return {"name": f"torghut-{number:05d}-x", "labels": labels, "phase": "Running", "conditions": conditions}


def test_wait_when_the_image_went_back_then_object_revision_and_each_new_pod_decide() -> None:
    """Each of them false in turn: what the plan's verification promises is what is looked at."""
    service_read = {"image": pinned(1), "newestCreated": "torghut-00007", "newestReady": "torghut-00007"}
    status = "trading/status/torghut-00007-x"
    good: dict[str, Any] = {
        "trading/service": service_read,
        "trading/revisions": [revision(7, 1, "True")],
        "pods": [pod(6, "False"), pod(7)],
        status: {"enabled": True},
    }

    def answers(**bent: Any) -> list[bool | None]:
        values = {source: value for source, value in {**good, **bent}.items() if value is not None}
        readings = {source: Reading(source=source, value=value) for source, value in values.items()}
        asked = given(versions(service(pinned(1))), Snapshot(observed_at_ns=0, readings=readings))
        return [check.ok for check in image_checks(asked)]

    assert answers() == [True, True, True, True]
    assert answers(**{"trading/service": {**service_read, "image": pinned(2)}}) == [False, True, True, True]
    assert answers(**{"trading/revisions": [revision(7, 2, "True")]}) == [True, False, True, True]
    assert answers(**{"trading/service": {**service_read, "newestReady": "torghut-00006"}}) == [True, True, False, True]
    assert answers(pods=[pod(7, "False")]) == [True, True, True, False]
    assert answers(pods=[pod(6)]) == [True, True, True, False]
    assert answers(**{status: None}) == [True, True, True, False]
    assert answers(pods=None) == [True, True, True, None]
