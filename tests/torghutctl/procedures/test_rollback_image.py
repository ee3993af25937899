"""What a history of the trading service's manifest says about its images."""

from __future__ import annotations

import pytest

from torghutctl.environments import Environment
from torghutctl.errors import RefusedError
from torghutctl.procedures.rollback_image import plan, releases
from torghutctl.procedures.specification import PlanningInput
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


def given(history: tuple[HistoryEntry, ...]) -> PlanningInput:
    file = TreeFile(path=PATH, blob="b", mode="100644", data=history[0].data)
    return PlanningInput(
        tree=Tree(folder="a", commit="c", files={PATH: file}),
        environment=Environment(),
        at_ns=0,
        history={"knative-service.yaml": history},
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
